"""Other libraries, each measured in a process of its own, so that no two pools of threads meet in one.

What a peer is asked, and answers:

    {"shape": "BatchNorm", "part": "forward"}                                    is there such work?
    -> {"can": true}
    {"shape": "BatchNorm", "part": "", "sizes": {"rows": 128, ...}, "calls": 1}   prepare this work, make calls of it
    -> {"sizes_of_results": [[0.8, 0.3, 31.2, 9.1]]}                             mean |result| of every result and call
    {"warm": 3, "repeats": 20}                                                   time a block of that work
    -> {"seconds": [...]}

What it says of itself is its version and the number of its threads.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from fastdl.bench import shapes
from fastdl.bench.child import Child, serve
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
DEVIATIONS = 6  # that two random means may lie apart: one in a billion does by chance
ON = {
    "cpu": ("torch", "torch.compile", "jax", "scikit-learn", "onnxruntime"),
    "cuda": ("torch", "torch.compile", "cupy"),
}


class Peer(Child):
    """One of them on a device: the process starts when it is first asked for something."""

    def __init__(self, name: str, device: str = "cpu"):
        code = f"from fastdl.bench.peers import serve_peer; serve_peer({name!r}, {device!r})"
        super().__init__(name, code, JAX_PLATFORMS=device)
        self.missing = "" if all(map(importlib.util.find_spec, PEERS[name][0])) else "not installed"
        """Why it cannot be asked."""

    @property
    def installed(self) -> bool:
        """Whether it can be asked."""
        return not self.missing

    def prepare(self, shape: shapes.Shape, part: str = "", calls: int = 1) -> list[list[float]]:
        """Set up its work of this shape, or this part of it; the mean size of each result, of each of so many calls."""
        answer = self.ask(shape=type(shape).__name__, part=part, sizes=asdict(shape), calls=calls)
        found: list[list[float]] = answer["sizes_of_results"]
        return found

    def block(self, warm: int, repeats: int) -> list[float]:
        """The seconds of each of so many calls of what was prepared."""
        seconds: list[float] = self.ask(warm=warm, repeats=repeats)["seconds"]
        return seconds

    def can(self, shape: shapes.Shape, part: str = "") -> bool:
        """Whether it has such work."""
        return bool(self.ask(shape=type(shape).__name__, part=part)["can"])

    def variant(self, shape: shapes.Shape, results: Sequence[Any], part: str = "") -> Variant | None:
        """Its work of this shape, or this part of it, checked against ours, which must be checked before."""
        if not self.can(shape, part):
            return None

        def check() -> None:
            rate = shapes.RATE if isinstance(shape, shapes.Dropout) else 0.0
            found = self.prepare(shape, part)[0]
            assert_same_size(found, results, rate=rate, name=f"{self.name}, {shape} {part}")

        return Variant(self.block, check)


def sizes(results: Iterable[Any]) -> list[float]:
    """The mean of |result|, for each: enough to see whether two programs do the same work."""
    return [float(np.abs(_on_host(result).astype(np.float64)).mean()) for result in results]


def assert_same_size(found: Sequence[float], results: Sequence[Any], *, rate: float = 0.0, name: str = "") -> None:
    """Raise unless these means of |result| are those of `results`.

    At a `rate` above 0 both sides have dropped elements at random, by masks of their own, and so differ by chance:
    an element that is dropped at this rate, and otherwise divided by 1 - rate, has `rate` times the mean of its
    square as its variance, so two means of n of them differ by a standard deviation of sqrt(2 rate mean(y^2) / n).
    """
    assert len(found) == len(results), f"{name}: {len(found)} results, wanted {len(results)}"
    for got, wanted, result in zip(found, sizes(results), results, strict=True):
        bound = 1e-2 * wanted
        if rate:
            of = _on_host(result).astype(np.float64)
            bound = DEVIATIONS * float(np.sqrt(2 * rate * np.square(of).mean() / of.size))
        np.testing.assert_allclose(got, wanted, rtol=0, atol=bound, err_msg=name)


def _on_host(result: Any) -> Any:
    for method in ("cpu", "get"):  # PyTorch's way, and CuPy's
        if hasattr(result, method):
            result = getattr(result, method)()
    return np.asarray(result)


def serve_peer(name: str, device: str) -> None:
    """Be a peer."""
    _, module, table = PEERS[name]
    library = importlib.import_module(module)
    work = getattr(library, table)
    call: Callable[[], Any] = lambda: None  # noqa: E731 - replaced by what is prepared

    def handle(request: dict[str, Any]) -> dict[str, Any]:
        nonlocal call
        if "warm" in request:
            return {"seconds": timed(call, device)(request["warm"], request["repeats"])}
        shape = getattr(shapes, request["shape"])
        setup = work.get((shape, request["part"]))
        if "calls" not in request:
            return {"can": setup is not None}
        call = setup(shape(**request["sizes"]), device)
        return {"sizes_of_results": [sizes(call()) for _ in range(request["calls"])]}

    serve(library.about, handle)
