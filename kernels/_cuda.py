"""How CUDA kernels are compiled and launched.

`cuda.py` of an op holds a manifest, which says what every kernel of `cuda.cu` beside it takes, and for
each function of the reference one that yields launches: shapes in, grids and arguments out, nothing
done. What is here turns that into calls. One source is compiled for one dtype at a time: its
`real` is float or double.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).parent
WARP = 32
BLOCK = 256  # threads of a block, in most kernels
PACK = 16  # bytes that a thread reads in one access
host_arrays = False  # whether kernels run on NumPy arrays, as those of an emulator do
SYNC = os.environ.get("FASTDL_SYNC") == "1"  # wait after every launch, so that a fault names its kernel

# C++ types of scalars and of what pointers point to; `real` and the like are filled in by a variant.
TYPES: dict[str, Any] = {
    "float": np.float32,
    "double": np.float64,
    "int": np.int32,
    "i64": np.int64,
    "u32": np.uint32,
    "u8": np.uint8,
}
REALS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


class DeviceError(RuntimeError):
    """A kernel faulted on the device, or could not be launched."""


REFUSED = "INVALID_VALUE", "OUT_OF_RESOURCES", "OUT_OF_MEMORY", "INVALID_CONFIGURATION"  # which leave the device sound


def device_error(where: str, error: Exception) -> DeviceError:
    """What is raised for an error of CuPy's driver or runtime."""
    text = f"{where} failed on the device: {error}"
    if not any(name in str(error).upper().replace(" ", "_") for name in REFUSED):
        text += "; nothing on it can be used any more in this process"
        if not SYNC:
            text += "; with FASTDL_SYNC=1 in the environment the very kernel is named"
    return DeviceError(text)


class Parameter(NamedTuple):
    """Of a kernel, as its manifest names it."""

    name: str
    type: str
    """In C++: "real", "i64", ..."""
    pointer: bool
    changed: bool
    """Whether the kernel writes what it points to."""


class Kernel(NamedTuple):
    """A row of a manifest: one `extern "C"` kernel of a source."""

    parameters: str
    """As in C++: "const real* x, i64 n, real* y"."""
    registers: int
    """A thread may take at most so many, on every architecture; more would cost occupancy."""
    block: int = BLOCK
    """Threads of a block."""

    def parsed(self) -> list[Parameter]:
        """Its parameters one by one."""
        found = []
        for text in self.parameters.split(","):
            const, kind, star, name = re.fullmatch(r"\s*(const )?(\w+)(\*?) (\w+)\s*", text).groups()
            found.append(Parameter(name, kind, bool(star), bool(star) and not const))
        return found


class Launch(NamedTuple):
    """What a function of `cuda.py` yields: a kernel by its name, how many blocks, and with what."""

    kernel: str
    grid: int | tuple[int, ...]
    arguments: tuple[Any, ...]
    block: tuple[int, ...] | None = None
    """The shape of a block, where it is not a row of threads."""
    variant: Mapping[str, str] = {}
    """What it needs to be compiled with beside `real`, which the arrays tell."""


class Call(NamedTuple):
    """A launch with its compiled kernel and typed arguments, to be made again and again."""

    name: str
    function: Callable[..., None]
    grid: tuple[int, ...]
    block: tuple[int, ...]
    arguments: tuple[Any, ...]

    def __call__(self) -> None:
        try:
            self.function(self.grid, self.block, self.arguments)
            if SYNC:
                importlib.import_module("cupy").cuda.runtime.deviceSynchronize()
        except RuntimeError as error:  # CuPy's driver and runtime errors are
            where = f"kernel {self.name}" if SYNC else f"kernel {self.name}, or one before it,"
            raise device_error(where, error) from error


def blocks(elements: int, per_block: int) -> int:
    """How many blocks so many elements take."""
    return -(-elements // per_block)


def real(array: Any) -> dict[str, str]:
    """The variant for an array's dtype, of a launch that may be given no such array."""
    return {"real": REALS[array.dtype]}


def address(array: Any) -> int:
    """Where an array begins, on the device; of a NumPy array, which tests may run on, in memory."""
    return int(array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr)


def tile(array: Any, packs: int = 4) -> int:
    """Elements of a block of element-wise work, of which each thread takes so many packs."""
    return BLOCK * packs * PACK // int(array.itemsize)


def lanes(columns: int, most: int = WARP) -> int:
    """A power of two: how many threads of a block stand side by side over so many columns."""
    return min(most, 1 << max(0, columns - 1).bit_length())


def side_of_row(columns: int) -> int:
    """How many threads work on a row: a group of lanes, or all of a block where that is too few."""
    return lanes(columns) if columns <= 1024 else BLOCK


class Source:
    """The kernels of one `cuda.cu`.

    Parameters
    ----------
    op
        Its folder's name.
    manifest
        Every kernel by its name.
    variants
        All ways to compile it: what stands for each type name and constant.
    """

    def __init__(
        self,
        op: str,
        manifest: Mapping[str, Kernel],
        variants: Iterable[Mapping[str, str]] = ({"real": "float"}, {"real": "double"}),
    ):
        self.op = op
        self.path = HERE / op / "cuda.cu"
        self.manifest = dict(manifest)
        self.variants = [dict(variant) for variant in variants]
        self._parameters = {name: kernel.parsed() for name, kernel in self.manifest.items()}

    def launches(self, function: Callable[..., Iterable[Launch]]) -> Launcher:
        """Decorate a function that yields launches: it then makes them."""
        return Launcher(self, function)

    def text(self, variant: Mapping[str, str], only: str | None = None) -> str:
        """The source as the compiler sees it: definitions, then the file with its headers inlined.

        With `only`, all other kernels are left out, so that nobody waits for their compilation.
        """
        definitions = "".join(f"#define {name} {value}\n" for name, value in sorted(variant.items()))
        return definitions + (_alone(_inlined(self.path, set()), only) if only else _inlined(self.path, set()))

    def call(self, launch: Launch) -> Call | None:
        """A launch made ready; None for one of no blocks."""
        grid = launch.grid if isinstance(launch.grid, tuple) else (launch.grid,)
        if 0 in grid:
            return None  # CuPy would launch one block
        kernel, parameters = self.manifest[launch.kernel], self._parameters[launch.kernel]
        name = f"{self.op}.{launch.kernel}"
        block = launch.block or (kernel.block,)
        if np.prod(block) != kernel.block:
            raise TypeError(f"{name}: got a block of {block} threads, wanted {kernel.block} in all")
        if len(launch.arguments) != len(parameters):
            raise TypeError(f"{name}: got {len(launch.arguments)} arguments, wanted {len(parameters)}")
        variant = dict(launch.variant)
        for parameter, value in zip(parameters, launch.arguments, strict=True):
            if parameter.type == "real" and parameter.pointer and value is not None:
                variant.setdefault("real", REALS[value.dtype])
        if all("real" in v for v in self.variants):
            variant.setdefault("real", "float")
        typed = tuple(
            _typed(name, parameter, value, variant)
            for parameter, value in zip(parameters, launch.arguments, strict=True)
        )
        function = load(self, tuple(sorted(variant.items())), launch.kernel)
        return Call(name, function, grid, block, typed)


def _typed(kernel: str, parameter: Parameter, value: Any, variant: Mapping[str, str]) -> Any:
    """An argument as the kernel reads it: an array of its type, or a scalar of just its size."""
    wanted = TYPES.get(variant["real"] if parameter.type == "real" else parameter.type)
    if not parameter.pointer:
        # A struct is passed by value as CuPy does it: as an array with fields, read at every launch.
        return wanted(value) if wanted else value.view([("words", value.dtype, value.size)])
    if value is None or value.size == 0:
        return np.uint64(0)
    if isinstance(value, np.ndarray) and not host_arrays:
        raise TypeError(f"{kernel}: {parameter.name} is a NumPy array, wanted CuPy's")
    if wanted is not None and value.dtype != wanted:
        raise TypeError(f"{kernel}: {parameter.name} is of {value.dtype}, wanted {np.dtype(wanted)}")
    return value


class Launcher:
    """A function of the reference's parameters that launches kernels."""

    def __init__(self, source: Source, function: Callable[..., Iterable[Launch]]):
        functools.update_wrapper(self, function)
        self.source = source
        self.function = function

    def calls(self, args: tuple[Any, ...]) -> list[Call]:
        """What these arguments come to."""
        found = (self.source.call(launch) for launch in self.function(*args))
        return [call for call in found if call]

    def __call__(self, *args: Any) -> None:
        for call in self.calls(args):
            call()

    def resolve(self, args: tuple[Any, ...]) -> Callable[..., None]:
        """The launches for exactly these arguments, which a recorded step makes from then on."""
        calls = self.calls(args)

        def launch(*_: Any) -> None:
            for call in calls:
                call()

        return launch


def _inlined(path: Path, seen: set[Path]) -> str:
    """A source with every header that it names in quotes put in its place, once.

    CuPy's cache of compiled kernels does not look into headers: it would run old code after an edit.
    """
    seen.add(path)
    found = [f'#line 1 "{path.relative_to(HERE)}"']
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if named := re.match(r'#include "(.+)"', line):
            header = HERE / named[1]
            if header not in seen:
                found += [_inlined(header, seen), f'#line {number + 1} "{path.relative_to(HERE)}"']
            else:
                found.append("")
        elif line != "#pragma once":
            found.append(line)
        else:
            found.append("")
    return "\n".join(found) + "\n"


# A kernel, as sources are written: from a line that begins with extern "C" to one that is a brace, or a line in
# which a macro in capitals stamps it.
_KERNEL = re.compile(
    r'^(?:extern "C" __global__ void __launch_bounds__\([^)]*\)\s+(\w+)\(.*?^}\n|[A-Z_]+\((\w+), .*?\n)',
    re.DOTALL | re.MULTILINE,
)


def _alone(text: str, kernel: str) -> str:
    """A source without all kernels but one."""

    def keep(found: re.Match[str]) -> str:
        return found[0] if kernel in found.groups() else "\n" * found[0].count("\n")

    return _KERNEL.sub(keep, text)


OPTIONS = ("--std=c++17",)


@functools.cache
def load(source: Source, variant: tuple[tuple[str, str], ...], kernel: str) -> Callable[..., None]:
    """A compiled kernel, as CuPy launches it."""
    cupy = importlib.import_module("cupy")
    code = source.text(dict(variant), only=kernel)
    return cupy.RawModule(code=code, options=OPTIONS).get_function(kernel)  # type: ignore[no-any-return]
