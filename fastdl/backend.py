"""Which kernels run: the array's type decides, and `use` overrules it while debugging."""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import functools
import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

Kernel = Callable[..., None]

_override: contextvars.ContextVar[str | None] = contextvars.ContextVar("override", default=None)


class FallbackWarning(UserWarning):
    """Numba is missing, so that NumPy arrays run on the slow reference kernels."""


@functools.cache
def numba_missing() -> str | None:
    """Why Numba kernels cannot run; None where they can."""
    try:
        importlib.import_module("fastdl.kernels._numba")
    except ImportError as error:
        return str(error)
    return None


@functools.cache
def cuda_missing() -> str | None:
    """Why CUDA kernels cannot run; None where they can."""
    if importlib.util.find_spec("cupy") is None:
        return (
            "CuPy is not installed (pip install -e '.[cuda13]' in a clone, elsewhere pip install 'cupy-cuda13x[ctk]')"
        )
    try:  # in milliseconds, where importing CuPy would take a second
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return (
            "no NVIDIA driver, libcuda cannot be loaded (install NVIDIA's driver for CUDA 13; in a container, start it "
            "with --gpus all)"
        )
    try:
        cupy = importlib.import_module("cupy")
        if cupy.cuda.runtime.getDeviceCount() == 0:
            return "there is no CUDA device"
        _ = cupy.cuda.Device(0).compute_capability, cupy.cuda.nvrtc.getVersion()
    except Exception as error:  # whatever is wrong with an installation, the CPU can be used
        return f"{type(error).__name__}: {error}"
    return None


def device(name: str) -> str:
    """The device that `name` stands for: "cpu", "cuda", or "auto" for the best that is usable.

    Raises
    ------
    ValueError
        For another name.
    RuntimeError
        For "cuda" where it is not usable, with the reason.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device: got {name!r}, wanted 'auto', 'cpu' or 'cuda'")
    if name == "cuda" and (reason := cuda_missing()):
        raise RuntimeError(f"device='cuda': {reason}; use device='cpu', or 'auto' to take what is there")
    return "cpu" if name == "cpu" or cuda_missing() else "cuda"


@contextlib.contextmanager
def use(name: str) -> Iterator[None]:
    """Run NumPy arrays on the "numpy" reference or on "numba" kernels, within a `with` block.

    For debugging and for the reference's own tests; it holds for this thread alone.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import backend, ops
    >>> with backend.use("numpy"):
    ...     ops.activation(np.array([-1.0, 2.0]), "relu")
    array([0., 2.])
    """
    if name not in ("numpy", "numba"):
        raise ValueError(f"backend.use: got {name!r}, wanted 'numpy' or 'numba'")
    if name == "numba" and (reason := numba_missing()):
        raise RuntimeError(f"backend.use: Numba cannot be used ({reason}); install numba")
    token = _override.set(name)
    try:
        yield
    finally:
        _override.reset(token)


_deterministic: contextvars.ContextVar[bool] = contextvars.ContextVar("deterministic", default=False)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Within it results have the same bits for every number of threads; products are a few per cent slower.

    All else has the same bits anyway, and so has a product for one number of threads. It holds for this
    thread alone.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import backend, ops
    >>> with backend.deterministic():
    ...     ops.matmul(np.array([[2.0]]), np.array([[3.0]]))
    array([[6.]])
    """
    token = _deterministic.set(True)
    try:
        yield
    finally:
        _deterministic.reset(token)


def threads(array: Any) -> int:
    """For how many threads a product of arrays like this one is cut; 0 if by its shape alone."""
    if _deterministic.get() or of(array) != "numba":
        return 0
    # A child of fork has one, and a user may have set fewer than there are.
    return int(min(_of_kernels("_numba").threads.count, _of_kernels("_numba").numba.get_num_threads()))


def multiplies_unpacked(array: Any) -> bool:
    """Whether small products of arrays like this one go without a copy of their factors: so it is with AVX-512."""
    return of(array) == "numba" and bool(_of_kernels("_blas").multiplies_unpacked())


def active() -> str:
    """What NumPy arrays run on now: "numba", or "numpy" for the reference kernels."""
    chosen = _override.get()
    if chosen is None:
        chosen = "numba" if numba_missing() is None else "numpy"
        if chosen == "numpy":
            _warn_of_fallback()
    return chosen


@functools.cache
def _warn_of_fallback() -> None:
    warnings.warn(
        f"fastdl: Numba cannot be imported ({numba_missing()}), so that NumPy kernels run, which are "
        "many times slower; install numba",
        FallbackWarning,
        stacklevel=4,
    )


CUDA_ARRAYS: set[type] = set()
"""Types of arrays that live on a GPU, as soon as one has been seen."""


def on_cuda(array: Any) -> bool:
    """Whether an array lives on a GPU: CuPy's do."""
    kind = type(array)
    if kind is np.ndarray:
        return False
    if kind not in CUDA_ARRAYS and kind.__module__.partition(".")[0] == "cupy" and kind.__name__ == "ndarray":
        CUDA_ARRAYS.add(kind)
    return kind in CUDA_ARRAYS


def of(array: Any) -> str:
    """What an op on this array runs on: "cuda", or what is active for NumPy arrays."""
    return "cuda" if on_cuda(array) else active()


def gpu_of(array: Any) -> int | None:
    """The number of the GPU that an array lives on; None for one on the host."""
    return int(array.device.id) if on_cuda(array) else None


def library_of(array: Any) -> Any:
    """The module that makes arrays like this one: NumPy or CuPy."""
    return importlib.import_module("cupy") if on_cuda(array) else np


_FILES = {"numba": "cpu", "numpy": "reference", "cuda": "cuda"}


def kernel(op: str, function: str, array: Any) -> Kernel:
    """The kernel `function` of `op` for arrays like this one."""
    return _kernel(op, function, of(array))


@functools.cache
def _kernel(op: str, function: str, on: str) -> Kernel:
    module = importlib.import_module(f"fastdl.kernels.{op}.{_FILES[on]}")
    found: Kernel = getattr(module, function)
    return found


def is_array(value: Any) -> bool:
    """Whether a kernel can take `value`: a plain NumPy array, one mapped from a file, or CuPy's."""
    return type(value) in (np.ndarray, np.memmap) or on_cuda(value)


@functools.cache
def _of_kernels(module: str) -> Any:
    """A module of the kernels that needs Numba."""
    return importlib.import_module(f"fastdl.kernels.{module}")


def _within(module: str, name: str) -> contextlib.AbstractContextManager[None]:
    """What Numba kernels must run within; nothing where they do not."""
    if active() != "numba":
        return contextlib.nullcontext()
    found: contextlib.AbstractContextManager[None] = getattr(_of_kernels(module), name)
    return found


def one_blas_thread() -> contextlib.AbstractContextManager[None]:
    """While within it, the BLAS that Numba kernels call has one thread, since they bring their own."""
    return _within("_blas", "one_thread")


def share_of_cores() -> contextlib.AbstractContextManager[None]:
    """While within it, Numba kernels leave cores to other processes that want them."""
    return _within("_share", "taking")


def describe(device: str = "cpu") -> str:
    """What arrays of a device run on here, in a line for people."""
    if device == "cuda":
        cupy = importlib.import_module("cupy")
        found = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        return f"cuda, {found['name'].decode()}, CuPy {cupy.__version__}"
    if active() == "numpy":
        return "cpu, NumPy reference kernels (install numba for speed)"
    threads = _of_kernels("_numba").threads
    version = importlib.import_module("numba").__version__
    blas = "blocked loops" if _of_kernels("_blas").missing else "scipy's BLAS"
    several = "s" * (threads.count > 1)
    return f"cpu, Numba {version} on {threads.count} thread{several} ({threads.layer}), products by {blas}"


def compile_together(calls: Iterable[tuple[Any, tuple[Any, ...]]]) -> None:
    """Compile those of these calls' Numba kernels that never were, by several processes at once."""
    if active() == "numba":
        together = _of_kernels("_together")
        for _ in together.compile_together(together.jobs_of(calls)):
            pass


def must_compile() -> bool:
    """Whether kernels are kept on this machine, and none of this version is yet."""
    if active() == "numpy":
        return False
    folder = _of_kernels("_cache").folder()
    return folder is not None and next(folder.glob("*.kernel"), None) is None
