"""Times of calls that were checked first, and are then measured in turn, block by block."""

from __future__ import annotations

import functools
import importlib
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fastdl import backend, devices
from fastdl.kernels._cuda import Launcher
from fastdl.recorder import Entry, record
from fastdl.testing import assert_agree

Array = np.ndarray[Any, Any]
Block = Callable[[int, int], list[float]]  # calls to warm up, calls to time -> the seconds of each
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Plan:
    """How often variants are measured."""

    blocks: int = 5
    """Of every variant, taken in turn, so that a slow minute of the machine falls on all of them."""
    seconds: float = 0.1
    """That a block is to take; decides how many calls it has."""
    calls: tuple[int, int] = (5, 500)
    """The fewest and the most of a block."""
    pause: float = 0.15
    """Seconds before each block: OpenBLAS's threads keep their cores busy for 0.1 s after a product."""


TINY = Plan(blocks=2, seconds=0.0, calls=(2, 2), pause=0.0)  # finds out whether it runs, not how fast


class Variant(NamedTuple):
    """One of the things that are compared."""

    block: Block
    check: Callable[[], None]
    """Makes one call, and raises unless its result is right."""


class Quartiles(NamedTuple):
    """Of the seconds of many calls."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Quartiles:
        """Of these calls."""
        return cls(*map(float, np.percentile(seconds, (25, 50, 75))))


def measure(variants: Mapping[Name, Variant], plan: Plan | None = None) -> dict[Name, list[float]]:
    """Check every variant, then time them in turn; the seconds of every call of each."""
    for variant in variants.values():
        variant.check()
    return in_turn(variants, plan or Plan())


def in_turn(variants: Mapping[Name, Variant], plan: Plan) -> dict[Name, list[float]]:
    """Time variants that are checked, block by block; the seconds of every call of each."""
    calls = {}
    for name, variant in variants.items():
        time.sleep(plan.pause)
        once = statistics.median(variant.block(2, 3))
        fewest, most = plan.calls
        calls[name] = round(min(most, max(fewest, plan.seconds / once)))
    seconds: dict[Name, list[float]] = {name: [] for name in variants}
    turn = list(variants)
    for _ in range(plan.blocks):
        for name in turn:
            time.sleep(plan.pause)
            # Threads asleep, cold caches and a slowed clock are what the pause leaves behind.
            seconds[name] += variants[name].block(1 + calls[name] // 5, calls[name])
        turn.reverse()  # so that none always comes after the same other
    return seconds


def timed(call: Callable[[], object], device: str = "cpu") -> Block:
    """Blocks of this call; on a GPU the time between events there, several calls at a time."""
    if device == "cuda":
        return functools.partial(_timed_by_events, call)

    def block(warm: int, repeats: int) -> list[float]:
        for _ in range(warm):
            call()
        seconds = []
        for _ in range(repeats):
            began = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - began)
        return seconds

    return block


PAIRS = 10  # of events in a block, at most: each costs the host a few microseconds


def _timed_by_events(call: Callable[[], object], warm: int, repeats: int) -> list[float]:
    cupy = importlib.import_module("cupy")
    for _ in range(warm):
        call()
    pairs, seconds = min(PAIRS, repeats), []
    for _ in range(pairs):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        for _ in range(repeats // pairs):
            call()
        end.record()
        end.synchronize()
        seconds.append(cupy.cuda.get_elapsed_time(begin, end) / 1e3 / (repeats // pairs))
    return seconds


def checked(call: Callable[[], object], check: Callable[[], None], device: str = "cpu") -> Variant:
    """A function, and what raises after a call of it unless the result is right."""

    def called() -> None:
        call()
        check()

    return Variant(timed(call, device), called)


def replayed(call: Callable[[], object]) -> Variant:
    """The launches of a call of ops, as a recorded training step makes them, checked against the reference kernels."""
    with record() as tape:
        call()
    replay = timed(tape.replay, "cuda" if backend.on_cuda(tape.entries[0].outputs[0]) else "cpu")

    def block(warm: int, repeats: int) -> list[float]:
        with backend.one_blas_thread():  # as in a step
            return replay(warm, repeats)

    def check() -> None:
        expected = _expect(tape.entries[0])

        def compare(position: int, entry: Entry) -> None:
            nonlocal expected
            for number, (actual, wanted) in enumerate(zip(entry.outputs, expected, strict=True)):
                if wanted is not None:
                    _assert_close(devices.read(actual), wanted, f"{entry.name}, output {number}")
            if position + 1 < len(tape.entries):
                expected = _expect(tape.entries[position + 1])

        with backend.one_blas_thread():
            tape.replay_watched(compare)

    return Variant(block, check)


def _assert_close(actual: Array, wanted: Array, name: str) -> None:
    """Within 1e-5 of the largest value: sums in another order differ so much, and a wrong kernel by far more."""
    computed_in = np.float32 if actual.dtype.kind == "f" else None  # also what is then added up in float64
    assert_agree(
        actual, wanted, kind="normalising", scale=np.abs(wanted).max(initial=0), precision=computed_in, name=name
    )


def poison(out: Any) -> None:
    """Fill a result with NaN, or the largest integer, so that what is not written is seen."""
    kind = out.dtype.kind
    out.fill(np.nan if kind in "fc" else True if kind == "b" else np.iinfo(out.dtype).max)


def _expect(entry: Entry) -> list[Array | None]:
    """What the reference kernel makes of a launch's arguments; None for scratch, which it leaves alone.

    An output that is the same whatever it held before is unset, lest what another variant has left
    there should pass for this one's result.
    """
    reference = _reference(entry.kernel)
    if reference is None:
        return [None] * len(entry.outputs)
    places = [next(at for at, a in enumerate(entry.args) if a is output) for output in entry.outputs]

    def run(anew: bool) -> list[Array]:
        copies = [np.array(devices.read(a)) if backend.is_array(a) else a for a in entry.args]
        for at in places if anew else ():
            poison(copies[at])
        reference(*copies)
        return [copies[at] for at in places]

    results: list[Array | None] = []
    for output, value, again in zip(entry.outputs, run(anew=False), run(anew=True), strict=True):
        if value.tobytes() == again.tobytes():
            poison(output)
            results.append(value)
        else:
            results.append(None if value.tobytes() == devices.read(output).tobytes() else value)
    return results


def _reference(kernel: Any) -> Callable[..., None] | None:
    """The reference's kernel of the same name; None where that is the very kernel, for lack of Numba."""
    if isinstance(kernel, Launcher):
        op = kernel.source.op
        names = vars(importlib.import_module(f"fastdl.kernels.{op}.cuda"))
        name = next(name for name, value in names.items() if value is kernel)
    elif hasattr(kernel, "name"):
        op, name = kernel.name.split(".")
    else:
        return None
    with backend.use("numpy"):
        return backend.kernel(op, name, np.empty(0))
