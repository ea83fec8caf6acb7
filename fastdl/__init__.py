"""fastdl: fused array kernels that train neural networks, on CPUs and on NVIDIA GPUs.

Names are loaded when they are first used, so that `import fastdl` loads neither Numba nor CuPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULES = (
    "arena",
    "backend",
    "bench",
    "checkpoint",
    "data",
    "initializers",
    "losses",
    "metrics",
    "nn",
    "ops",
    "optim",
    "random",
    "testing",
)
_NAMES = {"TrainStep": "step", "Trainer": "trainer", "History": "trainer"}

__all__ = ["__version__", *_MODULES, *_NAMES]

if TYPE_CHECKING:
    from . import (
        arena,
        backend,
        bench,
        checkpoint,
        data,
        initializers,
        losses,
        metrics,
        nn,
        ops,
        optim,
        random,
        testing,
    )
    from .step import TrainStep
    from .trainer import History, Trainer


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _NAMES:
        return getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
    raise AttributeError(f"module 'fastdl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
