"""Ctrl-C, put off until it does no harm."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


class StopOnInterrupt:
    """Within it the first Ctrl-C only sets `asked`, so that no step is cut in two."""

    def __init__(self, told: Callable[[str], None] | None = None) -> None:
        self.asked = False
        self._told = told
        self._before: Any = None

    def __enter__(self) -> StopOnInterrupt:
        # Where it is ignored, as under nohup, it stays so.
        heard = signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None)
        if heard and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self._told is not None:
            self._told("stopping after this step; Ctrl-C again stops at once")
        signal.signal(signal.SIGINT, self._before)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)


@contextlib.contextmanager
def none_lost() -> Iterator[None]:
    """Within it a Ctrl-C that could not be raised where it came comes again a moment later.

    LLVM calls back into Python while it compiles, and objects are deleted: what is raised there is printed and
    forgotten.
    """
    before = sys.unraisablehook

    def tell(found: sys.UnraisableHookArgs) -> None:
        if not issubclass(found.exc_type, KeyboardInterrupt):
            before(found)
            return
        again = threading.Timer(0.05, _thread.interrupt_main)  # by then what called back has probably returned
        again.daemon = True
        again.start()

    sys.unraisablehook = tell
    try:
        yield
    finally:
        sys.unraisablehook = before
