"""CuPy's own functions on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import cupyx.scipy.special

from fastdl.bench import inputs, shapes

Call = Callable[[], tuple[Any, ...]]


def about() -> dict[str, Any]:
    """Version."""
    return {"version": cupy.__version__}


def matmul(part: str) -> Callable[[shapes.Matmul, str], Call]:
    """By cuBLAS."""

    def setup(s: shapes.Matmul, device: str) -> Call:
        x, w, b, dy = map(cupy.asarray, inputs.matmul(s))
        return {
            "forward": lambda: (cupy.maximum(cupy.matmul(x, w) + b, 0),),
            "input": lambda: (cupy.matmul(dy, w.T),),
            "weights": lambda: (cupy.matmul(x.T, dy), dy.sum(0)),
        }[part]

    return setup


def element_wise(function: Callable[[Any], Any]) -> Callable[[shapes.Elements, str], Call]:
    """An activation."""

    def setup(s: shapes.Elements, device: str) -> Call:
        x = cupy.asarray(inputs.activation(s)[0])
        return lambda: (function(x),)

    return setup


WORK = {
    **{(shapes.Matmul, part): matmul(part) for part in ("forward", "input", "weights")},
    (shapes.Elements, "relu"): element_wise(lambda x: cupy.maximum(x, 0)),
    (shapes.Elements, "tanh"): element_wise(cupy.tanh),
    (shapes.Elements, "sigmoid"): element_wise(cupyx.scipy.special.expit),
}
