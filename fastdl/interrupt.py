"""Ctrl-C, put off until it does no harm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
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
