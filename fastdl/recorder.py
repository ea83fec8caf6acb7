"""Kernel calls noted once and replayed: the only door through which an op reaches a kernel."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np


class Entry(NamedTuple):
    """One launch: what to call with what, which arguments it writes, and whether a graph can hold it."""

    name: str
    kernel: Callable[..., None]
    args: tuple[Any, ...]
    outputs: tuple[Any, ...]
    capturable: bool


class Tape:
    """Resolved kernel calls in order. It knows nothing of layers, devices or steps."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._calls: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def add(self, entry: Entry) -> None:
        """Note a call, with the compiled code for exactly these arguments where there is one."""
        resolve = getattr(entry.kernel, "resolve", None)
        self.entries.append(entry)
        self._calls.append((resolve(entry.args) if resolve else entry.kernel, entry.args))

    def replay(self) -> None:
        """Make all calls again, on the same arrays."""
        for kernel, args in self._calls:
            kernel(*args)

    def replay_watched(self, watch: Callable[[int, Entry], None]) -> None:
        """The same, with `watch(position, entry)` after every call: for a NaN watch or a profiler."""
        for position, (entry, (kernel, args)) in enumerate(zip(self.entries, self._calls, strict=True)):
            kernel(*args)
            watch(position, entry)


class _Here(threading.local):
    """Where this thread's launches go instead of being made, if anywhere."""

    # Found on the class, since asking a thread for what it has not is ten times slower.
    tape: Tape | None = None
    divert: Callable[[Callable[..., None], tuple[Any, ...]], None] | None = None


_here = _Here()


def recording() -> bool:
    """Whether this thread's launches are noted instead of made."""
    return _here.tape is not None


@contextlib.contextmanager
def record() -> Iterator[Tape]:
    """Within it this thread's launches are noted and not made, as in CUDA's stream capture."""
    if recording():
        raise RuntimeError("record: this thread is recording already")
    _here.tape = tape = Tape()
    try:
        yield tape
    finally:
        _here.tape = None


@contextlib.contextmanager
def divert(to: Callable[[Callable[..., None], tuple[Any, ...]], None]) -> Iterator[None]:
    """Within it this thread's launches are not made: `to(kernel, arguments)` is called instead."""
    _here.divert = to
    try:
        yield
    finally:
        _here.divert = None


def launch(
    name: str,
    kernel: Callable[..., None],
    *args: Any,
    outputs: tuple[Any, ...],
    capturable: bool = True,
) -> None:
    """Call a kernel, or note the call while a step is recorded.

    Parameters
    ----------
    name
        Of the op, for messages and profiles.
    kernel
        What to call. Its arrays must be those that it reads and writes, not copies of them.
    outputs
        Those of the arguments that it writes.
    capturable
        Whether a CUDA graph can hold the call.
    """
    tape, divert = _here.tape, _here.divert
    if tape is not None:
        tape.add(Entry(name, kernel, tuple(map(unseal, args)), tuple(map(unseal, outputs)), capturable))
    elif divert is not None:
        divert(kernel, args)
    else:
        kernel(*args)


class Sealed(np.ndarray):
    """An array of a recorded step: its shape can be read, its values cannot.

    NumPy code between ops, or a branch on a value, would be lost from the tape; so it fails, at its
    own line.
    """

    def _closed(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            "a recorded step cannot read values, or use NumPy, between ops; use fastdl.ops here, or "
            "frame.call(function, *arrays), or TrainStep(record=False)"
        )

    __array_ufunc__ = __array_function__ = __float__ = __int__ = __bool__ = __iter__ = __setitem__ = _closed
    __contains__ = __index__ = __complex__ = __copy__ = __deepcopy__ = _closed
    item = tolist = tobytes = fill = copy = astype = dot = sort = argsort = _closed
    sum = prod = mean = std = var = max = min = any = all = argmax = argmin = _closed
    cumsum = cumprod = clip = round = take = put = repeat = nonzero = flatten = _closed

    def __getitem__(self, key: Any) -> Any:
        view = super().__getitem__(key)
        if not isinstance(view, Sealed) or not np.may_share_memory(view.view(np.ndarray), self.view(np.ndarray)):
            self._closed()
        return view

    def __repr__(self) -> str:
        return f"<array of a recorded step, shape {self.shape}, {self.dtype}>"

    __str__ = __repr__


def seal(array: Any) -> Any:
    """The array as a recorded step may see it: sealed while recording, itself otherwise."""
    return array.view(Sealed) if recording() else array


def unseal(value: Any) -> Any:
    """The plain array behind a sealed one; anything else as it is."""
    return value.view(np.ndarray) if type(value) is Sealed else value
