"""How many threads a training takes while other processes want the cores as well.

Threads of a parallel region wait for each other by spinning. Where more threads want to run than there are cores,
one that others wait for is off its core most of the time, and the rest spin: four trainings on two cores took five
to nine times as long as one after the other. So a training that is often taken off its cores halves its threads, and
doubles them again when cores are free. Results do not change: pieces of work do not depend on the threads that run.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable

import numba

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

LOOK = 0.05  # seconds between two looks
CROWDED = 50  # times a second that others take a core from this process; a quiet machine has about ten
SURE = 3  # looks in a row that must find the same: other libraries' threads in this process take cores for a moment


def _preemptions() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


@functools.cache
def _file() -> int:
    return os.open("/proc/loadavg", os.O_RDONLY)


def _running() -> int:
    """Threads of the whole machine that run or want to, this one among them."""
    return int(os.pread(_file(), 100, 0).split()[3].partition(b"/")[0])


def _own_running() -> int:
    """Threads of this process that run or want to: pools of other libraries may spin, too."""
    count = 0
    with os.scandir("/proc/self/task") as tasks:
        for task in tasks:
            try:
                file = os.open(f"{task.path}/stat", os.O_RDONLY)
            except OSError:  # it has ended
                continue
            count += os.pread(file, 200, 0).rpartition(b")")[2].split()[:1] == [b"R"]
            os.close(file)
    return count


def _can_tell() -> bool:
    try:
        return resource is not None and _running() > 0 and _own_running() > 0
    except (OSError, AttributeError, ValueError, IndexError):
        return False


class Share:
    """The threads for one training, asked for before every step.

    Parameters
    ----------
    cores, threads : int
        Those of the machine that this process may use, and the most threads that are wanted.
    """

    def __init__(
        self,
        cores: int,
        threads: int,
        *,
        preemptions: Callable[[], int] = _preemptions,
        running: Callable[[], int] = _running,
        own_running: Callable[[], int] = _own_running,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self.cores, self.most, self.threads = cores, threads, threads
        self._preemptions, self._running, self._clock = preemptions, running, clock
        self._own_running = own_running
        self._full = self._free = 0  # looks in a row that found too few cores, or free ones
        self._looked, self._preempted = clock(), preemptions()

    def __call__(self) -> int:
        """How many threads to take now."""
        now = self._clock()
        if now - self._looked >= LOOK:
            self._look(now)
        return self.threads

    def _look(self, now: float) -> None:
        preempted = self._preemptions()
        rate = (preempted - self._preempted) / (now - self._looked)
        self._looked, self._preempted = now, preempted
        crowded = rate > CROWDED
        if not crowded and self.threads == self.most:
            self._full = 0
            return
        others = self._running() - self._own_running()
        self._full = self._full + 1 if crowded and others + self.threads > self.cores else 0
        self._free = self._free + 1 if not self._full and self.cores - others >= 2 * self.threads else 0
        if self._full >= SURE:
            self.threads, self._full = max(1, self.threads // 2), 0
        elif self._free >= SURE:
            self.threads, self._free = min(self.most, 2 * self.threads), 0


class _Taking(threading.local):
    """While within it, parallel regions of this thread have so many threads; made once, since a step is short."""

    def __init__(self) -> None:
        self._share: Share | None = None
        self._process = 0
        self._kept = 0

    def __enter__(self) -> None:
        wanted = numba.get_num_threads()
        if self._process != os.getpid():
            self._process = os.getpid()
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            self._share = Share(cores, wanted) if wanted > 1 and _can_tell() else None
        threads = self._share() if self._share else wanted
        self._kept = wanted if threads < wanted else 0
        if self._kept:
            numba.set_num_threads(threads)

    def __exit__(self, *_: object) -> None:
        if self._kept:
            numba.set_num_threads(self._kept)


taking = _Taking()
