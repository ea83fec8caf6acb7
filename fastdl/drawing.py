"""Where a picture goes: into a file, or onto axes that a user has. By matplotlib, of the extra `plot`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SUFFIXES = (".png", ".svg", ".pdf")


@contextmanager
def axes(where: Any) -> Iterator[Any]:
    """Axes to draw on: those given, or new ones, which are written to the file that is named in the end.

    Parameters
    ----------
    where : path, or matplotlib.axes.Axes

    Raises
    ------
    ValueError
        For a file whose name tells no kind of picture, or whose folder is not there.
    TypeError
        For what is neither.
    RuntimeError
        Where matplotlib is missing.
    """
    if not isinstance(where, (str, os.PathLike)):
        if not hasattr(where, "plot"):
            raise TypeError(f"draw: got {where!r}, wanted a file's path, or axes of matplotlib")
        yield where
        return
    path = Path(where)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"draw: {path}: wanted a name that ends in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise ValueError(f"draw: there is no folder {path.parent}; make it first")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RuntimeError(
            "draw: pictures need matplotlib; install the extra: pip install 'fastdl-kernels[plot]'"
        ) from error
    figure = Figure(figsize=(7, 4), layout="constrained")  # without pyplot, which would open windows
    yield figure.subplots()
    figure.savefig(path, dpi=150)
