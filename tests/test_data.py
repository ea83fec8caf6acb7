"""The data set that comes along, splits, standardising."""

import numpy as np
import pytest

from fastdl import data


def test_digits_are_those_of_scikit_learn():
    x, y = data.load_digits()
    assert x.shape == (1797, 64)
    assert (x.dtype, y.dtype) == (np.float32, np.int64)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert x.sum() == 561718  # of all pixels, in scikit-learn's copy
    assert (x.min(), x.max()) == (0, 16)
    assert x[0].reshape(8, 8)[2].tolist() == [0, 3, 15, 2, 0, 11, 8, 0]


@pytest.mark.parametrize("stratify", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_parts_share_no_row_and_lose_none(stratify, seed):
    x = np.arange(1797.0).reshape(-1, 1)
    y = data.load_digits()[1]
    parts = data.split(x, y, stratify=stratify, seed=seed)
    rows = np.concatenate([rows[:, 0] for rows, _ in parts]).astype(int)
    assert sorted(rows) == list(range(1797))
    assert [len(labels) for _, labels in parts] == pytest.approx([1258, 270, 270], abs=1)
    for part, labels in parts:
        np.testing.assert_array_equal(labels, y[part[:, 0].astype(int)])


def test_stratified_parts_keep_the_share_of_every_class():
    y = np.repeat([0, 1, 2], [70, 20, 10])
    x = np.zeros((100, 1))
    counts = [np.bincount(labels, minlength=3).tolist() for _, labels in data.split(x, y, stratify=True)]
    for part, share in zip(counts, (0.7, 0.15, 0.15), strict=True):
        np.testing.assert_allclose(part, np.multiply(share, [70, 20, 10]), atol=1)
    assert [sum(part) for part in counts] == [70, 15, 15]


def test_every_class_is_shared_out_to_within_one_row():
    rng = np.random.default_rng(0)
    for _ in range(200):
        parts = rng.dirichlet([3, 3, 3])
        y = np.repeat(np.arange(4), rng.integers(20, 60, 4))
        counts = [np.bincount(b, minlength=4) for _, b in data.split(y[:, None], y, parts=parts, stratify=True)]
        assert np.abs(np.array(counts) - np.outer(parts, np.bincount(y))).max() < 1


def test_a_split_depends_on_the_seed_alone():
    x, y = data.load_digits()
    first, again, other = (data.split(x, y, seed=seed)[0][1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parts": (0.5, 0.6)}, "wanted positive shares that add up to 1"),
        ({"parts": (1.0, np.nan)}, "wanted positive shares that add up to 1"),
        ({"parts": (1.0, 0.0)}, "wanted positive shares that add up to 1"),
        ({"y": np.zeros(9, int)}, "x has 10 rows and y 9"),
        ({"y": np.full(10, np.nan), "stratify": True}, "stratify=True wants one class a row"),
        ({"y": np.arange(10) / 7, "stratify": True}, "stratify=True wants one class a row"),
        ({"x": np.zeros((2, 1)), "y": np.zeros(2, int)}, "2 rows are too few"),
    ],
)
def test_splits_that_cannot_be_are_refused(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        data.split(**{"x": np.zeros((10, 1)), "y": np.zeros(10, int), **arguments})


def test_standardised_rows_have_mean_zero_and_deviation_one():
    x = (np.random.default_rng(0).standard_normal((500, 3)) * [1, 1e3, 1e-3] + [1e4, 0, 5]).astype(np.float32)
    z = data.Standardize.fit(x)(x)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.mean(axis=0, dtype=np.float64), 0, atol=1e-3)
    np.testing.assert_allclose(z.std(axis=0, dtype=np.float64), 1, rtol=1e-3)


def test_statistics_are_those_of_the_rows_they_were_fitted_on():
    train, dev = np.array([[0.0], [2.0]]), np.array([[10.0]])
    standardize = data.Standardize.fit(train)
    assert standardize(dev)[0, 0] == 9
    assert standardize(dev[:0]).shape == (0, 1)


def test_a_constant_feature_is_only_shifted():
    assert data.Standardize.fit(np.full((3, 1), 7.0))(np.array([[9.0]]))[0, 0] == 2
    tenth = data.Standardize.fit(np.full((1000, 1), 0.1))  # whose computed deviation is no exact 0
    np.testing.assert_allclose(tenth(np.array([[0.1], [0.2]])), [[0], [0.1]], atol=1e-15)


@pytest.mark.parametrize(("dtype", "becomes"), [(np.uint8, np.float32), (np.int64, np.float64), (bool, np.float32)])
def test_integers_become_floats(dtype, becomes):
    x = np.array([[0], [1], [1], [0]], dtype)
    z = data.Standardize.fit(x)(x)
    assert z.dtype == becomes
    assert z.ravel().tolist() == [-1, 1, 1, -1]


def test_standardize_names_what_is_wrong():
    with pytest.raises(ValueError, match="feature 1 holds NaN or infinity"):
        data.Standardize.fit(np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match="wanted at least one row"):
        data.Standardize.fit(np.zeros((0, 2)))
    with pytest.raises(ValueError, match=r"rows of shape \(3,\), wanted \(2,\)"):
        data.Standardize.fit(np.zeros((4, 2)))(np.zeros((1, 3)))
