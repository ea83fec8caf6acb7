"""Rows of arrays larger than memory, and what takes them: batches, splits by groups, standardising."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdl import data, random
from fastdl.data import preprocess, rows


@pytest.fixture
def mapped(tmp_path):
    """An array as a read-only map of a file."""

    def mapped(array):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
        np.save(path, array)
        return data.load_npy(path)

    return mapped


@pytest.fixture
def eager(monkeypatch):
    """Pages are given back after 64 bytes, and two neighbours of a row count."""
    monkeypatch.setattr(rows, "DROP", 64)
    monkeypatch.setattr(rows, "AROUND", 32)


@pytest.mark.parametrize("shape", [(50,), (50, 3), (50, 2, 5)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("numbers", [None, [7, 7, 49, 0, 3]])
@pytest.mark.parametrize("prepare", [None, lambda x: x / 2, lambda x: x.reshape(len(x), -1).T.copy().T])
def test_rows_are_those_of_the_array(mapped, eager, shape, order, numbers, prepare):
    x = np.arange(np.prod(shape), dtype=np.int32).reshape(shape).copy(order)
    whole = x if numbers is None else x[numbers]
    whole = whole if prepare is None else prepare(whole)
    for source in (x, mapped(x), data.Rows(mapped(x))):
        got = data.Rows(source, numbers, prepare)
        assert (got.shape, got.dtype, got.ndim, len(got)) == (whole.shape, whole.dtype, whole.ndim, len(whole))
        n = len(whole)
        for chosen in (slice(None), slice(1, 3), slice(3, 1), slice(-2, None), slice(n, n + 5)):
            assert_own(got[chosen], whole[chosen], x)
        for chosen in ([], [n - 1, 0, 0], np.arange(n)[::-1], np.array([2], np.uint8)):
            assert_own(got[chosen], whole[np.asarray(chosen, int)], x)


def assert_own(got, wanted, source):
    np.testing.assert_array_equal(got, wanted)
    assert (type(got), got.shape, got.dtype) == (np.ndarray, wanted.shape, wanted.dtype)
    assert got.flags.c_contiguous
    assert got.flags.writeable
    assert not np.shares_memory(got, source)


@pytest.mark.parametrize(
    ("chosen", "error", "message"),
    [
        ([3], IndexError, "rows holds 3, wanted 0 to 2, since there are 3 rows"),
        ([-1], IndexError, "rows holds -1, wanted 0 to 2"),
        (slice(None, None, 2), ValueError, "got a step of 2, wanted rows.a:b.; choose others by an array of numbers"),
        (1, TypeError, "wanted integers in one dimension"),
        ([True, False, True], TypeError, r"rows is \(3,\) bool, wanted integers"),
        ([0.5], TypeError, "float64, wanted integers"),
    ],
)
def test_rows_that_cannot_be_are_refused(chosen, error, message):
    with pytest.raises(error, match=message):
        data.Rows(np.zeros((3, 2)))[chosen]


def test_rows_of_what_has_none_are_refused():
    with pytest.raises(ValueError, match="x is a single number, wanted an array of rows"):
        data.Rows(np.array(1.0))
    with pytest.raises(IndexError, match="numbers holds 9, wanted 0 to 4"):
        data.Rows(np.zeros(5), [9])


def test_what_was_written_to_a_private_map_is_kept(mapped, eager):
    file = mapped(np.zeros((1000, 4)))
    private = np.memmap(file.filename, np.float64, "c", file.offset, file.shape)
    private[:] = 5
    taken = data.Rows(private)
    for _ in range(3):
        assert (taken[:] == 5).all()
        assert (taken[np.arange(1000)] == 5).all()
    assert (private == 5).all()


READ_LARGE = """
import os, sys
import numpy as np
from fastdl import data

def resident():  # and the most it ever was, in MiB
    lines = open("/proc/self/status").read().splitlines()
    return [int(line.split()[1]) // 1024 for name in ("VmRSS", "VmHWM") for line in lines if line.startswith(name)]

header = np.lib.format
with open("large.npy", "wb") as file:
    header.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (2 << 20, 1024)})
    os.truncate("large.npy", file.tell() + (2 << 30))
x = data.load_npy("large.npy")
y = np.zeros(len(x), np.uint8)
before = resident()[0]
for xb, yb in data.batches(x, y, 4096, shuffle=False):  # all 2 GiB
    pass
drawn = np.random.default_rng(0).permutation(len(x))[:50_000]
(half, _), _ = data.split(x, y, parts=(0.5, 0.5))
for start in range(0, len(drawn), 1000):
    half[drawn[start : start + 1000] // 2]
data.Rows(x)[drawn]  # 49 MiB
data.Standardize.fit(x[: 1 << 18])
print(resident()[1] - before)
os.remove("large.npy")
"""


@pytest.mark.slow
@pytest.mark.skipif("sys.platform != 'linux'", reason="how much memory a process has is read as on Linux")
def test_reading_two_gigabytes_takes_few_megabytes(run_python):
    grown = int(run_python(READ_LARGE))
    assert grown < 250, f"{grown} MiB more than before"


@pytest.mark.parametrize("wrap", [np.asarray, data.Rows, None])
def test_batches_are_the_trainers(mapped, wrap):
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    x = mapped(x) if wrap is None else wrap(x)
    got = list(data.batches(x, y, 4, seed=5, epoch=2))
    assert [len(xb) for xb, _ in got] == [4, 4, 2]
    labels = np.concatenate([yb for _, yb in got])
    np.testing.assert_array_equal(labels, random.permutation(10, seed=5, step=2))  # as Trainer.fit draws it
    np.testing.assert_array_equal(np.concatenate([xb for xb, _ in got])[:, 1], 2 * labels + 1)
    in_order = data.batches(x, y, 4, shuffle=False)
    assert [yb.tolist() for _, yb in in_order] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"augment": [data.augment.Noise(1.0)]}])
def test_batches_bring_the_weights_of_their_rows(options):
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    plain = list(data.batches(x, y, 4, seed=5, epoch=2, **options))
    weighted = list(data.batches(x, y, 4, seed=5, epoch=2, sample_weight=y / 10, **options))
    for batch, (*same, weights) in zip(plain, weighted, strict=True):
        for ours, theirs in zip(batch, same, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(weights, batch[1] / 10)


def test_batches_that_cannot_be_are_refused_at_once():
    with pytest.raises(ValueError, match="x has 3 rows and y 2"):
        data.batches(np.zeros(3), np.zeros(2), 1)
    with pytest.raises(ValueError, match="batch_size is 0, wanted at least 1"):
        data.batches(np.zeros(3), np.zeros(3), 0)
    with pytest.raises(ValueError, match="x has 3 rows and sample_weight 2"):
        data.batches(np.zeros(3), np.zeros(3), 1, sample_weight=np.ones(2))
    with pytest.raises(ValueError, match="Mixup mixes rows whatever they count"):
        data.batches(np.zeros(3), np.zeros(3), 1, sample_weight=np.ones(3), augment=[data.augment.Mixup(0.2)])


def test_a_split_of_a_file_gives_rows_of_the_same_parts(mapped):
    x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    for options in ({}, {"stratify": True}, {"groups": np.arange(20) // 2}):
        arrays = data.split(x, y, **options)
        for (xa, ya), (xr, yr) in zip(arrays, data.split(mapped(x), data.Rows(y), **options), strict=True):
            assert isinstance(xr, data.Rows)
            np.testing.assert_array_equal(xr[:], xa)
            np.testing.assert_array_equal(yr[:], ya)


# ---------------------------------------------------------------- splits by groups


@given(
    sizes=st.lists(st.integers(1, 30), min_size=3, max_size=40),
    parts=st.sampled_from([(0.7, 0.15, 0.15), (0.5, 0.5), (0.1, 0.8, 0.1)]),
    seed=st.integers(0, 2**64 - 1),
)
def test_groups_stay_together_and_shares_are_met_to_within_the_largest(sizes, parts, seed):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    n = len(groups)
    got = [y for _, y in data.split(np.zeros((n, 1)), np.arange(n), parts=parts, groups=groups, seed=seed)]
    np.testing.assert_array_equal(np.sort(np.concatenate(got)), np.arange(n))
    homes = [set(groups[y].tolist()) for y in got]
    assert sum(map(len, homes)) == len(sizes)
    away = np.abs([len(y) - share * n for y, share in zip(got, parts, strict=True)])
    assert away.max() <= max(sizes) or len(sizes) < 10  # few groups must also leave no part empty


def test_groups_of_one_row_split_as_rows_do():
    got = data.split(np.zeros(100), np.zeros(100), groups=np.array([f"g{k}" for k in range(100)]))
    assert [len(y) for _, y in got] == [70, 15, 15]


def test_a_split_by_groups_depends_on_the_seed_alone():
    groups = np.arange(60) // 3
    first, again, other = (data.split(groups, groups, groups=groups, seed=seed)[0][1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert set(first.tolist()) != set(other.tolist())


def test_no_part_is_empty_where_there_are_as_many_groups():
    got = data.split(np.zeros(9), np.arange(9), groups=np.repeat([1.5, 2.5, 3.5], 3))
    assert [len(y) for _, y in got] == [3, 3, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": np.zeros(6), "stratify": True}, "got stratify=True and groups, wanted one of them"),
        ({"groups": np.zeros(5)}, r"groups is \(5,\) float64, wanted a number or text for each of 6 rows"),
        ({"groups": np.full(6, np.nan)}, "and no NaN"),
        ({"groups": np.array([None] * 6)}, r"groups is \(6,\) object"),
        ({"groups": np.arange(6) // 3}, "2 groups are too few for parts .*; part 2 is empty"),
    ],
)
def test_splits_by_groups_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        data.split(np.zeros(6), np.zeros(6, int), **options)


# ---------------------------------------------------------------- standardising in blocks


@pytest.mark.parametrize("wrap", [np.asarray, data.Rows, None])
@pytest.mark.parametrize("block", [8, 100, 1 << 20])
def test_statistics_of_blocks_are_those_of_all_rows(mapped, monkeypatch, wrap, block):
    monkeypatch.setattr(preprocess, "BLOCK", block)
    x = np.random.default_rng(0).standard_normal((101, 3)) * [1, 1e3, 1e-3] + [1e8, 0, 5]
    x[:, 2] = 0.1
    got = data.Standardize.fit(mapped(x) if wrap is None else wrap(x))
    np.testing.assert_allclose(got.mean, x.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(got.deviation, [*x.std(axis=0)[:2], 0], rtol=1e-7)
    np.testing.assert_allclose(got.deviation[1], x[:, 1].std(), rtol=1e-13)


def test_standardising_small_arrays_gives_numpys_own_bits():
    x = data.load_digits()[0]
    got = data.Standardize.fit(x)
    np.testing.assert_array_equal(got.mean, x.mean(axis=0, dtype=np.float64))
    np.testing.assert_array_equal(got.deviation, x.std(axis=0, dtype=np.float64))


def test_infinity_is_named_and_does_not_warn(monkeypatch):
    monkeypatch.setattr(preprocess, "BLOCK", 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for bad in (np.inf, -np.inf, np.nan):
            with pytest.raises(ValueError, match="feature 0 holds NaN or infinity"):
                data.Standardize.fit(np.array([[1.0], [bad], [2.0]]))
