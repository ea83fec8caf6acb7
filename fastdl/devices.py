"""Where arrays live: making, filling and moving them, on the host by NumPy and on a GPU by CuPy."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from . import backend
from .kernels._cuda import device_error
from .typing import Array

DLPACK_CPU = 1  # DLPack's number of the device


def asarray(x: Any, device: str | None = None) -> Array:
    """An array as fastdl takes it, on a device; without a copy where it is there already.

    Parameters
    ----------
    x : array_like
        NumPy's or CuPy's array, or one of another library that speaks DLPack or has a
        `__cuda_array_interface__`: PyTorch's, JAX's or Numba's share their memory with the result.
    device : {"cpu", "cuda", "auto"}, optional
        Where it is wanted; where it is.

    Returns
    -------
    numpy.ndarray or cupy.ndarray

    Raises
    ------
    RuntimeError
        For "cuda", or an array that is on a GPU, where CUDA is not usable, with the reason.
    TypeError
        For what holds no numbers, and for masked arrays and matrices, whose products and sums mean others.

    Examples
    --------
    >>> import fastdl as fd
    >>> fd.asarray([1.0, 2.0], device="cpu")
    array([1., 2.])
    """
    wanted = None if device is None else backend.device(device)
    if not isinstance(x, np.ndarray) and not backend.on_cuda(x):
        x = _shared(x)
    if isinstance(x, np.ndarray):
        _check(x)
    if wanted == "cuda" and not backend.on_cuda(x):
        return importlib.import_module("cupy").asarray(x)  # type: ignore[no-any-return]
    return read(x) if wanted == "cpu" else x


def is_foreign(x: Any) -> bool:
    """Whether it is an array of another library, whose memory can be shared."""
    kind = type(x)  # asked, since a GPU's array may wait for the device when it is
    return (
        not isinstance(x, np.ndarray)
        and not backend.on_cuda(x)
        and (hasattr(kind, "__dlpack__") or hasattr(kind, "__cuda_array_interface__"))
    )


def _shared(x: Any) -> Array:
    """Another library's array as one of NumPy's or CuPy's on the same memory, or a list as an array."""
    if hasattr(type(x), "__dlpack__"):
        library = np if x.__dlpack_device__()[0] == DLPACK_CPU else _cupy_for(x)
        return library.from_dlpack(x)  # type: ignore[no-any-return]
    if hasattr(type(x), "__cuda_array_interface__"):
        return _cupy_for(x).asarray(x)  # type: ignore[no-any-return]
    return np.asarray(x)


def _cupy_for(x: Any) -> Any:
    """CuPy, which takes another library's array that is on a GPU."""
    if reason := backend.cuda_missing():
        kind = type(x)
        raise RuntimeError(
            f"asarray: got a {kind.__module__}.{kind.__qualname__} on a GPU: {reason}; or copy it to the host first, "
            "as x.cpu() does in PyTorch"
        )
    return importlib.import_module("cupy")


def _check(x: Any) -> None:
    """Raise for what NumPy calls an array and kernels would misread."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError("asarray: got a masked array, whose mask would be lost; give x.filled(0), or another value")
    if isinstance(x, np.matrix):
        raise TypeError("asarray: got a numpy.matrix, wanted a plain array; give np.asarray(x)")
    if x.dtype.kind in "OSUMm":
        raise TypeError(
            f"asarray: got {x.dtype} of shape {x.shape}, wanted numbers; make some of it, as by np.array(x, np.float32)"
        )


def read(array: Array) -> Array:
    """The array on the host: itself, or a copy of one on a GPU, which waits for all that was launched before."""
    if not backend.on_cuda(array):
        return array
    try:
        return array.get()  # type: ignore[attr-defined,no-any-return]
    except RuntimeError as error:
        raise device_error("a kernel, or the copy itself,", error) from error


def write(array: Array, values: Any) -> None:
    """Set all elements, from the host or the same device."""
    if backend.on_cuda(array) and not backend.on_cuda(values):
        array.set(np.ascontiguousarray(np.broadcast_to(values, array.shape), array.dtype))  # type: ignore[attr-defined]
    elif backend.on_cuda(values) and not backend.on_cuda(array):
        array[...] = values.get()
    else:
        array[...] = values


def fill(array: Array, value: float) -> None:
    """Set all elements to one value."""
    array.fill(value)


def copy(array: Array) -> Array:
    """A copy on the same device."""
    return array.copy()


def like(array: Array, other: Array) -> Array:
    """A copy of `array` where `other` is."""
    new: Array = backend.library_of(other).empty(array.shape, array.dtype)
    write(new, array)
    return new


def zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """A new array on a GPU, whose memory begins on a boundary of 512 bytes there."""
    return importlib.import_module("cupy").zeros(shape, dtype)  # type: ignore[no-any-return]


def free_memory() -> int:
    """Bytes that are free on the GPU, or held by CuPy for further arrays."""
    cupy = importlib.import_module("cupy")
    return int(cupy.cuda.runtime.memGetInfo()[0] + cupy.get_default_memory_pool().free_bytes())


def current() -> int:
    """The number of the GPU that launches go to."""
    return int(importlib.import_module("cupy").cuda.runtime.getDevice())
