"""Kernels compiled by several processes at once: each takes a core for a second or two.

Numba compiles under a lock, so threads would only wait for each other. What a process compiled, the
others find in the cache. None of them must succeed: what is missing is compiled when it is called.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.core import types
from numba.np.numpy_support import from_dtype

from ._cache import folder
from ._numba import Kernel, threads

PROCESSES = 8  # at most: each takes 150 MB
SERVE = f"from {__name__} import serve; serve()"


class Job(NamedTuple):
    """A kernel to be compiled for arguments of these types: its twins, which share what they call."""

    kernel: Kernel
    signature: tuple[types.Type, ...]
    twins: tuple[str, ...]  # by name

    def is_done(self) -> bool:
        """Whether they are compiled in this process, or in the cache."""
        twins = [getattr(self.kernel, name) for name in self.twins]
        return all(self.signature in twin.overloads or twin._cache.holds(self.signature, twin) for twin in twins)

    def compile(self) -> None:
        """Compile them in this process, or load them."""
        for name in self.twins:
            getattr(self.kernel, name).compile(self.signature)

    def as_line(self) -> str:
        """What a process is told: all that kernels take are numbers, and arrays in C order."""
        arguments = [[t.dtype.name, t.ndim] if isinstance(t, types.Array) else t.name for t in self.signature]
        return json.dumps([self.kernel.name, arguments, self.twins])

    @classmethod
    def of_line(cls, line: str) -> Job:
        """The same, in that process."""
        name, arguments, twins = json.loads(line)
        module = importlib.import_module(f"{__package__}.{name.partition('.')[0]}.cpu")
        found = next(k for k in vars(module).values() if isinstance(k, Kernel) and k.name == name)
        return cls(found, tuple(map(_type, arguments)), tuple(twins))


def _type(argument: Any) -> types.Type:
    if isinstance(argument, str):
        return from_dtype(np.dtype(argument))
    dtype, ndim = argument
    return types.Array(from_dtype(np.dtype(dtype)), ndim, "C")


def jobs_of(calls: Iterable[tuple[Any, tuple[Any, ...]]], every: bool = False) -> list[Job]:
    """What calls of kernels need: the twin that fits, or every one; what is no kernel of ours needs nothing."""
    wanted: dict[tuple[Kernel, tuple[types.Type, ...]], set[str]] = defaultdict(set)
    for kernel, args in calls:
        if isinstance(kernel, Kernel):
            signature = tuple(map(numba.typeof, args))
            fits = kernel.twin(args)
            wanted[kernel, signature].update(name for name, twin in kernel.twins.items() if every or twin is fits)
    return [Job(*key, tuple(sorted(twins))) for key, twins in wanted.items()]


def compile_together(jobs: Iterable[Job]) -> Iterator[Job]:
    """Compile what is neither in this process nor in the cache, in as many processes as kernels may have threads.

    Each job comes when it is done.
    """
    missing: deque[Job] = deque()
    for each in jobs:
        if each.is_done():
            yield each
        else:
            missing.append(each)
    count = min(threads.count, len(missing), PROCESSES)
    # A program that is frozen into one file is no Python that could be told to run something else.
    if count > 1 and folder() and sys.executable and not getattr(sys, "frozen", False):
        yield from _by_processes(missing, count)
    while missing:
        each = missing.popleft()
        each.compile()
        yield each


def _by_processes(missing: deque[Job], count: int) -> Iterator[Job]:
    """Take from `missing` what processes can compile."""
    results: SimpleQueue[Job | None] = SimpleQueue()
    for _ in range(count):
        threading.Thread(target=_hand_over, args=(missing, results)).start()
    try:
        while count:
            if done := results.get():
                yield done
            else:
                count -= 1
    finally:
        if count:  # nobody waits for the rest
            missing.clear()


def _hand_over(missing: deque[Job], results: SimpleQueue[Job | None]) -> None:
    """Hand jobs to a process of its own, one after the other."""
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    job = None
    try:
        with subprocess.Popen(
            [sys.executable, "-c", SERVE],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            while missing:
                job = missing.popleft()
                print(job.as_line(), file=process.stdin, flush=True)
                if not process.stdout.readline():  # it has ended
                    return
                results.put(job)
                job = None
    except (OSError, IndexError):  # it could not be started or told; or another was faster
        pass
    finally:
        if job:
            missing.append(job)
        results.put(None)


def serve() -> None:
    """In such a process: compile what is asked for, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asked
    for line in sys.stdin:
        Job.of_line(line).compile()
        sys.stdout.write("done\n")
        sys.stdout.flush()
