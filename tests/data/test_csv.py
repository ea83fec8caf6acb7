"""Tables out of files of separated values, against Python's own csv module and float."""

import csv
import io
import random
import string
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdl import data
from fastdl.data import separated
from fastdl.data.decimals import parse

MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "-"]


@pytest.fixture
def read(tmp_path):
    """Read what a file of these bytes, or of this text, holds."""

    def read(content, **options):
        path = tmp_path / "a.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return data.read_csv(path, **options)

    return read


@pytest.fixture
def peak():
    """The most bytes that Python and NumPy held since the last call."""
    yield lambda: (tracemalloc.get_traced_memory()[1], tracemalloc.start(), tracemalloc.reset_peak())[0]
    tracemalloc.stop()


@pytest.fixture(params=[1 << 18, 7])
def blocks(request, monkeypatch):
    """Files are read in blocks of whole lines, and of a line each."""
    monkeypatch.setattr(separated, "BLOCK", request.param)
    monkeypatch.setattr(separated, "ROWS", 2 if request.param == 7 else separated.ROWS)


# ---------------------------------------------------------------- numbers out of text

DECIMALS = (
    st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.tuples(st.floats(-1e15, 1e15), st.integers(0, 15)).map(lambda t: f"{t[0]:.{t[1]}f}")
    | st.floats(allow_nan=False, allow_infinity=False).map("{:.18e}".format)
    | st.floats(allow_nan=False, allow_infinity=False).map("{:g}".format)
    | st.from_regex(r"\A[+-]?[0-9]{1,25}\.?[0-9]{0,25}([eE][+-]?[0-9]{1,2})?\Z")
)


def doubles(numbers):
    return np.array(numbers, np.float64).view(np.uint64).tolist()  # so that -0.0 is not 0.0


@given(cells=st.lists(DECIMALS, min_size=1, max_size=50))
def test_numbers_are_to_the_bit_what_float_makes_of_them(cells):
    got = parse("".join(f"{cell}\n" for cell in cells).encode(), b",", 1)
    assert not got.left.any()
    assert doubles(got.numbers[:, 0]) == doubles([float(cell) for cell in cells])


def test_numbers_halfway_between_two_doubles_are_rounded_to_even():
    halfway = [str(2**53 + k) for k in range(1, 9)] + [f"{2**53 + k}.000" for k in (1, 3)] + ["9007199254740993e-3"]
    got = parse("".join(f"{cell}\n" for cell in halfway).encode(), b",", 1)
    assert doubles(got.numbers[:, 0]) == doubles([float(cell) for cell in halfway])


@given(cells=st.lists(st.text("0123456789.-+eEx _", max_size=7), min_size=1, max_size=50))
def test_cells_that_float_does_not_take_are_left(cells):
    got = parse("".join(f"{cell}\n" for cell in cells).encode(), b",", 1)
    for cell, number, left in zip(cells, got.numbers[:, 0], got.left[:, 0], strict=True):
        try:
            wanted = float(cell)
        except ValueError:
            assert np.isnan(number)
            assert left == (cell != "")
        else:
            assert left or (doubles(number) == doubles(wanted) and "_" not in cell)


def test_a_thousand_rows_of_all_kinds_of_numbers(read):
    rng = random.Random(0)
    kinds = [repr, "{:.2f}".format, "{:.6g}".format, "{:.18e}".format, lambda v: str(int(v)), lambda v: f" {v} "]
    rows = [[kind(rng.gauss(0, 10 ** rng.randint(-9, 9))) for kind in kinds] for _ in range(1000)]
    table = read("a,b,c,d,e,f\n" + "".join(",".join(row) + "\n" for row in rows))
    for j, name in enumerate("abcdef"):
        assert doubles(table[name]) == doubles([float(row[j]) for row in rows])
    assert table.lines.tolist() == list(range(2, 1002))


# ---------------------------------------------------------------- files

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=6).map(str.strip)
CELLS = TEXTS | st.floats(allow_nan=False).map(repr) | st.sampled_from(MISSING)


def kept(cells):
    """What a column of these cells becomes, in plain Python; None where the file must be refused."""
    present = [cell for cell in cells if cell not in MISSING]
    numbers = [cell for cell in present if separated._value(cell) is not None]
    if len(numbers) == len(present):
        return [float(cell) if cell in present else np.nan for cell in cells]
    return None if len(numbers) > 0.9 * len(present) else [cell if cell in present else "" for cell in cells]


@given(rows=st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1)))
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_what_the_csv_module_writes_is_read(tmp_path_factory, rows, quoting, delimiter):
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, delimiter=delimiter)
    writer.writerow([f"column {j}" for j in range(len(rows[0]))])
    writer.writerows(rows)
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(text.getvalue().encode())
    columns = [kept(cells) for cells in zip(*rows, strict=True)]
    if None in columns:
        with pytest.raises(ValueError, match="is no number, as the other 9"):
            data.read_csv(path, delimiter=delimiter)
        return
    table = data.read_csv(path, delimiter=delimiter)
    assert len(table) == len(rows)
    for j, cells in enumerate(columns):
        np.testing.assert_array_equal(table[f"column {j}"], cells)


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n", "\r\n\r\n"])
def test_a_byte_order_mark_line_ends_and_blank_lines_at_the_end_do_not_count(read, blocks, start, end, last):
    table = read(start + end.join(["name, n ", "Zoë,1", "Łukasz , ? ", '"a ""b"", c",-2.5e3']) + last)
    assert table["name"].tolist() == ["Zoë", "Łukasz", 'a "b", c']
    np.testing.assert_array_equal(table["n"], [1, np.nan, -2500])
    assert table.lines.tolist() == [2, 3, 4]


@pytest.mark.parametrize("cell", MISSING)
def test_missing_cells(read, blocks, cell):
    table = read(f"n,s,all\n1,a,{cell}\n{cell}, {cell} ,{cell}\n3,c,{cell}\n")
    np.testing.assert_array_equal(table["n"], [1, np.nan, 3])
    assert table["s"].tolist() == ["a", "", "c"]
    np.testing.assert_array_equal(table["all"], [np.nan] * 3)


@pytest.mark.parametrize(
    "cell", ["1_000", "infinity", "Infinity", "+inf", "INF", "0x10", "1e999", "1,5", "١", "1 2", "--"]
)
def test_what_only_looks_like_a_number_is_text(read, blocks, cell):
    assert read(f'n\n"{cell}"\n1.50\n')["n"].tolist() == [cell, "1.50"]
    assert read(f"n;m\n{cell};\n1.50;\n", delimiter=";")["n"].tolist() == [cell, "1.50"]


def test_infinity_is_a_number_where_it_is_written_inf(read, blocks):
    assert read("n\ninf\n-inf\n").columns["n"].tolist() == [np.inf, -np.inf]


def test_a_column_that_turns_out_to_be_texts_late_keeps_its_cells_as_written(read, blocks):
    table = read("a,b,c\n1.50,x,\n007,y,\nNA,z,\nC 1,x,\n2,y,late\n")
    assert table["a"].tolist() == ["1.50", "007", "", "C 1", "2"]
    assert table["c"].tolist() == ["", "", "", "", "late"]


def test_a_header_alone_makes_a_table_without_rows(read):
    table = read("a,b")
    assert len(table) == 0
    assert table["a"].shape == table["b"].shape == (0,)


def test_quoted_lines_are_counted_as_they_stand_in_the_file(read, blocks):
    table = read('a,b\n"one\ntwo",1\nthree,2\n')
    assert table["a"].tolist() == ["one\ntwo", "three"]
    assert table.lines.tolist() == [2, 4]


def test_rows_are_taken_with_their_lines(read):
    table = read("a,s\n1,x\n2,y\n3,z\n")
    some = table.take([2, 0])
    assert (some["a"].tolist(), some["s"].tolist(), some.lines.tolist()) == ([3, 1], ["z", "x"], [4, 2])
    assert table.take(table["a"] > 1)["s"].tolist() == ["y", "z"]
    assert len(table.take([])) == 0
    with pytest.raises(KeyError, match=r"a.csv has no column 'A'; did you mean 'a'\? Its columns are 'a', 's'"):
        table["A"]


# ---------------------------------------------------------------- what is wrong, and where

MANY = "".join(f"{n}\n" for n in range(99))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"a.csv is empty, wanted a first line that names the columns"),
        ("\n\n", "is empty"),
        ("a,b,a\n", "line 1: columns 1 and 3 are both named 'a'; rename one"),
        ("a, ,c\n", "line 1: column 2 has no name"),
        ("\na\n", "line 1: it is blank, and others follow; take it out"),
        ("a,b\n1,2\n1,2,3\n", "line 3: got 3 fields, wanted 2, one for each name in line 1"),
        ('a,b\n"x\ny",2\n1\n', "line 4: got 1 fields, wanted 2"),
        ("a,b\n1,2\n\n3,4\n", "line 3: it is blank, and others follow"),
        ("a\n1\n\n2\n", "line 3: it is blank, and others follow"),
        ("a,b\n1,2\n   \n", "line 3: got 1 fields"),
        ('a,b\n1,2\n"x,2\n3,4\n', "line 3: no whole row of separated values begins here: unexpected end"),
        ('a,b\n1,2\n"x"y,2\n', "line 3: no whole row of separated values begins here"),
        ("a,b\r1,2\r", "line 1: no whole row of separated values begins here: new-line character"),
        ("a,b\n1,2\rx,3\n", "line 2: no whole row"),
        (b"a,b\n1,2\n3,\xe9\n", "line 3, column 'b': byte 0xe9 is no UTF-8; save the file as UTF-8 text"),
        (b'a,b\n1,2\n"x\ny,\xe9",3\n', "line 4, column 'a': byte 0xe9 is no UTF-8"),
        (b"a\xe9,b\n", "line 1, column 1: byte 0xe9 is no UTF-8"),
        (b"\xff\xfea\0\n\0", "line 1, column 1: byte 0xff is no UTF-8"),
        (b"a,b\n1,2\n3,4\0\n", "line 3, column 'b': byte 0x00 is no text"),
        (b'a,b\n"1",2\n3,4\0\n', "line 3, column 'b': byte 0x00 is no text"),
        (f"age\n{MANY}4O\n", "line 101, column 'age': '4O' is no number, as the other 99 % of the column are; mend it"),
        (f"age\n4O\n{MANY}", "line 2, column 'age': '4O' is no number"),
        (f'"age"\n{MANY}"1_000"\n', "line 101, column 'age': '1_000' is no number"),
    ],
)
def test_errors_name_file_line_and_column(read, blocks, tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as raised:
        read(content)
    assert str(raised.value).startswith(f"read_csv: {tmp_path / 'a.csv'}")


def test_nine_numbers_in_ten_are_not_enough_to_call_the_tenth_wrong(read):
    assert read("n\n" + "1\n" * 9 + "x\n")["n"].dtype.kind == "U"
    with pytest.raises(ValueError, match="line 12, column 'n': 'x' is no number, as the other 90 %"):
        read("n\n" + "1\n" * 10 + "x\n")


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "1", "e", "-", ".", "é"])
def test_delimiters_that_cannot_be_are_refused(read, delimiter):
    with pytest.raises(ValueError, match=r"read_csv: delimiter is .*, wanted one ASCII character"):
        read("a\n1\n", delimiter=delimiter)


def test_one_long_text_does_not_make_a_column_huge(read, peak, monkeypatch):
    monkeypatch.setattr(separated, "TEXT_BYTES", 1 << 20)
    content = "s\n" + "ab\n" * 50_000 + "x" * 100_000 + "\n"
    peak()
    with pytest.raises(
        ValueError, match=r"column 's': a text has 100,000 characters, .* shorten it, or take the column"
    ):
        read(content)
    assert peak() < 60 << 20


def test_reading_takes_at_most_three_times_the_memory_of_the_result(read, peak):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((120_000, 20))
    content = (
        ",".join(string.ascii_lowercase[:20]) + "\n" + "".join(",".join(map(repr, r)) + "\n" for r in rows.tolist())
    )
    content = content.encode()
    peak()
    read(content)
    assert peak() < 3 * rows.nbytes
