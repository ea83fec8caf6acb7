"""The ways to reach a GPU's ceilings, each checked."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from fastdl.bench.harness import Variant, checked, timed
from fastdl.bench.inputs import normal


def _line_up(moved: int, arrays: int) -> list[Any]:
    cupy = importlib.import_module("cupy")
    return [cupy.asarray(normal((max(1, moved // arrays // 4),), seed)) for seed in range(arrays)]


def _right(call: Callable[[], object], out: Any, right: Any) -> Variant:
    cupy = importlib.import_module("cupy")

    def check() -> None:
        cupy.testing.assert_allclose(out, right, rtol=1e-5, atol=1e-5)
        out.fill(cupy.nan)  # for the next to write

    return checked(call, check, "cuda")


def copies(moved: int) -> dict[str, Variant]:
    """As many bytes read as written."""
    cupy = importlib.import_module("cupy")
    a, out = _line_up(moved, 2)
    kernel = cupy.ElementwiseKernel("float32 a", "float32 out", "out = a", "stream_copy")
    return {
        "the driver": _right(lambda: out.data.copy_from_device_async(a.data, a.nbytes), out, a),
        "CuPy": _right(lambda: kernel(a, out), out, a),
    }


def triads(moved: int) -> dict[str, Variant]:
    """Twice as many bytes read as written."""
    cupy = importlib.import_module("cupy")
    a, b, out = _line_up(moved, 3)
    kernel = cupy.ElementwiseKernel("float32 a, float32 b", "float32 out", "out = a + 3 * b", "stream_triad")
    return {"CuPy": _right(lambda: kernel(a, b, out), out, a + 3 * b)}


def scales(moved: int) -> dict[str, Variant]:
    """As many bytes read as written, in place."""
    cupy = importlib.import_module("cupy")
    (a,) = _line_up(moved // 2, 1)
    kernel = cupy.ElementwiseKernel("", "float32 a", "a = -a", "stream_scale")
    return {"CuPy": _in_place(lambda: kernel(a), a, lambda before: -before)}


def updates(moved: int) -> dict[str, Variant]:
    """Twice as many bytes read as written, in place."""
    cupy = importlib.import_module("cupy")
    a, b = _line_up(2 * moved // 3, 2)
    b *= cupy.float32(1e-3)  # so that many calls do not lead far
    kernel = cupy.ElementwiseKernel("float32 b", "float32 a", "a = a - b", "stream_update")
    return {"CuPy": _in_place(lambda: kernel(b, a), a, lambda before: before - b)}


def _in_place(call: Callable[[], object], a: Any, right: Callable[[Any], Any]) -> Variant:
    cupy = importlib.import_module("cupy")

    def check() -> None:
        before = a.copy()
        call()
        cupy.testing.assert_array_equal(a, right(before))

    return Variant(timed(call, "cuda"), check)


def products(side: int) -> dict[str, Variant]:
    """cuBLAS's, in float32 and not in TF32, which CuPy uses only when told."""
    cupy = importlib.import_module("cupy")
    a, b, out = (cupy.asarray(normal((side, side), seed)) for seed in range(3))
    right = a[:8].astype(cupy.float64) @ b

    def check() -> None:
        cupy.testing.assert_allclose(out[:8], right, atol=1e-5 * side)

    return {"cuBLAS": checked(lambda: cupy.matmul(a, b, out=out), check, "cuda")}
