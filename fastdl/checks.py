"""What an op does with its arguments before a byte is written.

An error says which op and argument, what it got, what it wanted, and what to do about it.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from . import backend, devices
from .kernels._cuda import address
from .recorder import Sealed, recording, unseal
from .typing import Array

# NumPy's own function, past the dispatch to other libraries' arrays, which costs as much again.
_share_memory = getattr(np.may_share_memory, "__wrapped__", np.may_share_memory)
Entry = TypeVar("Entry")
FLOATS = FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def array(op: str, name: str, value: Any, axes: str, dtype: Any = None, size: int | None = None) -> Array:
    """`value` as a contiguous array of these axes, this dtype (None: float32 or float64) and this size.

    `axes` holds a letter an axis ("nk"), or "..." for any number of axes. An array that is not
    contiguous is copied once; in a recorded step, where a copy would be lost, it raises.
    """
    kind = type(value)
    if kind is not np.ndarray and kind is not Sealed:
        value = value.view(np.ndarray) if kind is np.memmap else _other(op, name, value, f"; pass np.asarray({name})")
    found = value.dtype
    if dtype is None:
        if found is not FLOAT32 and found is not FLOAT64 and (found not in FLOATS or not found.isnative):
            raise TypeError(
                f"{op}: {name} must be float32 or float64, got {value.dtype.str}; pass {name}.astype(np.float32)"
            )
    elif found is not dtype and found != dtype:
        raise TypeError(
            f"{op}: {name} must be {np.dtype(dtype).name} like the other arrays, got {value.dtype}; "
            f"pass {name}.astype(np.{np.dtype(dtype).name})"
        )
    if axes != "..." and value.ndim != len(axes):
        raise ValueError(f"{op}: {name} must have {len(axes)} axes ({', '.join(axes)}), got shape {value.shape}")
    if size is not None and value.size != size:
        raise ValueError(f"{op}: {name} has {value.size} elements, wanted {size}")
    flags = value.flags
    if not flags.c_contiguous or not (flags.aligned if kind is np.ndarray else _is_aligned(value)):
        if recording():
            raise ValueError(
                f"{op}: {name} is not contiguous, and a recorded step cannot copy it; give the op a contiguous array"
            )
        value = value.copy(order="C")
    result: Array = value
    return result


def _is_aligned(value: Any) -> bool:
    """Of a sealed array, which always is, or one on a GPU, where a view may begin anywhere."""
    return not backend.on_cuda(value) or address(value) % value.itemsize == 0


def _other(op: str, name: str, value: Any, remedy: str = "") -> Any:
    """A GPU's array as it is, one of another library on the same memory; raises for anything else."""
    if backend.on_cuda(value):
        return value
    if devices.is_foreign(value):
        return devices.asarray(value)
    kind = type(value)
    raise TypeError(f"{op}: {name} must be a numpy.ndarray, got {kind.__module__}.{kind.__qualname__}{remedy}")


def sizes(op: str, **arguments: tuple[Array | None, str]) -> dict[str, int]:
    """The size of each axis letter; raises where one letter has two sizes."""
    found: dict[str, int] = {}
    for name, (value, axes) in arguments.items():
        if value is None:
            continue
        for letter, size in zip(axes, value.shape, strict=True):
            if found.setdefault(letter, size) != size:
                first = next(n for n, (a, its_axes) in arguments.items() if a is not None and letter in its_axes)
                raise ValueError(
                    f"{op}: {name} has shape {value.shape}, wanted {found[letter]} along axis {axes.index(letter)}, "
                    f"to fit {first}"
                )
    return found


def output(op: str, name: str, out: Any, shape: tuple[int, ...], like: Array, dtype: Any = None) -> Array:
    """`out`, or a new array where it is None, of this shape, on `like`'s device; see `apart` as well."""
    dtype = like.dtype if dtype is None else dtype
    if out is None:
        if recording():
            raise ValueError(
                f"{op}: a recorded step cannot make arrays; pass {name}=frame.rows(...) or frame.array(...)"
            )
        return backend.library_of(like).empty(shape, dtype)  # type: ignore[no-any-return]
    return changed(op, name, out, shape, dtype, new=True)


def changed(op: str, name: str, value: Any, shape: tuple[int, ...], dtype: Any, new: bool = False) -> Array:
    """`value`, which an op writes in place, of this shape and dtype; `new` if it matters not what it held."""
    kind = type(value)
    if kind is not np.ndarray and kind is not Sealed:
        value = _other(op, name, value)
    flags = value.flags
    if value.shape != shape or (value.dtype is not dtype and value.dtype != dtype):
        wrong = f"has shape {value.shape} and dtype {value.dtype}, wanted {shape} and {np.dtype(dtype)}"
    elif not flags.c_contiguous:
        wrong = "is not contiguous"
    elif kind is np.ndarray and not flags.writeable:
        wrong = "is read-only"
    elif not (flags.aligned if kind is np.ndarray else _is_aligned(value)):
        wrong = "is not aligned"
    else:
        found: Array = value
        return found
    remedy = f"np.empty({shape}, np.{np.dtype(dtype).name})"
    if not new:
        remedy = f"np.array({name}, np.{np.dtype(dtype).name}, order='C')"
    raise ValueError(f"{op}: {name} {wrong}; pass {name}={remedy}" + ("" if new else " of that shape"))


def apart(op: str, writes: dict[str, Array | None], reads: dict[str, Array | None], same: str | None = None) -> None:
    """Raise if anything that is written shares memory with anything else; None is passed over.

    `out` may be, exactly, the array that is read as `same`: the op can work in place.
    """
    count = sum(value is not None for value in writes.values())
    if not count and not backend.CUDA_ARRAYS:
        return  # all outputs are new
    given = {
        name: value if type(value) is np.ndarray else devices.asarray(unseal(value))
        for group in (writes, reads)
        for name, value in group.items()
        if value is not None
    }
    if backend.CUDA_ARRAYS:
        _one_device(op, given)
    arrays = list(given.values())
    if not count or _owners_differ(arrays):
        return
    share = _overlap if backend.on_cuda(arrays[0]) else _share_memory
    for at in range(count):
        # Bounds decide, and exactly so, since all are contiguous.
        if any(map(share, itertools.repeat(arrays[at]), arrays[at + 1 :])):
            _name_overlap(op, list(given), arrays, at, same)


def _one_device(op: str, arguments: dict[str, Array]) -> None:
    """Raise if some arrays live on a GPU and others do not."""
    given = {name: value for name, value in arguments.items() if value.size}
    cuda = [name for name, value in given.items() if backend.on_cuda(value)]
    if cuda and len(cuda) < len(given):
        host = next(name for name in given if name not in cuda)
        raise TypeError(
            f"{op}: {cuda[0]} is a CuPy array and {host} a NumPy array; move one of them, "
            f"{host} = fastdl.asarray({host}, device='cuda') say"
        )
    current = devices.current() if cuda else None
    for name in cuda:
        if (lies := backend.gpu_of(given[name])) != current:
            raise ValueError(
                f"{op}: {name} lies on GPU {lies}, and GPU {current} is in use; move it, or work within "
                f"`with {name}.device:`"
            )


def _overlap(a: Array, b: Array) -> bool:
    """Whether two contiguous arrays on a GPU share memory."""
    first, second = address(a), address(b)
    return first < second + b.nbytes and second < first + a.nbytes


def _owners_differ(arrays: list[Array]) -> bool:
    """Whether no memory is shared, plainly: each is, or is a view of, another array that owns its memory."""
    owners = set()
    for value in arrays:
        owner = value if value.base is None else value.base
        if type(owner) is not np.ndarray or not owner.flags.owndata:
            return False
        owners.add(id(owner))
    return len(owners) == len(arrays)


def _name_overlap(op: str, names: list[str], arrays: list[Array], at: int, same: str | None) -> None:
    """Raise for what array number `at` shares memory with, unless it is `out` in the place of `same`."""
    for name, array in zip(names[at + 1 :], arrays[at + 1 :], strict=True):
        if not _overlap(arrays[at], array):
            continue
        where = address(arrays[at]), arrays[at].nbytes
        if names[at] == "out" and name == same and where == (address(array), array.nbytes):
            continue
        raise ValueError(f"{op}: {names[at]} overlaps {name}; give each memory of its own")


def read_anew(op: str, name: str, given: Array | None, what: str) -> None:
    """Raise if a recorded step would keep for ever what changes from step to step."""
    if given is None and recording():
        raise ValueError(f"{op}: a recorded step needs {name}=, the array that {what} in")


def status(op: str, value: Array | None, like: Array) -> Array:
    """The word that a bad label sets and that stops what changes parameters; a new one where it is None."""
    if value is None:
        read_anew(op, "status", value, "a bad label is noted")
        return backend.library_of(like).zeros(1, np.int64)  # type: ignore[no-any-return]
    return changed(op, "status", value, (1,), np.int64)


NO_WEIGHTS = {dtype: np.empty(0, dtype) for dtype in FLOATS}  # what kernels take for none


def row_weights(op: str, weights: Array | None, rows: int, dtype: Any) -> Array:
    """Weights of so many rows, or an empty array where it is None."""
    if weights is None:
        return NO_WEIGHTS[dtype]
    weights = array(op, "weights", weights, "n", dtype)
    if weights.size != rows:
        raise ValueError(f"{op}: weights has {weights.size} elements, wanted {rows}, one a row")
    return weights


def rate(op: str, value: float) -> int:
    """The threshold below which a 32-bit word drops its element."""
    if not 0 <= value < 1:
        raise ValueError(f"{op}: rate must be at least 0 and below 1 (the share that is dropped), got {value}")
    return min(round(value * 2**32), 2**32 - 1)


def word(op: str, name: str, value: int, bits: int = 32) -> None:
    """Raise unless `value` is an integer that fits into so many bits."""
    if not isinstance(value, (int, np.integer)) or not 0 <= value < 1 << bits:
        raise ValueError(f"{op}: {name} is {value!r}, wanted an integer, 0 to 2^{bits} - 1")


def share(op: str, name: str, value: int, of: int) -> None:
    """Raise unless `value` is a number of the first of so many elements."""
    if not isinstance(value, (int, np.integer)) or not 0 <= value <= of:
        raise ValueError(f"{op}: {name} is {value!r}, wanted an integer, 0 to {of}, the number of elements")


def name_of(op: str, name: str, value: Any, names: tuple[Any, ...]) -> None:
    """Raise unless `value` is one of `names`."""
    if value not in names:
        raise ValueError(f"{op}: {name} is {value!r}, wanted one of {', '.join(map(repr, names))}")


def look_up(where: str, name: str, table: Mapping[str, Entry]) -> Entry:
    """What `table` holds under `name`; for another name it raises with the nearest one and all."""
    if name not in table:
        near = difflib.get_close_matches(str(name).lower(), table, n=1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"{where}: there is no {name!r}{meant}, wanted one of {', '.join(map(repr, table))}")
    return table[name]
