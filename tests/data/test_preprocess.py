"""Squashing and scaling: values, what they are learnt from, and that they are kept and done to all later rows."""

import numpy as np
import pytest

from fastdl import checkpoint, data, recipes
from fastdl.cli import main
from fastdl.config import Config
from fastdl.data import preprocess
from fastdl.preparation import Preparation, Source, prepare

SEEDS = pytest.mark.parametrize("seed", range(3))


@pytest.mark.parametrize(("dtype", "becomes"), [(np.float32,) * 2, (np.float64,) * 2, (np.uint8, np.float32)])
def test_squashing_is_the_tangent_of_the_share(dtype, becomes):
    x = np.array([[0, 1, 3, 250]], dtype)
    z = data.Squash(5)(x)
    assert z.dtype == becomes
    np.testing.assert_allclose(z, np.tanh(x / 5.0), rtol=1e-6)


def test_squashing_bounds_whatever_there_is():
    x = np.array([-np.inf, -3e38, -1e-30, 3e38, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(
        data.Squash(1e-3)(x), np.array([-1, -1, np.float32(-1e-30) / 1e-3, 1, 1, np.nan], "f")
    )


@pytest.mark.parametrize("scale", [0, -1, np.nan, np.inf])
def test_squashing_wants_a_scale(scale):
    with pytest.raises(ValueError, match=f"Squash: scale is {float(scale)}, wanted more than 0"):
        data.Squash(scale)


@pytest.mark.parametrize("block", [8, 100, 1 << 20])
def test_bounds_become_zero_and_one(tmp_path, monkeypatch, block):
    monkeypatch.setattr(preprocess, "BLOCK", block)
    x = np.random.default_rng(0).standard_normal((101, 3)) * [1, 1e6, 0] + [5, 0, 7]
    np.save(tmp_path / "x.npy", x)
    for given in (x, data.load_npy(tmp_path / "x.npy"), data.Rows(x)):
        scale = data.MinMax.fit(given)
        np.testing.assert_array_equal([scale.least, scale.greatest], [x.min(axis=0), x.max(axis=0)])
    z = scale(x)
    np.testing.assert_array_equal([z.min(axis=0), z.max(axis=0)], [[0, 0, 0], [1, 1, 0]])
    assert scale(np.full((1, 3), 9.0))[0, 2] == 2  # what never changed is only shifted


def test_pooled_statistics_are_those_of_all_features_together():
    x = np.random.default_rng(0).standard_normal((50, 4, 3)) * [1, 5, 0] + [2, -7, 3]
    standardize, bounds = data.Standardize.fit(x).pooled(), data.MinMax.fit(x).pooled()
    for found, right in (
        (standardize.mean, x.mean()),
        (standardize.deviation, x.std()),
        (bounds.least, x.min()),
        (bounds.greatest, x.max()),
    ):
        np.testing.assert_allclose(found, np.full((4, 3), right), rtol=1e-12)


def test_bounds_that_cannot_be_are_told():
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"MinMax\.fit: feature 1 holds NaN or infinity"):
            data.MinMax.fit(np.array([[1.0, 2.0], [1.0, bad]]))
    with pytest.raises(ValueError, match=r"MinMax\.fit: x has shape \(0, 2\), wanted at least one row"):
        data.MinMax.fit(np.zeros((0, 2)))
    with pytest.raises(ValueError, match=r"MinMax: x has rows of shape \(3,\), wanted \(2,\)"):
        data.MinMax.fit(np.zeros((4, 2)))(np.zeros((1, 3)))


def test_a_chain_does_one_after_the_other():
    x = np.random.default_rng(0).standard_cauchy((500, 2)) * [1, 1e6]
    squash = data.Squash(1e6)
    standardize = data.Standardize.fit(data.Rows(x, prepare=squash))
    z = data.Chain((squash, standardize))(x)
    np.testing.assert_array_equal(z, standardize(np.tanh(x / 1e6)))
    np.testing.assert_allclose([z.mean(axis=0), z.std(axis=0)], [[0, 0], [1, 1]], atol=1e-12)
    assert data.Chain(())(x) is x


# ---------------------------------------------------------------- what it is good for


def two_scales(seed, rows=600):
    """Two classes: whether two features, of scales 1 and 1e6, have the same sign."""
    z = np.random.default_rng(seed).standard_normal((rows, 2))
    return z * [1, 1e6], (z[:, 0] * z[:, 1] > 0).astype(np.int64)


def dev_accuracy(folder, x, y, **chosen):
    """Of a run on these rows."""
    np.savez(folder / "data.npz", x=x, y=y)
    network = {"layers": (32,), "dropout": 0.0, "batch_norm": False, "learning_rate": 0.03}
    return recipes.train(Config(data=str(folder / "data.npz"), epochs=60, **network, **chosen)).dev["accuracy"]


@SEEDS
def test_features_of_scales_1_and_1e6_train_only_if_they_are_scaled(tmp_path, seed):
    rows = two_scales(seed)
    assert dev_accuracy(tmp_path, *rows, scaling="none", seed=seed) < 0.6
    assert dev_accuracy(tmp_path, *rows, scaling="minmax", seed=seed) > 0.8
    assert dev_accuracy(tmp_path, *rows, seed=seed) > 0.93


@SEEDS
def test_a_wide_range_trains_only_if_it_is_squashed_first(tmp_path, seed):
    x, y = two_scales(seed)
    x[:, 1] = 1e6 * np.sinh(4 * x[:, 1] / 1e6)  # most are small beside a few that are a thousand times as large
    accuracy = dev_accuracy(tmp_path, x, y, squash=5e6, seed=seed)
    assert accuracy > 0.93
    assert dev_accuracy(tmp_path, x, y, seed=seed) < accuracy - 0.2


# ---------------------------------------------------------------- learnt from the training part, kept, done to all

CHOICES = [
    {},
    {"scaling": "minmax"},
    {"scaling": "none"},
    {"squash": 3.0},
    {"squash": 3.0, "scaling": "minmax"},
    {"squash": 3.0, "scaling": "none"},
]


@pytest.mark.parametrize("chosen", CHOICES)
@pytest.mark.parametrize("form", ["npz", "npy", "csv"])
def test_nothing_of_dev_or_test_reaches_the_statistics(tmp_path, chosen, form):
    x, y = two_scales(0, 200)
    number = np.arange(200.0)
    rows = np.stack([x[:, 0], x[:, 1], number], axis=1)

    def prepared(rows, name):
        if form == "npz":
            np.savez(tmp_path / f"{name}.npz", x=rows, y=y)
            return prepare(Config(data=str(tmp_path / f"{name}.npz"), **chosen))
        if form == "npy":
            np.save(tmp_path / f"{name}.npy", rows)
            np.save(tmp_path / "y.npy", y)
            return prepare(Config(data=str(tmp_path / f"{name}.npy"), target=str(tmp_path / "y.npy"), **chosen))
        lines = [
            "a,b,number,y",
            *(",".join(map(repr, [*map(float, row), int(c)])) for row, c in zip(rows, y, strict=True)),
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
        return prepare(Config(data=str(tmp_path / f"{name}.csv"), target="y", **chosen))

    (numbers, _), *_ = data.split(number, y, stratify=True)
    others = np.setdiff1d(number, numbers).astype(int)
    spoilt = rows.copy()
    spoilt[others] = 1e7 * np.random.default_rng(1).standard_normal((len(others), 3))
    first, second = prepared(rows, "first"), prepared(spoilt, "second")
    assert same(first.how.kept()[1], second.how.kept()[1])
    np.testing.assert_array_equal(first.train[0][:], second.train[0][:])
    assert (first.dev[0][:] != second.dev[0][:]).any()


def same(first, second):
    return {name: array.tobytes() for name, array in first.items()} == {n: a.tobytes() for n, a in second.items()}


@pytest.mark.parametrize("chosen", CHOICES)
def test_a_saved_run_prepares_later_rows_in_the_same_way(tmp_path, monkeypatch, chosen):
    monkeypatch.chdir(tmp_path)
    x, y = two_scales(0, 120)
    np.savez("data.npz", x=x, y=y)
    np.savez("later.npz", x=x[:9] * 3, y=y[:9])
    flags = [f"--{name}={value}" for name, value in chosen.items()]
    assert main(["train", "--data", "data.npz", "--out", "run", "--epochs", "1", "--layers", "4", *flags]) == 0
    (train, _), *_ = data.split(x, y, stratify=True)
    squashed = np.tanh(train / 3) if "squash" in chosen else train
    arrays, _ = checkpoint.load("run/model.safetensors")
    expected = {
        "standardize": {"standardize/mean": squashed.mean(axis=0), "standardize/deviation": squashed.std(axis=0)},
        "minmax": {"minmax/least": squashed.min(axis=0), "minmax/greatest": squashed.max(axis=0)},
        "none": {},
    }[chosen.get("scaling", "standardize")]
    expected |= {"squash/scale": 3.0} if "squash" in chosen else {}
    found = {name: array for name, array in arrays.items() if name.startswith(("standardize/", "minmax/", "squash/"))}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12)
    # By hand, from what the file holds.
    z = np.tanh(x[:9] * 3 / 3) if "squash" in chosen else x[:9] * 3
    if "standardize/mean" in found:
        z = (z - found["standardize/mean"]) / found["standardize/deviation"]
    if "minmax/least" in found:
        z = (z - found["minmax/least"]) / (found["minmax/greatest"] - found["minmax/least"])
    run = recipes.load(tmp_path / "run")
    np.testing.assert_allclose(run.how.inputs(Source(None, x[:9] * 3)), z, rtol=1e-12)
    assert main(["predict", "run", "--data", "later.npz"]) == 0
    table = data.read_csv("predictions.csv")
    probabilities = np.stack([table["probability of 0"], table["probability of 1"]], axis=1)
    np.testing.assert_array_equal(probabilities, run.trainer.predict_proba(z).astype(np.float64))


def test_columns_categories_and_classes_are_kept_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lines = [f"{a:.3f},{'red' if a > 0 else 'blue'},{'yes' if a > 0.3 else 'no'}" for a in rng.standard_normal(80)]
    (tmp_path / "data.csv").write_text("\n".join(["size,colour,bought", *lines]))
    command = ["train", "--data", "data.csv", "--target", "bought", "--out", "run", "--epochs", "2", "--squash", "2"]
    assert main(command) == 0
    how = recipes.load(tmp_path / "run").how
    assert how.classes == ("no", "yes")
    assert [(column.name, column.categories) for column in how.encoder.columns] == [
        ("size", None),
        ("colour", ("blue", "red")),
    ]
    assert [type(step) for step in how.scaling.steps] == [data.Squash, data.Standardize]
    assert how.scaling.steps[0].scale == 2


def test_files_from_before_there_was_a_choice_are_standardised():
    texts = {"task": "classification", "classes": '["a", "b"]'}
    arrays = {
        "standardize/mean": np.array([1.0, 2.0]),
        "standardize/deviation": np.array([2.0, 0.0]),
        "target/mean": np.zeros(1),
        "target/deviation": np.ones(1),
        "0.weight": np.ones((2, 2)),
    }
    how = Preparation.of(texts, arrays)
    assert how.shape == (2,)
    np.testing.assert_array_equal(how.inputs(Source(None, np.array([[5.0, 2.5]]))), [[2.0, 0.5]])


def test_nan_is_told_whatever_the_scaling(tmp_path):
    x, y = two_scales(0, 100)
    x[::3, 1] = np.nan
    np.savez(tmp_path / "data.npz", x=x, y=y)
    for chosen in CHOICES:
        with pytest.raises(ValueError, match="NaN or infinity"):
            prepare(Config(data=str(tmp_path / "data.npz"), **chosen))
