"""Processes of their own, which are asked by lines of JSON: so no two pools of threads meet that are not meant to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastdl

Answer = dict[str, Any]


def environment(**changes: str) -> dict[str, str]:
    """Of a process that imports this very fastdl, which may be a checkout that is not installed."""
    path = os.pathsep.join(filter(None, (str(Path(fastdl.__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, **changes}


class Child:
    """A process that answers; it starts when it is first asked.

    Parameters
    ----------
    name : str
        For errors.
    code : str
        Python, that ends in a call of `serve`.
    """

    def __init__(self, name: str, code: str, **changes: str):
        self.name, self._code, self._environment = name, code, changes
        self.about: Answer = {}
        """What it said of itself when it started."""
        self._process: subprocess.Popen[str] | None = None

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", self._code],
            env=environment(**self._environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, **request: Any) -> None:
        """Ask, without waiting for the answer."""
        if self._process is None:
            self._process = self._start()
            self.about = self.answer()
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)

    def answer(self) -> Answer:
        """The next answer."""
        assert self._process is not None and self._process.stdout is not None
        if line := self._process.stdout.readline():
            answer: Answer = json.loads(line)
            return answer
        process, self._process = self._process, None  # the next question starts another
        process.communicate()  # closes its pipes
        status = process.wait()
        raise RuntimeError(f"the process of {self.name} ended with status {status}; its traceback is above")

    def ask(self, **request: Any) -> Answer:
        """Ask, and wait for the answer."""
        self.tell(**request)
        return self.answer()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate()  # closes its input, and so ends it
            self._process = None


def serve(about: Callable[[], Answer], handle: Callable[[Answer], Answer]) -> None:
    """In the child: answer requests until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints must not come between the lines

    def send(answer: Answer) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    send(about())
    for line in sys.stdin:
        send(handle(json.loads(line)))
