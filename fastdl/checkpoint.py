"""Named arrays in one safetensors file: atomic, and hashed, so that a damaged file is found out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .files import write_atomic
from .typing import Array

# All texts stand in one entry, since safetensors writes several in an order that changes from run to run.
_ENTRY = "fastdl"


def save(path: str | os.PathLike[str], arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays and texts to a safetensors file.

    Parameters
    ----------
    path : path
    arrays : mapping of str to array
    metadata : mapping of str to str, optional

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from fastdl import checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "a.safetensors"
    ...     checkpoint.save(path, {"w": np.eye(2)[:, ::-1]}, {"note": "mirrored"})
    ...     checkpoint.load(path)
    ({'w': array([[0., 1.], [1., 0.]])}, {'note': 'mirrored'})
    """
    from safetensors.numpy import save as serialise

    # safetensors writes the memory behind an array as it lies, whatever its strides.
    plain = {name: np.asarray(a, a.dtype.newbyteorder("<"), order="C") for name, a in arrays.items()}
    if "__metadata__" in plain:
        raise ValueError("checkpoint.save: an array is named __metadata__, which the format keeps for itself")
    texts = dict(metadata or {})
    entry = json.dumps({"texts": texts, "sha256": _digest(plain, texts)}, sort_keys=True)
    write_atomic(path, serialise(plain, {_ENTRY: entry}))


def load(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays and texts of a file that `save` wrote.

    Raises
    ------
    ValueError
        If the file is damaged or was not written by `save`.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as parse

    data = Path(path).read_bytes()
    try:
        arrays = parse(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        entry = json.loads(header["__metadata__"][_ENTRY])
        texts, digest = dict(entry["texts"]), entry["sha256"]
    except (KeyError, TypeError):
        raise ValueError(f"checkpoint.load: {path} holds no hash, so it was not written by fastdl") from None
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"checkpoint.load: {path} is no whole safetensors file: {error}") from None
    if digest != _digest(arrays, texts):
        raise ValueError(f"checkpoint.load: {path} is damaged: its content does not have the hash it was saved with")
    return arrays, texts


def _digest(arrays: Mapping[str, Array], texts: Mapping[str, str]) -> str:
    """SHA-256 over names, dtypes, shapes, data and texts, in a fixed order."""
    digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
