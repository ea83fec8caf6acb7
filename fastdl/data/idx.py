"""The IDX format, in which MNIST and its kin come."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..typing import Array

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP = b"\x1f\x8b"
GROWTH = 1100  # times the compressed bytes; deflate can reach 1,032


def load_idx(path: str | os.PathLike[str]) -> Array:
    """Read an IDX file, gzip-compressed or not.

    Parameters
    ----------
    path : path

    Returns
    -------
    Array
        Of the file's shape, as uint8, int8, int16, int32, float32 or float64.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no IDX file, or holds more or fewer bytes than its header says.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastdl.data import load_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "labels"
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
    ...     load_idx(path)
    array([5, 0, 4], dtype=uint8)
    """
    path = Path(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.peek(2)[:2] != GZIP:
            return _read(file, path, size, exact=True)
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read(unpacked, path, GROWTH * size, exact=False)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"load_idx: {path} is a damaged gzip file ({error}); fetch it again") from None


def _read(file: BinaryIO | gzip.GzipFile, path: Path, room: int, *, exact: bool) -> Array:
    """Read an array from a stream of `room` bytes, or of no more than that."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES:
        raise ValueError(
            f"load_idx: {path} begins with the bytes {magic.hex(' ') or '(none)'}, wanted 00 00, a type "
            f"({', '.join(f'{code:02x}' for code in TYPES)}) and the number of dimensions, as IDX files do"
        )
    dtype, header = np.dtype(TYPES[magic[2]]), 4 + 4 * magic[3]
    if not 1 <= magic[3] <= 32:
        raise ValueError(f"load_idx: {path} says {magic[3]} dimensions, wanted 1 to 32")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError(f"load_idx: {path} ends in its header, which says {magic[3]} dimensions; fetch it again")
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    count = math.prod(shape)
    wanted = header + count * dtype.itemsize
    if wanted > room or (exact and wanted != room):
        raise ValueError(
            f"load_idx: {path} {'holds' if exact else 'unpacks to at most'} {room:,} bytes, wanted {wanted:,} "
            f"for shape {shape} of {dtype.newbyteorder('=')}; fetch it again"
        )
    data = file.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize or file.read(1):
        raise ValueError(
            f"load_idx: {path} holds {'fewer' if len(data) < count * dtype.itemsize else 'more'} bytes than the "
            f"{wanted:,} for shape {shape} of {dtype.newbyteorder('=')}; fetch it again"
        )
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
