"""The harness checks what it times, and `fastdl bench` runs everything, writes its record and draws it."""

import dataclasses
import json
import re

import numpy as np
import pytest

from fastdl import backend, cli, ops, recorder
from fastdl.bench import TINY, Cost, child, compare, harness, machine, pictures, run, shapes, table
from fastdl.bench.ceilings import Ceilings, Floor, Rate
from fastdl.bench.peers import PEERS, Peer, assert_same_size, sizes


class Fake:
    """Under the name of a kernel, something else."""

    name = "activation.relu"

    def __init__(self, do):
        self.do = do

    def __call__(self, x, constant, y):
        self.do(x, y)


def idle(x, y):
    pass


def half(x, y):
    np.maximum(x[: x.size // 2], 0, out=y[: x.size // 2])


@pytest.mark.numba
@pytest.mark.parametrize("do", [idle, half])
def test_what_another_variant_left_does_not_pass_for_a_result(do):
    x = np.linspace(-1, 1, 1000)
    out = np.empty_like(x)
    right = harness.replayed(lambda: ops.activation(x, "relu", out=out))
    wrong = harness.replayed(lambda: recorder.launch("relu", Fake(do), x, 0.01, out, outputs=(out,)))
    right.check()
    with pytest.raises(AssertionError, match=r"^relu, output 0: "):
        wrong.check()
    right.check()


@pytest.mark.numba
def test_what_is_added_to_keeps_what_it_held():
    p, g, status = np.ones(9), np.ones(9), np.zeros(1, np.int64)
    scalars = np.array(ops.sgd_scalars(0.5))
    harness.replayed(lambda: ops.sgd_update(p, g, scalars=scalars, status=status)).check()
    assert (p == 0.5).all()
    assert backend.active() == "numba"


CEILINGS = Ceilings(
    Rate(100e9, "a BLAS"),
    {1 << 20: Rate(50e9, "cached"), 1 << 30: Rate(10e9, "streamed")},
    {1 << 20: Rate(60e9, "cached"), 1 << 30: Rate(12e9, "streamed")},
    {1 << 20: Rate(70e9, "cached"), 1 << 30: Rate(20e9, "streamed")},
    {1 << 20: Rate(80e9, "cached"), 1 << 30: Rate(24e9, "streamed")},
    last_cache=1 << 25,
)


def test_a_floor_is_the_larger_of_moving_and_computing():
    assert CEILINGS.floor(Cost(read=1e6, written=1e6)) == Floor(2e6 / 50e9, "copy 1 MiB")
    assert CEILINGS.floor(Cost(read=2e9, written=1e9)) == Floor(3e9 / 12e9, "triad 1.02e+03 MiB")
    assert CEILINGS.floor(Cost(read=1e9, written=1e9, in_place=True)) == Floor(2e9 / 20e9, "scale 1.02e+03 MiB")
    assert CEILINGS.floor(Cost(read=2e9, written=1e9, in_place=True)) == Floor(3e9 / 24e9, "update 1.02e+03 MiB")
    # What the last cache cannot hold moves at the memory's rate, however near its size is to a smaller stream's.
    assert CEILINGS.floor(Cost(read=16e6, written=16e6)).by == "copy 1 MiB"
    assert CEILINGS.floor(Cost(read=17e6, written=17e6)).by == "copy 1.02e+03 MiB"
    assert CEILINGS.floor(Cost(flops=1e9, read=1e6, written=1e6)) == Floor(0.01, "products")
    assert Cost(1, 2, 3) + Cost(10, 20, 30) == Cost(11, 22, 33)


def row(median, cost, peers=None):
    seconds = harness.Quartiles(median / 2, median, median * 2)
    others = {name: harness.Quartiles(*(ratio * s for s in seconds)) for name, ratio in (peers or {}).items()}
    return table.Row("add", "add", "", "1000", seconds, cost, CEILINGS.floor(cost), 1e-6, 3, others)


def test_a_row_tells_the_rate_of_what_bounds_it():
    moved = row(1e-4, Cost(flops=1e3, read=1e6, written=1e6), {"torch": 2.0})
    assert moved.rate == (20.0, "GB/s")
    assert moved.percent_of_floor == pytest.approx(40)
    product = row(0.02, Cost(flops=1e9, read=1e6, written=1e6))
    assert product.rate == (50.0, "GFLOP/s")
    assert product.percent_of_floor == pytest.approx(50)
    head, first, second = table.lines([moved, product])
    assert head.split()[-1] == "torch"
    assert first.split()[-1] == "2.00x"
    assert "copy 1 MiB" in first
    assert "products" in second
    assert moved.as_dict()["GB/s"] == 20.0
    assert moved.as_dict()["peers"] == {"torch": 2.0}
    assert moved.as_dict()["peer_quartiles"] == {"torch": [1e-4, 2e-4, 4e-4]}
    assert table.lines([moved], tiny=True)[1].split()[-1] == "ran"


def test_columns_are_explained_where_they_stand():
    moved = row(1e-4, Cost(flops=1e3, read=1e6, written=1e6), {"torch": 2.0})
    titles = [note.split(":")[0] for note in table.notes([moved])]
    assert titles == ["median us, quartiles us", *table.HEAD[4:], "torch"]
    plain = dataclasses.replace(moved, others={}, floor=None, eager=None)
    assert [note.split(":")[0] for note in table.notes([plain])] == ["median us, quartiles us", "preempted"]
    head = table.lines([moved])[0]
    assert all(title in head for title in table.HEAD)


def test_an_overhead_below_zero_is_left_out_as_noise():
    found = row(1e-4, Cost(read=1e6))
    assert "+1.0" in found.cells(())
    cells = dataclasses.replace(found, eager=-1e-6).cells(())
    assert cells[table.HEAD.index("eager +us")] == ""


@pytest.mark.parametrize(("size", "text"), [(1 << 12, "4 KiB"), (1 << 18, "256 KiB"), (3 << 20, "3 MiB")])
def test_bytes_are_written_for_people(size, text):
    ceilings = Ceilings(Rate(1e9, "a BLAS"), {size: Rate(2e9, "copied")}, {}, {}, {}, 1 << 20)
    assert table.ceiling_lines(ceilings)[1] == f"ceiling of copy: GB/s 2 at {text} (copied)"


def test_what_makes_a_machine_slower_is_told():
    assert machine.warnings({"settings": {}, "load": 0.5}) == machine.warnings({"settings": {}, "load": None}) == []
    (busy,) = machine.warnings({"settings": {}, "load": 0.51})
    assert busy.startswith("warning: the load was 0.51 at the start")
    (core,) = machine.warnings({"settings": {"OPENBLAS_CORETYPE": "Haswell"}, "load": 0.0})
    assert core.startswith("OPENBLAS_CORETYPE=Haswell is set")


def test_users_kernels_are_checked_and_compared():
    x, out = np.linspace(-1, 1, 1000, dtype=np.float32), np.empty(1000, np.float32)

    def check():
        np.testing.assert_array_equal(out, np.maximum(x, 0))
        out.fill(np.nan)

    calls = {"maximum": lambda: np.maximum(x, 0, out=out), "clip": lambda: np.clip(x, 0, None, out=out)}
    rows = compare(calls, read=x.nbytes, written=out.nbytes, check=check, plan=TINY)
    assert [row.name for row in rows] == ["maximum", "clip"]
    assert rows[0].peers["clip"] == rows[1].seconds.median / rows[0].seconds.median
    assert str(rows).splitlines()[0].split()[-1] == "clip"
    with pytest.raises(AssertionError, match=r"^compare: 'nothing' gives a wrong result"):
        compare(calls | {"nothing": lambda: None}, check=check, plan=TINY)


@pytest.mark.parametrize("several", [False, True])
def test_a_function_that_does_nothing_does_not_pass_on_what_another_left(several):
    x, out, count = np.linspace(-1, 1, 10), np.empty(10), np.empty(1, np.int64)

    def check():
        np.testing.assert_array_equal(out, np.maximum(x, 0))
        assert not several or count[0] == 10

    def maximum():
        np.maximum(x, 0, out=out)
        count[0] = x.size

    def forgets():
        np.maximum(x, 0, out=out)
        if not several:
            out[0] = 7

    results = [out, count] if several else out
    assert len(compare({"maximum": maximum}, check=check, out=results, plan=TINY)) == 1
    for name, wrong in {"idle": lambda: None, "forgets": forgets}.items():
        with pytest.raises(AssertionError, match=rf"^compare: '{name}' gives a wrong result"):
            compare({"maximum": maximum, name: wrong}, check=check, out=results, plan=TINY)


@pytest.mark.parametrize(
    ("calls", "out", "error", "message"),
    [
        ({}, (), ValueError, "compare: got no function, wanted at least one by its name"),
        ([print], (), TypeError, "compare: got a list, wanted functions by their names: {'mine': call}"),
        ({"mine": 3}, (), TypeError, "compare: 'mine': got 3, wanted a function without arguments"),
        ({"mine": print}, [3], TypeError, "compare: out: got 3, wanted an array, or several"),
    ],
)
def test_comparisons_of_nothing_are_refused(calls, out, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        compare(calls, out=out, plan=TINY)


def test_what_bench_readme_shows_runs(root, monkeypatch, capsys):
    monkeypatch.setattr(run, "Plan", lambda: TINY)
    (block,) = re.findall(r"```python\n(.*?)```", (root / "bench/README.md").read_text(), re.DOTALL)
    exec(compile(block, "bench/README.md", "exec"), {})
    head, first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("maximum ")
    assert second.startswith("product ")
    assert head.endswith("product")


def test_every_op_is_measured_and_every_size_stands_in_one_file(root):
    modules = {path.stem for path in (root / "bench" / "cases").glob("*.py")} - {"__init__"}
    folders = {path.parent.name for path in (root / "kernels").glob("*/cuda.py")} - {"control"}
    assert folders <= modules
    assert modules == set(shapes.SHAPES) == set(shapes.TINY_SHAPES) == {*shapes.CUDA_SHAPES, *shapes.APART}
    assert set(run.names(["all"])) == modules - set(shapes.APART)
    assert run.names([]) == ["step"]
    assert run.names(["mix", "all", "mix"])[:2] == ["mix", "matmul"]


def test_the_command_measures_all_records_and_draws(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    record, picture = tmp_path / "all.json", tmp_path / "all.PNG"
    assert (
        cli.main(
            ["bench", "all", *shapes.APART, "--tiny", "--device", "cpu", "--json", str(record), "--plot", str(picture)]
        )
        == 0
    )
    printed, told = capsys.readouterr()
    told = told.splitlines()
    kept = json.loads(record.read_text())
    assert {row["folder"] for row in kept["rows"]} == {name for name, of in shapes.TINY_SHAPES.items() if of}
    for found in kept["rows"]:
        assert f"{found['op']} {found['variant']}".rstrip() in printed
        assert 0 < found["quartiles"][0] <= found["quartiles"][1] <= found["quartiles"][2]
    count = sum(map(len, shapes.TINY_SHAPES.values()))
    assert [line for line in told if line.endswith(" add 1000")] == [f"4 of {count}: add 1000"]
    assert kept["machine"]["processor"]
    assert kept["tiny"] is True
    assert not re.search(r"\d\.\d\dx", printed), "ratios of tiny shapes mean nothing"
    assert ("1 thread" in printed) == (backend.active() == "numba")
    assert picture.read_bytes().startswith(b"\x89PNG")


def drawn(tmp_path, *rows, **changes):
    """The texts of the picture of these rows."""
    pytest.importorskip("matplotlib")
    streams = {str(1 << 20): {"value": 5e10}}
    ceilings = {"product": {"value": 1e11}, "copy": streams, "update": streams}
    machine = {"processor": "a processor", "cores": 2, "fastdl": "1.0", "ceilings": ceilings}
    pictures.draw({"date": "2026-01-02", "machine": machine, "rows": list(rows), **changes}, tmp_path / "p.svg")
    return re.findall(r"<!-- (.*?) -->", (tmp_path / "p.svg").read_text())


def test_pictures_show_every_figure(tmp_path):
    moved = row(1e-4, Cost(1e3, 1e6, 1e6), {"torch": 2.0, "jax": 0.5}).as_dict()
    texts = drawn(tmp_path, moved, row(2e-4, Cost(1e9, 1e6, 1e6), {"jax": 20.0}).as_dict())
    for text in ("2.00  0.50", "–  20.00", "torch", "jax", "GFLOP/s", "Beside other libraries", "add  1000"):
        assert text in texts
    assert "a processor, 2 cores; fastdl 1.0, 2026-01-02; medians" in texts
    assert "Side by side" not in texts
    assert {"copy of 1 MiB: 50 GB/s", "update of 1 MiB: 50 GB/s"} <= set(texts), "every stream bounds some op"


def test_variants_side_by_side_are_called_no_libraries(tmp_path):
    mixed = dataclasses.replace(row(1e-4, Cost(), {"mixed": 1.5}), floor=None, shape="x" * 70 + "end")
    texts = drawn(tmp_path, mixed.as_dict())
    assert "Side by side" in texts
    assert "Beside other libraries" not in texts
    assert not any("librar" in text or "fastdl takes" in text for text in texts)
    assert "Roofline" not in texts, "nothing is on it"
    (label,) = [text for text in texts if text.startswith("add")]
    assert label.endswith("end")
    assert len(label) <= pictures.LONGEST


def test_what_is_beside_nothing_is_drawn_by_its_time(tmp_path):
    plain = dataclasses.replace(row(2.0, Cost()), floor=None).as_dict()
    assert {"Times", "2 s"} <= set(drawn(tmp_path, plain))
    texts = drawn(tmp_path, row(1e-4, Cost(0, 1e6, 1e6)).as_dict(), tiny=True)
    assert "40 %, copy 1 MiB" in texts
    assert any(text.endswith("; tiny shapes: that it runs, not how fast") for text in texts)


def test_a_picture_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"p\.svg: nothing was measured that could be drawn"):
        drawn(tmp_path)


def test_many_layers_of_a_width_are_written_in_short():
    widths = [256] * 17
    assert str(shapes.Network((*widths, 10), 128)) == "256 (17 times)-10 batch 128"
    assert str(shapes.Network((784, 512, 512, 512, 10), 64)) == "784-512-512-512-10 batch 64"
    assert str(shapes.Prediction((9, 9, 9, 9), 1)) == "9 (4 times) batch 1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "there is nothing called nonsense; wanted 'all' or "),
        (["batchnorm"], "there is nothing called batchnorm (did you mean 'batch_norm'?); wanted 'all' or "),
        (["relux"], "there is nothing called relux ('relu' is in 'activation'); wanted 'all' or "),
        (["adam"], "there is nothing called adam ('adam' is in 'updates'); wanted 'all' or "),
        (["philox"], "there is nothing called philox, since that folder of kernels/ has no op of its own"),
        (["add", "--json", "/nowhere/x.json"], "--json /nowhere/x.json: there is no folder /nowhere"),
        (["add", "--json", "/proc/x.json"], "--json: cannot write to /proc/x.json: "),
        (["add", "--json", "/proc/version"], "--json: cannot write to /proc/version: "),
        (["add", "--json", ""], "--json . is a folder; name a file"),
        (["add", "--plot", "/"], "--plot / is a folder; name a file"),
        (["add", "--plot", "x.txt"], "--plot x.txt: wanted a name that ends in .png, .svg, .pdf"),
    ],
)
def test_wrong_requests_are_told_before_anything_is_measured(arguments, message, capsys):
    assert cli.main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_peer_that_does_something_else_is_refused():
    pytest.importorskip("torch")
    peer = Peer("torch")
    try:
        shape = shapes.Elements(1000)
        assert peer.variant(shape, [], "no such part") is None
        variant = peer.variant(shape, [np.ones(1000)], "relu")
        assert variant is not None
        with pytest.raises(AssertionError, match="torch, 1000 relu"):
            variant.check()
        assert len(variant.block(1, 3)) == 3
    finally:
        peer.close()


class FakePeer:
    """A library in whose stead a function makes the check."""

    about, missing, installed = {"version": "1.0"}, "", True

    def __init__(self, name, check):
        self.name, self.check = name, check

    def variant(self, shape, results, part=""):
        return harness.Variant(harness.timed(lambda: None), self.check)

    def close(self):
        pass


def differ():
    raise AssertionError("not equal to ours")


def end():
    raise RuntimeError("the process of c ended")


def test_a_peer_that_differs_costs_nothing_but_its_own_figure():
    measured = run.Run(tiny=True)
    measured.peers = [FakePeer("a", lambda: None), FakePeer("b", differ), FakePeer("c", end)]
    assert list(measured.measure_all(["softmax"])) == ["softmax 5x10"]
    assert [row.op for row in measured.rows] == ["softmax", "softmax backward"]
    for row in measured.rows:
        assert list(row.peers) == ["a"]
        assert row.refused == row.as_dict()["refused"] == {"b": "differs", "c": "ended"}
    told = measured.lines()
    head, first, second = told[told.index("") + 1 :][:3]
    assert head.split()[-3:] == ["a", "b", "c"]
    assert first.split()[-3:] == second.split()[-3:] == ["ran", "differs", "ended"]
    assert "not measured: softmax backward 5x10 by b: not equal to ours" in told
    assert "not measured: softmax 5x10 by c: the process of c ended" in told
    assert "peers: a 1.0, b 1.0, c 1.0" in told


def test_a_wrong_case_costs_no_other_of_its_shape(monkeypatch):
    from fastdl.bench.cases import softmax

    def broken(shape, to):
        first, *rest = softmax_cases(shape, to)
        wrong = harness.Variant(harness.timed(lambda: None), differ)
        yield from [dataclasses.replace(first, ours={"": wrong}), *rest]

    softmax_cases = softmax.cases
    monkeypatch.setattr(softmax, "cases", broken)
    measured = run.Run(tiny=True)
    list(measured.measure_all(["softmax"]))
    assert measured.failed == {"softmax 5x10": "not equal to ours"}
    assert [row.op for row in measured.rows] == ["softmax backward"]


def test_peers_that_are_missing_are_told():
    found = {"torch": {"version": "2.0"}, "torch.compile": {}, "jax": {}, "onnxruntime": "not installed"}
    assert table.peer_lines(found) == ["peers: torch 2.0, jax (not asked); not installed: onnxruntime"]
    assert table.peer_lines({"jax": "not installed", "cupy": "not installed"}) == [
        "peers: none; not installed: jax, cupy"
    ]
    assert table.peer_lines({}) == []


@pytest.mark.parametrize("elements", [100, 10_000])
def test_results_of_other_masks_may_differ_by_six_deviations(elements):
    x = np.random.default_rng(0).standard_normal(elements)

    def dropped(seed, rate=0.2):
        return x * (np.random.default_rng(seed).random(elements) >= rate) / (1 - rate)

    ours = dropped(0)
    apart = [sizes([dropped(seed)])[0] - sizes([dropped(-seed % 1000)])[0] for seed in range(1, 400)]
    six = 6 * np.std(apart)  # as they are found to lie
    (mean,) = sizes([ours])
    assert_same_size([mean + 0.8 * six], [ours], rate=0.2)
    with pytest.raises(AssertionError):
        assert_same_size([mean + 1.2 * six], [ours], rate=0.2)


def test_other_results_must_have_our_size():
    with pytest.raises(AssertionError, match="a peer"):
        assert_same_size([1.02], [np.ones(9)], name="a peer")
    with pytest.raises(AssertionError, match="a peer: 2 results, wanted 1"):
        assert_same_size([1.0, 1.0], [np.ones(9)], name="a peer")
    assert_same_size([1.005], [np.ones(9)])


def test_a_process_that_ends_is_told_and_started_anew():
    code = "from fastdl.bench.child import serve; import os; serve(dict, lambda r: {} if r['n'] else os._exit(3))"
    started = child.Child("a test", code)
    try:
        for _ in range(2):
            assert started.ask(n=1) == {}
            with pytest.raises(RuntimeError, match="the process of a test ended with status 3"):
                started.ask(n=0)
    finally:
        started.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PEERS if name != "cupy"])
def test_peers_do_the_same_work(name):
    peer = Peer(name)
    if not peer.installed:
        pytest.skip(f"{name} is not installed")
    measured = run.Run(tiny=True)
    measured.peers = [peer]
    try:
        wanted = ["step", "predict"] if name == "torch.compile" else run.names(["all"])  # it compiles for long
        for _ in measured.measure_all(wanted):
            pass
        assert any(name in row.peers for row in measured.rows)
    finally:
        measured.close()


def test_what_cannot_be_measured_is_told_and_the_rest_is_kept(monkeypatch, capsys):
    from fastdl.bench.cases import add

    def broken(shape, to):
        yield from add_cases(shape, to)
        raise AssertionError("not equal")

    add_cases = add.cases
    monkeypatch.setattr(add, "cases", broken)
    assert cli.main(["bench", "add", "gather", "--tiny", "--device", "cpu"]) == 1
    printed = capsys.readouterr().out
    assert "not measured: add 1000: not equal" in printed
    assert "gather" in printed


def test_a_table_of_nothing_says_so(capsys):
    assert cli.main(["bench", "start", "--tiny", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.endswith("\n\nnothing was measured\n\n")
    assert table.notes([]) == []
