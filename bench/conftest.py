"""What all benchmarks share: options, shapes, ceilings, peers, the fixtures that measure, and the final table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from statistics import median

import pytest

from fastdl.bench import machine, shapes, table
from fastdl.bench.ceilings import measure_ceilings
from fastdl.bench.harness import TINY, Plan, Quartiles, Variant, measure, replayed, timed
from fastdl.bench.peers import PEERS, Peer


def pytest_addoption(parser):
    group = parser.getgroup("fastdl")
    group.addoption("--tiny", action="store_true", help="tiny shapes and few repeats: whether everything runs")
    group.addoption("--peers", action="store_true", help="compare with PyTorch and JAX, where they are installed")


def pytest_generate_tests(metafunc):
    if "shape" in metafunc.fixturenames:
        of = shapes.TINY_SHAPES if metafunc.config.getoption("tiny") else shapes.SHAPES
        name = metafunc.module.__name__.rpartition("bench_")[2]
        metafunc.parametrize("shape", of[name], ids=str)


class Run:
    """One run of benchmarks: all rows of one table are measured under the same ceilings."""

    def __init__(self, config):
        self.tiny = config.getoption("tiny")
        self.plan = TINY if self.tiny else Plan()
        self.machine = machine.describe()
        self.ceilings = measure_ceilings(shapes.TINY_CEILING if self.tiny else shapes.CEILING, self.plan)
        self.peers = {name: Peer(name) for name in PEERS} if config.getoption("peers") else {}
        self.rows = []

    def describe(self):
        peers = {name: peer.about if peer.installed else "not installed" for name, peer in self.peers.items()}
        return {**self.machine, "ceilings": asdict(self.ceilings), "peers": peers}


RUN = pytest.StashKey[Run]()


@pytest.fixture(scope="session")
def run(pytestconfig):
    run = pytestconfig.stash[RUN] = Run(pytestconfig)
    yield run
    for peer in run.peers.values():
        peer.close()


@pytest.fixture
def compare(run, benchmark):
    """Measure variants of one piece of work, ours recorded and eager, and peers; a row for each of ours."""

    def compare(
        op: str,
        shape: shapes.Shape,
        cost,
        ours: Mapping[str, Variant],
        eager: Mapping[str, Callable[[], object]],
        theirs: Mapping[str, Callable[[Peer], Variant]],
    ):
        found = {name: run.peers[name] for name in theirs if name in run.peers}
        preemptions = -machine.preemptions()
        samples = measure(
            {("ours", name): variant for name, variant in ours.items()}
            | {("eager", name): Variant(timed(call), lambda: None) for name, call in eager.items()}
            | {("peer", name): theirs[name](peer) for name, peer in found.items() if peer.installed},
            run.plan,
        )
        preemptions += machine.preemptions()
        test = benchmark.name, benchmark.fullname
        for name in ours:
            seconds = Quartiles.of(samples["ours", name])
            ratios = {
                peer: median(samples["peer", peer]) / seconds.median if found[peer].installed else "not installed"
                for peer in found
            }
            overhead = median(samples["eager", name]) - seconds.median
            floor = run.ceilings.floor(cost)
            row = table.Row(op, name, str(shape), seconds, cost, floor, overhead, preemptions, ratios)
            run.rows.append(row)
            benchmark.name, benchmark.fullname = (f"{part} {name}".rstrip() for part in test)
            hand_over(benchmark, row, samples["ours", name])

    return compare


@pytest.fixture
def compare_op(compare):
    """Measure calls of ops, each as its recorded launches and as it stands.

    `results` are what PyTorch must get too, by the `part` of its work for this shape.
    """

    def compare_op(op, shape, cost, calls, results=None, part=""):
        calls = calls if isinstance(calls, Mapping) else {"": calls}
        theirs = {"torch": lambda peer: peer.variant(shape, results, part)} if results else {}
        compare(op, shape, cost, {name: replayed(call) for name, call in calls.items()}, calls, theirs)

    return compare_op


def hand_over(benchmark, row, samples):
    """Give pytest-benchmark a row's samples as if it had measured them itself.

    It can time a function but not take times, so this goes past its public interface: it is told
    that it was used, and makes one entry for every row.
    """
    benchmark._mode = "compare"
    benchmark.extra_info = row.as_dict()
    stats = benchmark._make_stats(iterations=1)
    for seconds in samples:
        stats.update(seconds)


def pytest_benchmark_update_machine_info(config, machine_info):
    if RUN in config.stash:
        machine_info["fastdl"] = config.stash[RUN].describe()


def pytest_terminal_summary(terminalreporter, config):
    if RUN not in config.stash:
        return
    run = config.stash[RUN]
    terminalreporter.section("fastdl")
    for line in (
        *table.machine_lines(run.machine),
        *table.ceiling_lines(run.ceilings),
        *filter(None, [machine.warning()]),
        *(["tiny shapes and few repeats: these figures only show that everything runs"] if run.tiny else []),
        "",
        *table.lines(run.rows, tuple(run.peers)),
        "",
        "median and quartiles of single calls; eager: what a call of the op takes beyond its recorded launch;",
        "preempted: how often other work took a core meanwhile; a peer's figure is its median over ours",
    ):
        terminalreporter.write_line(line)
