"""Files of separated values, block by block: numbers without Python for each cell, the rest by the csv module."""

from __future__ import annotations

import csv
import functools
import io
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..typing import Array
from .decimals import Cells, number, parse

BLOCK = 1 << 19  # bytes of lines at a time
ROWS = 10_000  # at a time from where there are quotes
SURE = 0.9  # a column with a larger share of numbers was meant to hold nothing else
TEXT_BYTES = 1 << 30  # that one column of texts may take, unless the file is large itself

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "-")
_SPECIAL = {**dict.fromkeys(MISSING, np.nan), "inf": np.inf, "-inf": -np.inf}

# (rows, columns) numbers; which are still to be read; the texts of a column's rows; the line where each row begins
Block = tuple[Array, Array, Callable[[int, Sequence[int]], list[str]], Array]


def read_columns(path: Path, delimiter: str) -> tuple[dict[str, Array], Array]:
    """Columns of a file, float64 or str, and the line on which each row begins; `read_csv` tells the rules."""
    columns, lines = _read(path, delimiter, frozenset())
    for column in columns:
        column.check()
    late = frozenset(column.name for column in columns if column.lost)
    if late:  # these turned out to be texts in a later block; what came before is read again
        columns, lines = _read(path, delimiter, late)
    return {column.name: column.joined() for column in columns}, lines


def _read(path: Path, delimiter: str, texts: frozenset[str]) -> tuple[list[_Column], Array]:
    with path.open("rb") as file:
        source = _Source(path, file, delimiter)
        limit = max(TEXT_BYTES, 16 * os.fstat(file.fileno()).st_size)
        columns = [_Column(path, name, name in texts, limit) for name in source.header()]
        lines = [np.zeros(0, np.int64)]
        for numbers, left, texts_of, begins in source.blocks():
            lines.append(begins)
            odd = np.flatnonzero(left.any(axis=0)).tolist()
            for j, values in enumerate(np.ascontiguousarray(numbers.T)):
                rows = np.flatnonzero(left[:, j]).tolist() if j in odd else []
                columns[j].add(values, rows, functools.partial(texts_of, j), begins)
    return columns, np.concatenate(lines)


@functools.lru_cache(maxsize=4096)
def _value(cell: str) -> float | None:
    """What a cell is as a number, NaN where it is missing, or None."""
    return _SPECIAL[cell] if cell in _SPECIAL else number(cell)


@dataclass
class _Column:
    """A column so far: arrays of numbers as long as it holds nothing else, arrays of texts from then on."""

    path: Path
    name: str
    text: bool
    limit: int  # in bytes, of an array of texts
    pieces: list[Array] = field(default_factory=list)
    numbers: int = 0
    others: int = 0  # cells that are neither numbers nor missing
    odd: tuple[int, str] = (0, "")  # line and cell of the first of them
    lost: bool = False  # whether numbers were kept whose texts are wanted
    longest: int = 1  # text

    def add(
        self, values: Array, left: Sequence[int], texts: Callable[[Sequence[int]], list[str]], lines: Array
    ) -> None:
        """Take a block's numbers, of which the rows `left` are still texts."""
        for i, cell in zip(left, texts(left) if left else (), strict=True):
            value = _value(cell)
            if value is not None:
                values[i] = value
                continue
            if not self.others:
                self.odd = int(lines[i]), cell
            self.others += 1
        if self.others and not self.text:
            self.text, self.lost = True, self.numbers > 0
        self.numbers += len(values) - int(np.count_nonzero(np.isnan(values)))
        self.pieces.append(self._texts(texts(range(len(values)))) if self.text else values)

    def _texts(self, cells: Sequence[str]) -> Array:
        texts = ["" if cell in MISSING else cell for cell in cells]
        self.longest = max(self.longest, *map(len, texts))
        size = 4 * self.longest * (len(texts) + sum(map(len, self.pieces)))
        if size > self.limit:
            raise ValueError(
                f"read_csv: {self.path}, column {self.name!r}: a text has {self.longest:,} characters, and NumPy keeps "
                f"room for as many in every row: {size:,} bytes so far; shorten it, or take the column out of the file"
            )
        return np.array(texts)

    def check(self) -> None:
        """Raise if the column is numbers but for a few cells."""
        if self.others and self.numbers > SURE * (self.numbers + self.others):
            share = min(99, 100 * self.numbers // (self.numbers + self.others))
            line, cell = self.odd
            raise ValueError(
                f"read_csv: {self.path}, line {line}, column {self.name!r}: {cell!r} is no number, "
                f"as the other {share} % of the column are; mend it, or leave the cell empty"
            )

    def joined(self) -> Array:
        """The whole column."""
        if self.text:  # what was kept as numbers is all missing
            self.pieces = [np.zeros(len(p), "U1") if p.dtype.kind == "f" else p for p in self.pieces]
        return np.concatenate(self.pieces) if self.pieces else np.zeros(0)


class _Source:
    """The lines of a file, and what is wrong where."""

    def __init__(self, path: Path, file: io.BufferedReader, delimiter: str):
        self.path, self.file, self.delimiter = path, file, delimiter
        self.names: list[str] = []
        self.line = 0  # how many are behind
        self.record: list[str] = []  # those, so far, of the row at hand
        self.blank = 0  # the first that is blank

    def error(self, line: int, what: str, column: str = "") -> ValueError:
        return ValueError(f"read_csv: {self.path}, line {line}{column and ', column '}{column}: {what}")

    def header(self) -> list[str]:
        """The names of the columns."""
        if self.file.peek(3)[:3] == b"\xef\xbb\xbf":  # byte order mark
            self.file.read(3)
        row, _ = next(self._records(self.file), ([], 0))
        if not row:
            raise ValueError(f"read_csv: {self.path} is empty, wanted a first line that names the columns")
        names = [name.strip() for name in row]
        if len(names) == 1 and (other := next((mark for mark in ";\t|,:" if mark in names[0]), None)):
            raise self.error(
                1, f"there is one column, {names[0]!r}; if {other!r} stands between columns, pass delimiter={other!r}"
            )
        for place, name in enumerate(names, 1):
            if not name:
                raise self.error(1, f"column {place} has no name; give it one, since columns are known by names")
            if names.index(name) < place - 1:
                raise self.error(1, f"columns {names.index(name) + 1} and {place} are both named {name!r}; rename one")
        self.names = names
        return names

    def blocks(self) -> Iterator[Block]:
        """The rows below the header, some thousands at a time."""
        width, mark = len(self.names), self.delimiter.encode()
        while block := self.file.read(BLOCK):
            block += self.file.readline()
            if b'"' in block:  # may hide line ends, here and in what follows
                yield from self._quoted(itertools.chain(io.BytesIO(block), self.file))
                return
            plain = block.replace(b"\r\n", b"\n") if b"\r" in block else block
            plain += b"" if plain.endswith(b"\n") else b"\n"
            hollow = width == 1 and b"\n\n" in b"\n" + plain  # a blank line, which looks like an empty cell
            parsed = None if self.blank or hollow or b"\r" in plain else parse(plain, mark, width)
            if parsed is None:
                yield from self._quoted(io.BytesIO(block))
                continue
            if not plain.isascii() or b"\0" in plain:
                self._text(plain)
            texts = functools.partial(_slices, plain, parsed)
            yield parsed.numbers, parsed.left, texts, self.line + 1 + np.arange(len(parsed.left))
            self.line += len(parsed.left)

    def _quoted(self, lines: Iterable[bytes]) -> Iterator[Block]:
        """Rows by way of the csv module, which knows quotes, and finds what is wrong with a line."""
        records = self._records(lines)
        width, mark = len(self.names), self.delimiter.encode()
        while part := list(itertools.islice(records, ROWS)):
            rows = [row for row, _ in part]
            begins = np.array([begin for _, begin in part])
            parsed = parse("".join(self.delimiter.join(row) + "\n" for row in rows).encode(), mark, width)
            if parsed is not None and len(parsed.left) == len(rows):
                numbers, left = parsed.numbers, parsed.left
            else:  # a cell holds a delimiter or a line end
                numbers, left = np.full((len(rows), width), np.nan), np.ones((len(rows), width), bool)
            yield numbers, left, functools.partial(_picked, rows), begins

    def _records(self, lines: Iterable[bytes]) -> Iterator[tuple[list[str], int]]:
        """Rows, and the line on which each begins."""
        reader = csv.reader(self._lines(lines), delimiter=self.delimiter, strict=True)
        while True:
            self.record.clear()
            try:
                row = next(reader, None)
            except csv.Error as error:
                begin = self.line - len(self.record) + 1
                raise self.error(begin, f"no whole row of separated values begins here: {error}") from None
            if row is None:
                return
            begin = self.line - len(self.record) + 1
            if not row:
                self.blank = self.blank or begin
                continue
            if self.blank:
                raise self.error(self.blank, "it is blank, and others follow; take it out")
            if self.names and len(row) != len(self.names):
                raise self.error(begin, f"got {len(row)} fields, wanted {len(self.names)}, one for each name in line 1")
            yield row, begin

    def _lines(self, lines: Iterable[bytes]) -> Iterator[str]:
        for line in lines:
            text = self._text(line)
            self.record.append(text)
            self.line += 1
            yield text

    def _text(self, data: bytes) -> str:
        """Whole lines of UTF-8 without NUL."""
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise self._no_text(data, error.start, "no UTF-8") from None
        if "\0" in text:
            raise self._no_text(data, data.index(b"\0"), "no text")
        return text

    def _no_text(self, data: bytes, place: int, what: str) -> ValueError:
        begin = data.rfind(b"\n", 0, place) + 1
        before = "".join(self.record) + data[begin:place].decode(errors="replace")
        number = len(next(csv.reader(io.StringIO(before, newline=""), delimiter=self.delimiter), [""]))
        column = repr(self.names[number - 1]) if number <= len(self.names) else str(number)
        line = self.line + 1 + data.count(b"\n", 0, place)
        return self.error(line, f"byte 0x{data[place]:02x} is {what}; save the file as UTF-8 text", column)


def _slices(block: bytes, cells: Cells, column: int, rows: Sequence[int]) -> list[str]:
    begins, ends = cells.begins[rows, column].tolist(), cells.ends[rows, column].tolist()
    return [block[begin:end].decode().strip() for begin, end in zip(begins, ends, strict=True)]


def _picked(cells: Sequence[Sequence[str]], column: int, rows: Sequence[int]) -> list[str]:
    return [cells[row][column].strip() for row in rows]
