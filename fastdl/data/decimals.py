"""Numbers out of text, a block of lines at a time, with no Python for each cell.

A cell's digits are gathered eight to a 64-bit word, of which three multiplications make an
integer (https://lemire.me/blog/2022/01/21/swar-explained-parsing-eight-digits/). That integer over
a power of ten is what the cell says, and is rounded but once: in one division where both are exact
in float64, else in one whose remainder is kept and added. What cannot be shown to be right is left
to Python's own float.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from ..typing import Array

DIGITS = 19  # fewer than 2^64
POWERS = 22  # 10^22 is the last that float64 holds

_TENS = np.array([10.0**k for k in range(POWERS + 1)])
_BEGINS = np.isin(np.arange(256), list(b"+-.0123456789"))  # bytes that begin a number
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_SPLIT = _TENS * 134217729.0  # Veltkamp's: upper and lower halves, whose products are exact
_UPPER = _SPLIT - (_SPLIT - _TENS)
_LOWER = _TENS - _UPPER
_INTEGER_TENS = np.array([10**k for k in range(DIGITS + 1)], np.uint64)
_KEEP = np.array([(2**64 - 1) >> 8 * (8 - n) << 8 * (8 - n) for n in range(9)], np.uint64)


class Cells(NamedTuple):
    """What was read of some lines, all arrays of shape (lines, cells)."""

    numbers: Array
    """float64: what Python's float makes of a cell; NaN where it is empty or `left`."""
    left: Array
    """bool: neither empty nor a number."""
    begins: Array
    """int64: where a cell's bytes begin."""
    ends: Array
    """int64: where they end."""


def number(text: str) -> float | None:
    """What a text of digits, sign, point and exponent is in float64; None for any other, and beyond its range."""
    value = float(text) if _NUMBER.fullmatch(text) else np.inf
    return value if np.isfinite(value) else None


def parse(block: bytes, delimiter: bytes, width: int) -> Cells | None:
    """Read lines of `width` cells each.

    Parameters
    ----------
    block : bytes
        Whole lines, each ended by a line feed.
    delimiter : bytes
        One character.
    width : int

    Returns
    -------
    Cells, or None if a line has more cells or fewer.

    Examples
    --------
    >>> from fastdl.data.decimals import parse
    >>> cells = parse(b"1.5,\\n-2e3,x\\n", b",", 2)
    >>> cells.numbers, cells.left
    (array([[ 1.5e+00,      nan],
           [-2.0e+03,      nan]]), array([[False, False],
           [False,  True]]))
    """
    text = np.frombuffer(block, np.uint8)
    marks = np.flatnonzero(text - np.uint8(ord("0")) > 9)  # all that is no digit; below "0" wraps around
    kinds = text[marks]
    ends = np.flatnonzero((kinds == ord(delimiter)) | (kinds == ord("\n")))
    lines = kinds[ends] == ord("\n")
    if len(ends) % width or not lines[width - 1 :: width].all() or lines.sum() * width != len(ends):
        return None

    padded = bytes(24) + block
    words = np.ndarray(len(padded) - 7, "<u8", padded, strides=(1,))  # one that begins at every byte, 24 further on

    # A cell: a minus or none, digits with a point or none, an exponent or none.
    stops = marks[ends]
    starts = np.concatenate([[0], stops[:-1] + 1])
    count = np.diff(ends, prepend=-1)  # of the marks in a cell, with its end
    empty = stops == starts
    bounds = stops
    ends, count, power = _exponents(words, marks, kinds, ends, count)
    stops = marks[ends]
    minus = text[starts] == ord("-")
    point = (kinds[ends - 1] == ord(".")) & (count > 1)
    length = stops - starts - point - minus
    behind = np.where(point, stops - marks[ends - 1] - 1, 0)  # the point
    places = behind - power
    fits = (count == 1 + point + minus) & (length > 0) & (length <= DIGITS) & (np.abs(places) <= POWERS)
    if not fits.all():
        for digits in (length, behind, places):
            digits[~fits] = 0
    whole = _integers(words, stops - behind - point, length - behind) * _INTEGER_TENS[behind]
    whole += _integers(words, stops, behind)
    numbers, sure = _scaled(whole, places)
    np.negative(numbers, out=numbers, where=minus)
    fits &= sure
    numbers[~fits] = np.nan
    left = ~fits & ~empty
    for i in np.flatnonzero(left & _BEGINS[text[starts]]).tolist() if left.any() else ():
        cell = number(block[starts[i] : bounds[i]].decode(errors="replace"))
        if cell is not None:
            numbers[i], left[i] = cell, False
    return Cells(*(a.reshape(-1, width) for a in (numbers, left, starts, bounds)))


def _exponents(words: Array, marks: Array, kinds: Array, ends: Array, count: Array) -> tuple[Array, Array, Array]:
    """Where each cell's digits end (as a number of a mark), how many marks it has up to there, and its power of ten."""
    letter = np.flatnonzero((kinds | 32) == ord("e"))
    cell = np.searchsorted(ends, letter)
    after = kinds[letter + 1]  # there is one, since a line feed ends the block
    signed = ((after == ord("+")) | (after == ord("-"))) & (marks[letter + 1] == marks[letter] + 1)
    length = marks[ends[cell]] - marks[letter + signed] - 1
    found = (letter + 1 + signed == ends[cell]) & (length > 0) & (length <= 4)
    letter, cell, minus, length = (a[found] for a in (letter, cell, after == ord("-"), length))
    value = _integers(words, marks[ends[cell]], length).astype(np.int64)
    power = np.zeros(len(ends), np.int64)
    power[cell] = np.where(minus, -value, value)
    count, tails = count.copy(), ends.copy()
    count[cell] -= ends[cell] - letter
    tails[cell] = letter
    return tails, count, power


def _integers(words: Array, stops: Array, length: Array) -> Array:
    """The integers, uint64, of the `length` digits that end before each of `stops`; up to 19 digits."""
    whole = _eight(words[stops + 16], np.minimum(length, 8))
    for done in (8, 16):
        longer = np.flatnonzero(length > done)
        if longer.size:
            more = _eight(words[stops[longer] + (16 - done)], np.minimum(length[longer] - done, 8))
            whole[longer] += more * np.uint64(10**done)
    return whole


def _eight(words: Array, keep: Array) -> Array:
    """The integers that the last `keep` characters of words of eight spell."""
    words = (words ^ np.uint64(0x3030303030303030)) & _KEEP[keep]
    words = words * np.uint64(10) + (words >> np.uint64(8))  # pairs of digits, in every other byte
    pairs = np.uint64(0x000000FF000000FF)
    first = (words & pairs) * np.uint64(100 + (1000000 << 32))
    return (first + (words >> np.uint64(16) & pairs) * np.uint64(1 + (10000 << 32))) >> np.uint64(32)


def _scaled(whole: Array, places: Array) -> tuple[Array, Array]:
    """whole / 10^places in float64, and where it is certain to be the nearest one."""
    numbers = whole.astype(np.float64)
    down = np.maximum(places, 0)
    if (places < 0).any():
        numbers *= _TENS[np.maximum(-places, 0)]
    numbers /= _TENS[down]
    sure = whole <= np.uint64(2**53)
    wide = np.flatnonzero(~sure)
    if wide.size:
        numbers[wide], sure[wide] = _divided(whole[wide], down[wide])
        sure[wide] &= places[wide] >= 0
    return numbers, sure


def _divided(whole: Array, power: Array) -> tuple[Array, Array]:
    """whole / 10^power, and where it is certain to be the nearest one, for integers that float64 does not hold."""
    near = whole.astype(np.float64)
    rest = (whole - near.astype(np.uint64)).astype(np.int64).astype(np.float64)
    tens = _TENS[power]
    quotient = near / tens
    split = quotient * 134217729.0
    upper = split - (split - quotient)
    lower = quotient - upper
    product = quotient * tens  # and, by Dekker, what its rounding lost
    lost = ((upper * _UPPER[power] - product) + upper * _LOWER[power] + lower * _UPPER[power]) + lower * _LOWER[power]
    correction = (near - product - lost + rest) / tens
    numbers = quotient + correction
    doubt = correction * 2.0**-50  # far more than the correction can be wrong by
    return numbers, (quotient + (correction - doubt) == numbers) & (quotient + (correction + doubt) == numbers)
