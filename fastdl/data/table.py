"""Columns of numbers and of texts, and how they are read from files of separated values."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..typing import Array
from .separated import read_columns


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of as many rows.

    Parameters
    ----------
    columns : dict of str to (n,) array
        Numbers as float64 with NaN where one is missing, texts as NumPy str with "" where one is missing.
    path : Path
        The file it was read from.
    lines : (n,) int64 array
        The line of that file on which each row begins; the header is line 1.

    Examples
    --------
    >>> import pathlib, numpy as np
    >>> from fastdl.data import Table
    >>> table = Table({"age": np.array([31.0, 45.0])}, pathlib.Path("people.csv"), np.array([2, 3]))
    >>> len(table), table["age"], table.take([1])["age"]
    (2, array([31., 45.]), array([45.]))
    """

    columns: dict[str, Array]
    path: Path
    lines: Array

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, name: str) -> Array:
        if name not in self.columns:
            raise KeyError(f"{self.path} has {no_column(name, self.columns)}")
        return self.columns[name]

    def take(self, rows: Any) -> Table:
        """The rows of these numbers, in the order given, or those where an array of bool holds."""
        chosen = np.asarray(rows)
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)  # an empty list makes floats
        return Table({name: column[chosen] for name, column in self.columns.items()}, self.path, self.lines[chosen])


def no_column(name: str, names: Collection[str]) -> str:
    """The end of a sentence about a column that there is not, with those that may have been meant."""
    folded = {known.casefold(): known for known in names}
    near = [repr(folded[match]) for match in difflib.get_close_matches(name.casefold(), folded)]
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    return f"no column {name!r}{hint} Its columns are {', '.join(map(repr, names))}"


def read_csv(path: str | os.PathLike[str], *, delimiter: str = ",") -> Table:
    """Read a file of separated values whose first line names the columns.

    The file is UTF-8, with or without a byte order mark. Fields may stand in double quotes, and
    spaces around them do not count. A cell that is empty or NA, N/A, NaN, nan, null, NULL, None, ?
    or - is missing. A column is numbers if all its other cells are; they become what Python's float
    makes of them, and only inf and -inf are infinite.

    Parameters
    ----------
    path : path
    delimiter : str
        One ASCII character.

    Returns
    -------
    Table

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        With file, line and column: if it is empty, no UTF-8, or holds a NUL byte; if a column's name
        is empty or stands twice; if a line has more fields than the first, or fewer, or is blank and
        not at the end; if more than 90 % of a column are numbers and a cell is none.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastdl.data import read_csv
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "people.csv"
    ...     _ = path.write_text("name,age\\nAda,36\\nAlan,NA\\n")
    ...     table = read_csv(path)
    >>> table["name"], table["age"]
    (array(['Ada', 'Alan'], dtype='<U4'), array([36., nan]))
    """
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter.isalnum() or delimiter in '"\r\n\0+-.':
        raise ValueError(
            f"read_csv: delimiter is {delimiter!r}, wanted one ASCII character "
            "that is no letter, digit, quote, line end, sign or point"
        )
    columns, lines = read_columns(Path(path), delimiter)
    return Table(columns, Path(path), lines)
