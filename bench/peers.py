"""Other libraries, each measured in a process of its own, so that no two pools of threads meet in one.

`serve` answers lines of JSON on its standard input, one each:

    {"shape": "BatchNorm", "part": "forward"}                                    is there such work?
    -> {"can": true}
    {"shape": "BatchNorm", "part": "", "sizes": {"rows": 128, ...}, "calls": 1}   prepare this work, make calls of it
    -> {"sizes_of_results": [[0.8, 0.3, 31.2, 9.1]]}                             mean |result| of every result and call
    {"warm": 3, "repeats": 20}                                                   time a block of that work
    -> {"seconds": [...]}

Its first line, without being asked, is its version and the number of its threads.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import fastdl
from fastdl.bench import shapes
from fastdl.bench.harness import Variant, timed

# What is compared with: the modules that must be there, the one here that does the work, and its table.
PEERS = {
    "torch": (("torch",), "fastdl.bench.peer_torch", "EAGER"),
    "torch.compile": (("torch",), "fastdl.bench.peer_torch", "COMPILED"),
    "jax": (("jax",), "fastdl.bench.peer_jax", "WORK"),
    "scikit-learn": (("sklearn",), "fastdl.bench.peer_sklearn", "WORK"),
    "onnxruntime": (("onnxruntime", "onnx"), "fastdl.bench.peer_onnxruntime", "WORK"),
    "cupy": (("cupy",), "fastdl.bench.peer_cupy", "WORK"),
}
ON = {
    "cpu": ("torch", "torch.compile", "jax", "scikit-learn", "onnxruntime"),
    "cuda": ("torch", "torch.compile", "cupy"),
}


class Peer:
    """One of them on a device: the process starts when it is first asked for something."""

    def __init__(self, name: str, device: str = "cpu"):
        self.name, self.device = name, device
        self.installed = all(importlib.util.find_spec(module) for module in PEERS[name][0])
        self.about: dict[str, Any] = {}
        """Its version and threads, once it has started."""
        self._process: subprocess.Popen[str] | None = None

    def _start(self) -> subprocess.Popen[str]:
        root = str(Path(fastdl.__file__).parents[1])  # it may be a checkout that is not installed
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        return subprocess.Popen(
            [sys.executable, "-c", f"from fastdl.bench.peers import serve; serve({self.name!r}, {self.device!r})"],
            env={**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": self.device},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, **request: Any) -> dict[str, Any]:
        if self._process is None:
            self._process = self._start()
            self.about = self._answer(self._process)
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer(self._process)

    def _answer(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        if line := process.stdout.readline():
            answer: dict[str, Any] = json.loads(line)
            return answer
        raise RuntimeError(f"the process of {self.name} ended with status {process.wait()}; its traceback is above")

    def prepare(self, shape: shapes.Shape, part: str = "", calls: int = 1) -> list[list[float]]:
        """Set up its work of this shape, or this part of it; the mean size of each result, of each of so many calls."""
        answer = self._ask(shape=type(shape).__name__, part=part, sizes=asdict(shape), calls=calls)
        found: list[list[float]] = answer["sizes_of_results"]
        return found

    def block(self, warm: int, repeats: int) -> list[float]:
        """The seconds of each of so many calls of what was prepared."""
        seconds: list[float] = self._ask(warm=warm, repeats=repeats)["seconds"]
        return seconds

    def can(self, shape: shapes.Shape, part: str = "") -> bool:
        """Whether it has such work."""
        return bool(self._ask(shape=type(shape).__name__, part=part)["can"])

    def variant(self, shape: shapes.Shape, results: Sequence[Any], part: str = "") -> Variant | None:
        """Its work of this shape, or this part of it, checked against ours, which must be checked before."""
        if not self.can(shape, part):
            return None

        def check() -> None:
            wanted = sizes(results)
            found = self.prepare(shape, part)[0]
            np.testing.assert_allclose(found, wanted, rtol=1e-2, err_msg=f"{self.name}, {shape} {part}")

        return Variant(self.block, check)

    def close(self) -> None:
        """End its process."""
        if self._process is not None:
            self._process.communicate()  # closes its input, and so ends it
            self._process = None


def sizes(results: Iterable[Any]) -> list[float]:
    """The mean of |result|, for each: enough to see whether two programs do the same work."""
    return [float(np.abs(_on_host(result).astype(np.float64)).mean()) for result in results]


def _on_host(result: Any) -> Any:
    for method in ("cpu", "get"):  # PyTorch's way, and CuPy's
        if hasattr(result, method):
            result = getattr(result, method)()
    return np.asarray(result)


def serve(name: str, device: str) -> None:
    """Be a peer: answer requests until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints must not come between the lines
    _, module, table = PEERS[name]
    library = importlib.import_module(module)
    work = getattr(library, table)

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    answer(**library.about())
    call = None
    for line in sys.stdin:
        request = json.loads(line)
        if "warm" in request:
            answer(seconds=timed(call, device)(request["warm"], request["repeats"]))
            continue
        shape = getattr(shapes, request["shape"])
        setup = work.get((shape, request["part"]))
        if "calls" not in request:
            answer(can=setup is not None)
        else:
            call = setup(shape(**request["sizes"]), device)
            answer(sizes_of_results=[sizes(call()) for _ in range(request["calls"])])
