"""A run of benchmarks: what is named is measured, case by case, under one set of ceilings."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import difflib
import functools
import importlib
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from fastdl import backend, devices, ops
from fastdl.bench import machine, shapes, table
from fastdl.bench.case import Call, Case
from fastdl.bench.ceilings import Ceilings, Cost, measure_ceilings
from fastdl.bench.harness import TINY, Plan, Quartiles, Variant, in_turn, poison, timed
from fastdl.bench.peers import ON, Peer

PARTS = {
    "activation": ops.ACTIVATIONS,
    "losses": ops.LOSSES,
    "updates": ("sgd", "momentum", "adagrad", "rmsprop", "adam"),
}
"""What is measured together, by the name that one gives for it."""
WRONG = AssertionError, RuntimeError  # a result that is not right, or a process that ended


def names(wanted: Sequence[str]) -> list[str]:
    """What is meant: "all" is every op, the step and prediction; nothing is the step.

    Raises
    ------
    ValueError
        For a name that there is none of.
    """
    known = list(shapes.SHAPES)
    for name in wanted:
        if name not in (*known, "all"):
            meant = _meant(name, known)
            raise ValueError(f"bench: there is nothing called {name}{meant}; wanted 'all' or {', '.join(known)}")
    everything = [name for name in known if name not in shapes.APART]
    found = [each for name in wanted for each in (everything if name == "all" else [name])]
    return list(dict.fromkeys(found)) or ["step"]


def _meant(name: str, known: Sequence[str]) -> str:
    """What somebody may have meant by a name: another one, or what is measured as part of it."""
    if name in ("philox", "control"):
        return ", since that folder of kernels/ has no op of its own to measure"
    homes = {part: home for home, parts in PARTS.items() for part in parts} | {each: each for each in known}
    near = difflib.get_close_matches(name.lower(), homes, 1)
    if not near:
        return ""
    home = homes[near[0]]
    return f" (did you mean {near[0]!r}?)" if home == near[0] else f" ({near[0]!r} is in {home!r})"


class Run:
    """Ceilings of a device, the peers that are installed, and the rows so far.

    Parameters
    ----------
    device : {"cpu", "cuda"}
    peers : bool
        Whether to compare with other libraries.
    tiny : bool
        Tiny shapes and few repeats: whether everything runs.
    """

    def __init__(self, device: str = "cpu", *, peers: bool = False, tiny: bool = False):
        self.device, self.tiny = device, tiny
        self.plan = TINY if tiny else Plan()
        self.machine = machine.describe(device)
        self.ceilings = measure_ceilings(shapes.ceiling(device, tiny), self.plan, device)
        self.peers = [Peer(name, device) for name in ON[device]] if peers else []
        self.rows: list[table.Row] = []
        self.failed: dict[str, str] = {}
        """What could not be measured, and why; the rest is worth having."""

    def count(self, wanted: Sequence[str]) -> int:
        """How many shapes `measure_all` goes through."""
        return sum(len(shapes.of(name, self.device, self.tiny)) for name in wanted)

    def measure_all(self, wanted: Sequence[str]) -> Iterator[str]:
        """Measure what is named, shape by shape; yields after each what it was."""
        for name in wanted:
            module = importlib.import_module(f"fastdl.bench.cases.{name}")
            for shape in shapes.of(name, self.device, self.tiny):
                try:
                    with contextlib.closing(module.cases(shape, self._to)) as cases:
                        for case in cases:
                            try:
                                self.measure(name, case)
                            except WRONG as error:
                                self._tell(f"{case.op} {shape}", error)
                except WRONG as error:
                    self._tell(f"{name} {shape}", error)
                yield f"{name} {shape}"

    def _to(self, array: Any) -> Any:
        return devices.asarray(array, self.device)

    def _tell(self, what: str, error: Exception) -> None:
        self.failed[what] = " ".join(str(error).split())[:500]

    def measure(self, folder: str, case: Case) -> list[table.Row]:
        """Measure a case; its rows, one for each variant of ours."""
        _check(case)
        theirs, refused = self._agreeing(case)
        rows = _rows(folder, case, theirs, self.plan, self.ceilings, self.device)
        rows = [dataclasses.replace(row, refused=refused) for row in rows]
        self.rows += rows
        return rows

    def _agreeing(self, case: Case) -> tuple[dict[str, Variant], dict[str, str]]:
        """The peers' variants, checked, and why others have none: what is wrong with one says nothing of the rest."""
        agreeing, refused = {}, {}
        for peer in [peer for peer in self.peers if peer.installed] if case.theirs else []:
            assert case.theirs is not None
            try:
                if variant := case.theirs(peer):
                    variant.check()
                    agreeing[peer.name] = variant
            except WRONG as error:
                refused[peer.name] = "differs" if isinstance(error, AssertionError) else "ended"
                self._tell(f"{case.op} {case.shape} by {peer.name}", error)
                if not peer.about:  # its process ended before it said a word, and would do so each time
                    peer.missing = "cannot be started"
        return agreeing, refused

    def close(self) -> None:
        """End the peers' processes."""
        for peer in self.peers:
            peer.close()

    def record(self) -> dict[str, Any]:
        """All of it as plain values."""
        peers = {peer.name: peer.missing or peer.about for peer in self.peers}
        described = {**self.machine, "ceilings": asdict(self.ceilings), "peers": peers}
        date = datetime.datetime.now(datetime.UTC).date().isoformat()
        rows = [row.as_dict() for row in self.rows]
        return {"commit": _commit(), "date": date, "tiny": self.tiny, "machine": described, "rows": rows}

    def lines(self) -> list[str]:
        """All of it for people."""
        return [
            *table.machine_lines(self.machine),
            *table.ceiling_lines(self.ceilings),
            *table.peer_lines({peer.name: peer.missing or peer.about for peer in self.peers}),
            *machine.warnings(self.machine),
            *(["tiny shapes and few repeats: these figures only show that everything runs"] if self.tiny else []),
            "",
            *(table.lines(self.rows, tiny=self.tiny) if self.rows else ["nothing was measured"]),
            "",
            *([] if self.tiny else table.notes(self.rows)),
            *(f"not measured: {name}: {why}" for name, why in self.failed.items()),
        ]


def _check(case: Case) -> None:
    """Raise unless ours is right: before the peers, which are held against its results."""
    for variant in case.ours.values():
        variant.check()


def _rows(
    folder: str,
    case: Case,
    theirs: Mapping[str, Variant],
    plan: Plan,
    ceilings: Ceilings,
    device: str,
) -> list[table.Row]:
    preemptions = -machine.preemptions()
    samples = in_turn(
        {("ours", name): variant for name, variant in case.ours.items()}
        | {("eager", name): Variant(timed(call, device), lambda: None) for name, call in case.eager.items()}
        | {("theirs", name): variant for name, variant in theirs.items()},
        plan,
    )
    preemptions += machine.preemptions()
    floor = ceilings.floor(case.cost) if case.cost != Cost() else None
    rows = []
    for name in case.ours:
        seconds = Quartiles.of(samples["ours", name])
        eager = median(samples["eager", name]) - seconds.median if name in case.eager else None
        others = {peer: Quartiles.of(samples["theirs", peer]) for peer in theirs}
        of = case.op, name, str(case.shape), seconds
        rows.append(table.Row(folder, *of, case.cost, floor, eager, preemptions, others))
    if case.side_by_side:
        others = {row.variant: row.seconds for row in rows[1:]}
        rows[0] = dataclasses.replace(rows[0], others=rows[0].others | others)
    return rows


@functools.cache
def _ceilings(device: str, plan: Plan) -> Ceilings:
    return measure_ceilings(shapes.ceiling(device, tiny=plan is TINY), plan, device)


class Comparison(list[table.Row]):
    """Rows, printed as a table."""

    def __str__(self) -> str:
        return "\n".join(table.lines(self))


def compare(
    calls: Mapping[str, Call],
    *,
    read: float = 0,
    written: float = 0,
    flops: float = 0,
    in_place: bool = False,
    check: Callable[[], None] | None = None,
    out: Any = (),
    device: str = "cpu",
    plan: Plan | None = None,
) -> Comparison:
    """Measure functions that do the same work, in turn, beside what this machine can do at most.

    The machine's ceilings are measured first, once in a process, which takes some seconds.

    Parameters
    ----------
    calls : mapping of str to function
        Without arguments; the others are held against the first.
    read, written, flops : float
        What the work must move, in bytes, and compute: together its floor.
    in_place : bool
        Whether it writes only where it has read.
    check : function, optional
        Raises unless the result is right; called after one call of each function.
    out : array or several, optional
        The results, filled before each function's check with NaN, or the largest integer. Without it the
        result of one function is still there when the next is checked, and a function that does nothing
        passes: then the check must fill them itself, once it has looked. Not for what a function adds to.
    device : {"cpu", "cuda"}
    plan : Plan, optional
        How often.

    Returns
    -------
    Comparison
        A list of rows, with `seconds` (quartiles), `rate`, `percent_of_floor` and, of the first, `peers`:
        how many times as long the others take. Printed, it is a table.

    Raises
    ------
    AssertionError
        If a function's result is not right; names the function.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.bench import TINY, compare, normal, unset
    >>> x, out = normal((1000,)), unset((1000,))
    >>> def check():
    ...     np.testing.assert_array_equal(out, np.maximum(x, 0))
    >>> calls = {"maximum": lambda: np.maximum(x, 0, out=out), "where": lambda: np.copyto(out, np.where(x > 0, x, 0))}
    >>> rows = compare(calls, read=x.nbytes, written=out.nbytes, check=check, out=out, plan=TINY)
    >>> [row.name for row in rows], list(rows[0].peers)
    (['maximum', 'where'], ['where'])
    """
    if not isinstance(calls, Mapping):
        raise TypeError(f"compare: got a {type(calls).__name__}, wanted functions by their names: {{'mine': call}}")
    if not calls:
        raise ValueError("compare: got no function, wanted at least one by its name: {'mine': call}")
    if wrong := [name for name, call in calls.items() if not callable(call)]:
        raise TypeError(f"compare: {wrong[0]!r}: got {calls[wrong[0]]!r}, wanted a function without arguments")
    results = list(out) if isinstance(out, (list, tuple)) else [out]
    if wrong := [result for result in results if not backend.is_array(result)]:
        raise TypeError(f"compare: out: got {wrong[0]!r}, wanted an array, or several")
    device, plan = backend.device(device), plan or Plan()
    variants = {name: _compared(name, call, check, results, device) for name, call in calls.items()}
    case = Case("", "", variants, Cost(flops, read, written, in_place), side_by_side=True)
    _check(case)
    return Comparison(_rows("", case, {}, plan, _ceilings(device, plan), device))


def _compared(
    name: str,
    call: Call,
    check: Callable[[], None] | None,
    results: Sequence[Any],
    device: str,
) -> Variant:
    """A function that is checked under its name, on results that no other has left."""

    def called() -> None:
        for result in results:
            poison(result)
        call()
        if check is None:
            return
        try:
            check()
        except Exception as error:
            raise AssertionError(f"compare: {name!r} gives a wrong result: {error}") from error

    return Variant(timed(call, device), called)


def _commit() -> str | None:
    """Of the checkout that this runs in, if it is one: not that of a project which has this one installed within."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        return found.stdout.strip()
    return None
