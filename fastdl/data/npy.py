"""NumPy's own files: one array mapped into memory, or several read from an archive."""

from __future__ import annotations

import io
import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from ..typing import Array, Shape
from .idx import GROWTH

# By version: what reads the rest of the header, and how many bytes say how long it is.
VERSIONS = {
    b"\1\0": (np.lib.format.read_array_header_1_0, 2),
    b"\2\0": (np.lib.format.read_array_header_2_0, 4),
}
HEADER = 10_000  # bytes, at most


def load_npy(path: str | os.PathLike[str]) -> Array:
    """Map a `.npy` file into memory, so that it may be larger than that.

    Parameters
    ----------
    path : path

    Returns
    -------
    np.memmap
        Read-only; pages are read from the file when they are first looked at.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no `.npy` file, holds Python objects, or has more or fewer bytes than its header says.

    Examples
    --------
    >>> import pathlib, tempfile, numpy as np
    >>> from fastdl.data import load_npy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "x.npy"
    ...     np.save(path, np.eye(2))
    ...     load_npy(path)
    memmap([[1., 0.],
            [0., 1.]])
    """
    where = f"load_npy: {path}"
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        shape, fortran, dtype = _header(file, where)
        start = file.tell()
    wanted = start + math.prod(shape) * dtype.itemsize
    if size != wanted:
        raise ValueError(
            f"{where} holds {size:,} bytes, wanted {wanted:,} for shape {shape} of {dtype}; write or fetch it again"
        )
    if size == start:  # no byte of data, which cannot be mapped
        empty = np.zeros(shape, dtype)
        empty.flags.writeable = False
        return empty
    return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")


def load_npz(path: str | os.PathLike[str], names: Sequence[str] = ("x", "y")) -> tuple[Array, ...]:
    """Read arrays of an `.npz` archive.

    Parameters
    ----------
    path : path
    names : sequence of str
        Which, as they were named when the archive was written.

    Returns
    -------
    tuple of arrays, in the order of `names`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no such archive or is damaged, has no array of that name, or one of Python objects,
        or one whose bytes are not as many as its header says. All is checked before any is read.

    Examples
    --------
    >>> import pathlib, tempfile, numpy as np
    >>> from fastdl.data import load_npz
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "set.npz"
    ...     np.savez(path, x=np.eye(2), y=np.array([0, 1]))
    ...     load_npz(path)
    (array([[1., 0.],
           [0., 1.]]), array([0, 1]))
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            with zipfile.ZipFile(file) as archive:
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                for name in names:
                    if name not in members:
                        raise ValueError(
                            f"load_npz: {path} has no array {name!r}; there are {', '.join(map(repr, members))}"
                        )
                    _check(archive, members[name], size, f"load_npz: {path}, array {name!r},")
                return tuple(_read(archive, members[name]) for name in names)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise ValueError(f"load_npz: {path} is no whole .npz archive: {error}; write or fetch it again") from None


def _header(file: IO[bytes], where: str) -> tuple[Shape, bool, np.dtype[np.generic]]:
    """Shape, whether in Fortran order, and dtype; the file then stands at its data."""
    begin = file.read(8)
    try:
        if len(begin) < 8 or begin[:6] != b"\x93NUMPY":
            raise ValueError("it begins otherwise")
        parse, field = VERSIONS[begin[6:]]
        length = file.read(field)
        size = int.from_bytes(length, "little")
        if size > HEADER:
            raise ValueError(f"its header would have {size:,} bytes")
        shape, fortran, dtype = parse(io.BytesIO(length + file.read(size)), max_header_size=HEADER)
    except KeyError:
        raise ValueError(f"{where} is in version {tuple(begin[6:])} of the format, wanted 1.0 or 2.0") from None
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError) as error:
        raise ValueError(f"{where} does not begin as a .npy file: {error}; write or fetch it again") from None
    if dtype.hasobject:
        raise ValueError(f"{where} holds Python objects, which are not read, since they could run code; save numbers")
    if any(n < 0 for n in shape):
        raise ValueError(f"{where} says shape {shape}, wanted no negative sizes")
    if math.prod(max(n, 1) for n in shape) * max(dtype.itemsize, 1) >= 2**63:
        raise ValueError(f"{where} says shape {shape} of {dtype}, wanted sizes below 2^63 bytes")
    return shape, fortran, dtype


def _check(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int, where: str) -> None:
    """Raise if a member says that it is larger than it can be, or its header another size."""
    if info.compress_size > size or info.file_size > GROWTH * info.compress_size + 64:
        raise ValueError(
            f"{where} says {info.file_size:,} bytes from {info.compress_size:,} compressed, in a file of {size:,}, "
            "which cannot be; write or fetch it again"
        )
    with archive.open(info) as member:
        shape, _, dtype = _header(member, where)
        wanted = member.tell() + math.prod(shape) * dtype.itemsize
    if info.file_size != wanted:
        raise ValueError(
            f"{where} holds {info.file_size:,} bytes, wanted {wanted:,} for shape {shape} of {dtype}; "
            "write or fetch it again"
        )


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    with archive.open(info) as member:
        return np.asarray(np.lib.format.read_array(member, allow_pickle=False))
