"""fastdl: fused array kernels that train neural networks, on CPUs and on NVIDIA GPUs.

Names are loaded when they are first used, so that `import fastdl` loads neither Numba nor CuPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "History",
    "MovingAverage",
    "Predictor",
    "TrainStep",
    "Trainer",
    "__version__",
    "arena",
    "asarray",
    "backend",
    "bench",
    "callbacks",
    "check_gradients",
    "checkpoint",
    "course",
    "data",
    "devices",
    "ensemble",
    "find_learning_rate",
    "gradient_check",
    "initializers",
    "losses",
    "metrics",
    "nn",
    "ops",
    "optim",
    "random",
    "schedules",
    "testing",
]

_HOMES = {
    "Predictor": "predictor",
    "TrainStep": "step",
    "Trainer": "trainer",
    "History": "history",
    "MovingAverage": "averages",
    "asarray": "devices",
    "find_learning_rate": "learning_rate",
    "check_gradients": "gradient_check",
}

if TYPE_CHECKING:
    from . import (
        arena,
        backend,
        bench,
        callbacks,
        checkpoint,
        course,
        data,
        devices,
        ensemble,
        gradient_check,
        initializers,
        losses,
        metrics,
        nn,
        ops,
        optim,
        random,
        schedules,
        testing,
    )
    from .averages import MovingAverage
    from .devices import asarray
    from .gradient_check import check_gradients
    from .history import History
    from .learning_rate import find_learning_rate
    from .predictor import Predictor
    from .step import TrainStep
    from .trainer import Trainer


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'fastdl' has no attribute {name!r}")
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    return importlib.import_module(f".{name}", __name__)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
