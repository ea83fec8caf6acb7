"""Kernel calls noted once and replayed: the only door through which an op reaches a kernel."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np

from . import backend


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
        """Note a call."""
        self.entries.append(entry)

    def resolve(self) -> None:
        """Find the compiled code for exactly these arguments, where there is some; compile what is missing."""
        backend.compile_together((entry.kernel, entry.args) for entry in self.entries)
        for entry in self.entries[len(self._calls) :]:
            resolve = getattr(entry.kernel, "resolve", None)
            self._calls.append((resolve(entry.args) if resolve else entry.kernel, entry.args))

    def replay(self) -> None:
        """Make all calls again, on the same arrays."""
        if not self._calls:
            self.resolve()
        for kernel, args in self._calls:
            kernel(*args)

    def replay_watched(self, watch: Callable[[int, Entry], None]) -> None:
        """The same, with `watch(position, entry)` after every call: for a NaN watch or a profiler."""
        if not self._calls:
            self.resolve()
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


class _Closed:
    """What a sealed array refuses: its shape can be read, its values cannot.

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
    item = tolist = tobytes = fill = copy = astype = dot = sort = argsort = get = set = _closed
    sum = prod = mean = std = var = max = min = any = all = argmax = argmin = _closed
    cumsum = cumprod = clip = round = take = put = repeat = nonzero = flatten = _closed
    ptp = compress = choose = byteswap = diagonal = trace = scatter_add = scatter_max = scatter_min = _closed

    def __getitem__(self, key: Any) -> Any:
        view = super().__getitem__(key)  # type: ignore[misc]
        if not isinstance(view, _Closed) or not self._holds(view):
            self._closed()
        return view

    def _holds(self, view: Any) -> bool:
        """Whether a view is one, and no copy."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<array of a recorded step, shape {self.shape}, {self.dtype}>"  # type: ignore[attr-defined]

    __str__ = __repr__


class Sealed(_Closed, np.ndarray):
    """A NumPy array of a recorded step."""

    def _holds(self, view: Any) -> bool:
        return view.size == 0 or np.may_share_memory(view.view(np.ndarray), self.view(np.ndarray))


@functools.cache
def _sealed_on_cuda(kind: Any) -> Any:
    """The same for CuPy's arrays."""

    class SealedOnCuda(_Closed, kind):  # type: ignore[misc]
        """A CuPy array of a recorded step."""

        plain = kind

        def _holds(self, view: Any) -> bool:
            return view.size == 0 or view.data.mem is self.data.mem

    names = "add sub mul truediv floordiv mod divmod pow matmul and or xor lshift rshift"
    names += " neg pos abs invert eq ne lt le gt ge"
    for name in names.split():
        for operator in (f"__{name}__", f"__r{name}__", f"__i{name}__"):
            setattr(SealedOnCuda, operator, _Closed._closed)  # CuPy's own do not ask __array_ufunc__
    SealedOnCuda.__hash__ = None  # type: ignore[assignment]
    backend.CUDA_ARRAYS.add(SealedOnCuda)
    return SealedOnCuda


def seal(array: Any) -> Any:
    """The array as a recorded step may see it: sealed while recording, itself otherwise."""
    if not recording():
        return array
    if backend.on_cuda(array):
        return array if isinstance(array, _Closed) else array.view(type=_sealed_on_cuda(type(array)))  # type: ignore[arg-type]
    return array.view(Sealed)


def unseal(value: Any) -> Any:
    """The plain array behind a sealed one; anything else as it is."""
    if type(value) is Sealed:
        return value.view(np.ndarray)
    if isinstance(value, _Closed):
        return value.view(type=value.plain)  # type: ignore[attr-defined]
    return value
