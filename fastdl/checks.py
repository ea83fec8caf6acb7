"""What an op does with its arguments before a byte is written.

An error says which op and argument, what it got, what it wanted, and what to do about it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .recorder import Sealed, recording, unseal
from .typing import Array

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def array(op: str, name: str, value: Any, axes: str, dtype: Any = None) -> Array:
    """`value` as a contiguous array of these axes and this dtype (None: float32 or float64).

    `axes` holds a letter an axis ("nk"), or "..." for any number of axes. An array that is not
    contiguous is copied once; in a recorded step, where a copy would be lost, it raises.
    """
    kind = type(value)
    if kind is not np.ndarray and kind is not Sealed:
        if kind is np.memmap:
            value = value.view(np.ndarray)
        else:
            raise TypeError(
                f"{op}: {name} must be a numpy.ndarray, got {kind.__module__}.{kind.__qualname__}; "
                f"pass np.asarray({name})"
            )
    if dtype is None:
        if value.dtype not in FLOATS or not value.dtype.isnative:
            raise TypeError(
                f"{op}: {name} must be float32 or float64, got {value.dtype.str}; pass {name}.astype(np.float32)"
            )
    elif value.dtype != dtype:
        raise TypeError(
            f"{op}: {name} must be {np.dtype(dtype).name} like the other arrays, got {value.dtype}; "
            f"pass {name}.astype(np.{np.dtype(dtype).name})"
        )
    if axes != "..." and value.ndim != len(axes):
        raise ValueError(f"{op}: {name} must have {len(axes)} axes ({', '.join(axes)}), got shape {value.shape}")
    if not value.flags.c_contiguous or not value.flags.aligned:
        if recording():
            raise ValueError(
                f"{op}: {name} is not contiguous, and a recorded step cannot copy it; give the op a contiguous array"
            )
        value = np.array(value, order="C", copy=True)
    result: Array = value
    return result


def sizes(op: str, **arguments: tuple[Array | None, str]) -> dict[str, int]:
    """The size of each axis letter; raises where one letter has two sizes."""
    found: dict[str, tuple[int, str]] = {}
    for name, (value, axes) in arguments.items():
        if value is None:
            continue
        for axis, letter in enumerate(axes):
            size = value.shape[axis]
            known = found.setdefault(letter, (size, name))
            if known[0] != size:
                raise ValueError(
                    f"{op}: {name} has shape {value.shape}, wanted {known[0]} along axis {axis}, to fit {known[1]}"
                )
    return {letter: size for letter, (size, _) in found.items()}


def output(op: str, name: str, out: Any, shape: tuple[int, ...], dtype: Any, *reads: Any, same: Any = None) -> Array:
    """`out`, or a new array where it is None: of this shape and dtype, and apart from what is read.

    `same` is an argument that `out` may be, exactly: the op can work in place on it.
    """
    if out is None:
        if recording():
            raise ValueError(
                f"{op}: a recorded step cannot make arrays; pass {name}=frame.rows(...) or frame.array(...)"
            )
        return np.empty(shape, dtype)
    if type(out) is not np.ndarray and type(out) is not Sealed:
        raise TypeError(f"{op}: {name} must be a numpy.ndarray, got {type(out).__module__}.{type(out).__qualname__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(
            f"{op}: {name} has shape {out.shape} and dtype {out.dtype}, wanted {shape} and {np.dtype(dtype)}; "
            f"pass {name}=np.empty({shape}, np.{np.dtype(dtype).name})"
        )
    flags = out.flags
    if not (flags.writeable and flags.c_contiguous and flags.aligned):
        wrong = "read-only" if not flags.writeable else "not contiguous" if not flags.c_contiguous else "not aligned"
        raise ValueError(f"{op}: {name} is {wrong}; pass {name}=np.empty({shape}, np.{np.dtype(dtype).name})")
    mine = unseal(out)
    for other in reads:
        if other is not None and np.may_share_memory(mine, unseal(other)):
            raise ValueError(f"{op}: {name} overlaps another argument; give it memory of its own")
    if same is not None and np.may_share_memory(mine, unseal(same)) and _address(mine) != _address(same):
        raise ValueError(f"{op}: {name} overlaps an argument in part; pass that very array, or another")
    return out


def _address(value: Array) -> int:
    return int(unseal(value).__array_interface__["data"][0])


def rate(op: str, value: float) -> int:
    """The threshold below which a 32-bit word drops its element."""
    if not 0 <= value < 1:
        raise ValueError(f"{op}: rate must be at least 0 and below 1 (the share that is dropped), got {value}")
    return min(round(value * 2**32), 2**32 - 1)


def name_of(op: str, name: str, value: Any, names: tuple[Any, ...]) -> None:
    """Raise unless `value` is one of `names`."""
    if value not in names:
        raise ValueError(f"{op}: {name} is {value!r}, wanted one of {', '.join(map(repr, names))}")
