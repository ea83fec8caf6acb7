"""CUDA kernels on a CPU: compiled by g++, launched on NumPy arrays in the place of a GPU."""

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import cupy_on_host
import numpy as np
import pytest

from fastdl import arena, backend, devices
from fastdl.kernels import _cuda

HERE = Path(__file__).resolve().parent
COMPILER = shutil.which("g++")
ORDERS = {"forward": 0, "reverse": 1, "random": 2}
DEBUG = ["-O1", "-g", "-fno-omit-frame-pointer"]
FLAGS = ["-std=c++20", "-fPIC", "-fno-strict-aliasing", "-ffp-contract=off", "-w"]
# Of kernels; the runtime is never instrumented, but told of the sanitizer.
SANITIZERS = {
    "": (["-O1", "-Wl,--no-undefined"], []),
    "address": (
        [*DEBUG, "-fsanitize=address,undefined", "-fno-sanitize-recover", "-fsanitize-sections=emulated_shared"],
        ["-DADDRESS"],
    ),
    "thread": ([*DEBUG, "-fsanitize=thread"], ["-DTHREAD"]),
}
SANITIZER = os.environ.get("EMULATOR_SANITIZER", "")
DYNAMIC_SHARED = re.compile(r"extern\s+__shared__\s+(?:__align__\s*\(\s*\d+\s*\)\s*)?([\w ]+?)\s+(\w+)\s*\[\s*\]\s*;")


class EmulatorError(RuntimeError):
    """What a GPU would answer with garbage, a hang or a fault."""


class _Config(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("order", ctypes.c_int),
        ("flush", ctypes.c_int),
        ("error", ctypes.c_char_p),
        ("error_room", ctypes.c_uint64),
    )


# ---------------------------------------------------------------- compiling


def _compiler(arguments):
    if COMPILER is None or platform.machine() not in ("x86_64", "AMD64"):
        if os.environ.get("FASTDL_REQUIRE_EMULATOR"):
            raise EmulatorError("the emulator needs g++ and an x86-64 processor")
        pytest.skip("the emulator needs g++ and an x86-64 processor")
    done = subprocess.run([COMPILER, *FLAGS, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise EmulatorError(f"g++ refuses the kernels:\n{done.stderr[:6000]}")


def _cached(name, text, suffix, make):
    """A file made by `make(path)` from this text, kept among the temporary ones under a hash of it."""
    folder = Path(os.environ.get("EMULATOR_CACHE", Path(tempfile.gettempdir()) / f"fastdl-emulator-{os.getuid()}"))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:20]}{suffix}"
    if not path.exists():
        fresh = path.with_suffix(f".{os.getpid()}{suffix}")
        make(fresh)
        fresh.replace(path)
    return path


@functools.cache
def _runtime(sanitizer):
    sources = [HERE / "runtime.cpp", HERE / "cuda.h"]
    text = "".join(path.read_text() for path in sources) + sanitizer
    flags = ["-O2", "-g", "-c", *SANITIZERS[sanitizer][1]]
    return _cached("runtime", text, ".o", lambda out: _compiler([*flags, "-o", out, sources[0]]))


def build(name, source, kernels, sanitizer=SANITIZER):
    """Compile a source text.

    Parameters
    ----------
    name : str
    source : str
        CUDA C++ without a host's part, its headers inlined.
    kernels : sequence of str
        Names of its `extern "C"` kernels.
    sanitizer : {"", "address", "thread"}

    Returns
    -------
    Module
    """
    body = DYNAMIC_SHARED.sub(r"\1* \2 = (\1*)emulated::dynamic_shared;", source)
    body = body.replace('extern "C" __global__', "__global__")  # such names would be one in all namespaces
    # An unnamed namespace makes shared arrays of inline functions internal, so that AddressSanitizer guards them too.
    text = f'#include "{HERE / "cuda.h"}"\nnamespace {{\n#line 1 "{name}"\n{body}\n}}\n#line 1 "launches"\n'
    for number, kernel in enumerate(kernels):
        text += (
            f'extern "C" int launch_{number}(emulated::Config* c, void** a, const int* s, int n) '
            f"{{ return emulated::launch(&{kernel}, c, a, s, n); }}\n"
            f'extern "C" void signature_{number}(char* out, size_t room) '
            f"{{ emulated::signature(&{kernel}, out, room); }}\n"
        )

    def compile_to(out):
        cpp = out.with_suffix(".cpp")
        cpp.write_text(text)
        _compiler([*SANITIZERS[sanitizer][0], "-shared", "-o", out, cpp, _runtime(sanitizer)])

    seed = text + sanitizer + (HERE / "cuda.h").read_text() + (HERE / "runtime.cpp").read_text()
    path = _cached(f"{name}{sanitizer and '-'}{sanitizer}", seed, ".so", compile_to)
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:  # something is declared, and nowhere defined
        raise EmulatorError(f"the kernels cannot be loaded: {error}") from error
    return Module(name, library, kernels)


class Module:
    """Compiled kernels, by name."""

    def __init__(self, name, library, kernels):
        self._kernels = {
            kernel: Kernel(f"{name}.{kernel}", getattr(library, f"launch_{n}"), getattr(library, f"signature_{n}"))
            for n, kernel in enumerate(kernels)
        }

    def __call__(self, kernel):
        return self._kernels[kernel]


# ---------------------------------------------------------------- launching

_libc = ctypes.CDLL(None)
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = [ctypes.c_size_t]
_libc.free.argtypes = [ctypes.c_void_p]


class Schedule:
    """The order in which threads and blocks run from now on, and whether subnormal numbers become 0."""

    order = "forward"
    seed = 0
    flush = True
    memory = 1 << 34  # bytes that the device says it has


# Beside every copy of an array. AddressSanitizer wants none, which sees every step beyond not a byte more.
GUARD = b"" if SANITIZER else b"\xa5" * 64


class _Memory:
    """Copies of arrays, between guards."""

    def __init__(self, arrays):
        self._copies = []
        for array in sorted(arrays, key=lambda array: -array.nbytes):  # views after what they are views of
            if not array.flags.c_contiguous:
                raise EmulatorError("an array is not contiguous")
            if self._find(array) is None:
                where = array.ctypes.data
                # A view that begins off a 16-byte boundary does so here as well.
                begin = _libc.malloc(where % 16 + array.nbytes + 2 * len(GUARD) or 1) + where % 16
                copy = begin + len(GUARD)
                ctypes.memmove(begin, GUARD, len(GUARD))
                ctypes.memmove(copy, where, array.nbytes)
                ctypes.memmove(copy + array.nbytes, GUARD, len(GUARD))
                self._copies.append((copy, where, array))

    def _find(self, array):
        where = array.ctypes.data
        for copy, begin, owner in self._copies:
            if begin <= where and where + array.nbytes <= begin + owner.nbytes:
                return copy + where - begin
        return None

    def address(self, array):
        return self._find(array)

    def give_back(self):
        """Copy all of it back. The first array beside which something was written, or None."""
        spoilt = None
        for copy, where, array in self._copies:
            if array.flags.writeable:
                ctypes.memmove(where, copy, array.nbytes)
            beside = copy - len(GUARD), copy + array.nbytes
            if spoilt is None and any(ctypes.string_at(place, len(GUARD)) != GUARD for place in beside):
                spoilt = array
            _libc.free(copy - len(GUARD) - where % 16)
        return spoilt


def _is_pointer(value):
    """Arrays with fields are structs, which go by value."""
    return isinstance(value, np.ndarray) and value.dtype.names is None


class Kernel:
    """One kernel, called as CuPy calls its own."""

    def __init__(self, name, launch, signature):
        self.name = name
        self._launch, self._signature = launch, signature

    @property
    def signature(self):
        """The C++ types of its parameters."""
        text = ctypes.create_string_buffer(1000)
        self._signature(text, ctypes.c_size_t(1000))
        return text.value.decode()

    def __call__(self, grid, block, args, *, shared_mem=0):
        args = [cupy_on_host.behind(value) if backend.on_cuda(value) else value for value in args]
        memory = _Memory([value for value in args if _is_pointer(value)])
        values = [
            np.uint64(memory.address(value)).tobytes() if _is_pointer(value) else value.tobytes() for value in args
        ]
        count = len(values)
        held = [ctypes.create_string_buffer(value, len(value)) for value in values]
        error = ctypes.create_string_buffer(2000)
        dims = [ctypes.c_uint * 3, (*grid, 1, 1)[:3]], [ctypes.c_uint * 3, (*block, 1, 1)[:3]]
        schedule = (shared_mem, Schedule.seed, ORDERS[Schedule.order], int(Schedule.flush))
        config = _Config(*(make(*map(int, dim)) for make, dim in dims), *schedule, ctypes.addressof(error), 2000)
        pointers = (ctypes.c_void_p * max(count, 1))(*map(ctypes.addressof, held))
        sizes = (ctypes.c_int * max(count, 1))(*map(len, values))
        failed = self._launch(ctypes.byref(config), pointers, sizes, count)
        spoilt = memory.give_back()
        if failed:
            raise EmulatorError(f"{self.name}: {error.value.decode()}")
        if spoilt is not None:
            what = f"memory beside an array of shape {spoilt.shape} and dtype {spoilt.dtype} was written"
            raise EmulatorError(f"{self.name}: {what}; sanitized.py address names the line")


@functools.cache
def library(source):
    """All variants of a source in one library, since starting the compiler takes longest."""
    text, kernels = "", []
    for number, variant in enumerate(source.variants):
        text += f"namespace variant_{number} {{\n{source.text(variant)}}}\n"
        text += "".join(f"#undef {name}\n" for name in variant)
        kernels += [f"variant_{number}::{kernel}" for kernel in source.manifest]
    return build(source.op, text, kernels)


def load(source, variant, kernel):
    """What stands in for `fastdl.kernels._cuda.load`."""
    return library(source)(f"variant_{source.variants.index(dict(variant))}::{kernel}")


@contextlib.contextmanager
def cuda(order="forward", seed=0, flush=True, arrays=np):
    """Within it the device "cuda" is the emulator's memory, and kernels run there.

    `arrays` is what makes its arrays: NumPy, all of whose arrays then go to CUDA kernels, or `cupy_on_host`.
    """
    changes = [
        (_cuda, "load", load),
        (_cuda, "host_arrays", True),
        (backend, "cuda_missing", lambda: None),
        (devices, "zeros", lambda shape, dtype: arrays.asarray(arena.aligned(shape, dtype))),
        (devices, "asarray", lambda x, device=None: arrays.asarray(x) if device == "cuda" else x),
        (devices, "free_memory", lambda: Schedule.memory),
        (devices, "current", lambda: 0),
        (Schedule, "order", order),
        (Schedule, "seed", seed),
        (Schedule, "flush", flush),
    ]
    if arrays is not np:
        changes += [(devices, name, getattr(arrays, name)) for name in ("read", "write", "fill", "copy")]
        changes.append((backend, "library_of", lambda array: arrays if backend.on_cuda(array) else np))
    kept = [(where, name, getattr(where, name)) for where, name, _ in changes]
    token = backend._override.set("cuda" if arrays is np else None)
    try:
        for where, name, value in changes:
            setattr(where, name, value)
        yield
    finally:
        for where, name, value in kept:
            setattr(where, name, value)
        backend._override.reset(token)
