"""Augmentation: what each transformation does, what it depends on, and what it is good for."""

import numpy as np
import pytest
from scipy import ndimage
from test_resume import PressAfter

import fastdl as fd
from fastdl import nn
from fastdl.data import augment
from fastdl.data.augment import Flip, Mixup, Noise, Rotate, Shift
from fastdl.schedules import Cosine

LAYOUTS = {"hw": (4, 5), "chw": (3, 4, 5), "hwc": (4, 5, 3)}
SEEDS = pytest.mark.parametrize("seed", range(3))


def images(n=40, shape=(4, 5), seed=0, dtype=np.float32):
    x = np.random.default_rng(seed).standard_normal((n, *shape))
    return (100 * x).astype(dtype)


def changed(transformation, x, **where):
    """x under one transformation, whose labels are kept."""
    labels = np.arange(len(x))
    made, kept = augment.apply([transformation], x, labels, **where)
    np.testing.assert_array_equal(kept, labels)
    assert made.shape == x.shape
    return made


# ---------------------------------------------------------------- each against something independent


@SEEDS
@pytest.mark.parametrize("axis", ["w", "h"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_half_of_the_images_are_mirrored(layout, axis, seed):
    x = images(500, LAYOUTS[layout])
    made = changed(Flip(axis, layout=layout), x, seed=seed)
    mirrored = np.flip(x, 1 + layout.index(axis))
    same, other = ((made == side).all(axis=tuple(range(1, x.ndim))) for side in (x, mirrored))
    assert (same ^ other).all()
    assert 200 < other.sum() < 300


@SEEDS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_every_shift_is_one_of_the_rolled_images(layout, seed, dtype):
    x = images(500, LAYOUTS[layout], dtype=dtype)
    h, w = (1 + layout.index(axis) for axis in "hw")
    made = changed(Shift(2, fill=7, layout=layout), x, seed=seed)
    assert made.dtype == dtype
    border = [(0, 0)] + [(2, 2) if axis in (h, w) else (0, 0) for axis in range(1, x.ndim)]
    inner = tuple(slice(low, -high or None) for low, high in border)
    padded = np.pad(x, border, constant_values=7)
    found = {
        (down, right): (made == np.roll(padded, (down, right), (h, w))[inner]).all(axis=tuple(range(1, x.ndim)))
        for down in range(-2, 3)
        for right in range(-2, 3)
    }
    assert (sum(found.values()) == 1).all()
    counts = [matches.sum() for matches in found.values()]  # 20 each, on average
    assert 5 <= min(counts) <= max(counts) <= 40


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (5, 8), (8, 3), (28, 28)])
@pytest.mark.parametrize("fill", [0, -3.5])
def test_turning_is_that_of_scipy(dtype, shape, fill):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 2, *shape)).astype(dtype)
    angles = rng.uniform(-np.pi, np.pi, 30)
    made = augment.turned(x, angles, fill)
    assert made.dtype == dtype
    for before, angle, after in zip(x, angles, made, strict=True):
        right = ndimage.rotate(
            before.astype(np.float64),
            np.degrees(angle),
            axes=(2, 1),
            reshape=False,
            order=1,
            mode="grid-constant",
            cval=fill,
        )
        np.testing.assert_allclose(after, right, atol=1e-12 if dtype == np.float64 else 2e-5)


def test_a_turn_by_nothing_changes_nothing():
    x = images(10, (7, 6))
    np.testing.assert_array_equal(changed(Rotate(0), x), x)


@SEEDS
def test_angles_are_even_and_within_their_bounds(seed):
    plane = np.broadcast_to(np.arange(9.0), (2000, 9, 9)).copy()
    made = changed(Rotate(30), plane, seed=seed)
    angles = np.degrees(np.arctan2(made[:, 4, 4] - made[:, 5, 4], made[:, 4, 5] - made[:, 4, 4]))
    assert -30 < angles.min() < -29
    assert 29 < angles.max() < 30
    assert abs(angles.mean()) < 1.5
    assert angles.std() == pytest.approx(60 / np.sqrt(12), rel=0.05)


@SEEDS
def test_noise_is_normal_of_its_deviation(seed):
    x = images(200, (10, 7), dtype=np.float64)
    noise = (changed(Noise(0.5), x, seed=seed) - x) / 0.5
    assert noise.mean() == pytest.approx(0, abs=0.03)
    assert noise.std() == pytest.approx(1, rel=0.02)
    assert (noise**4).mean() == pytest.approx(3, abs=0.3)
    by_row = noise.reshape(200, -1)
    assert np.abs(np.corrcoef(by_row[:, ::7].T) - np.eye(10)).max() < 0.35
    assert np.abs(np.corrcoef(by_row[:20]) - np.eye(20)).max() < 0.5
    assert len(np.unique(noise)) == noise.size


@SEEDS
@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_rows_and_targets_are_mixed_in_one_share(alpha, seed):
    n = 2000
    x, y = np.eye(n, dtype=np.float32), np.eye(3)[np.arange(n) % 3]
    mixed, targets = augment.apply([Mixup(alpha)], x, y, seed=seed)
    assert (mixed.dtype, targets.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(targets, mixed @ y, atol=1e-6)
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-6)
    assert ((mixed > 0).sum(axis=1) <= 2).all()
    shares = np.diagonal(mixed).astype(np.float64)
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)
    others = mixed - np.diag(np.diagonal(mixed))
    partners = others.argmax(axis=1)[others.max(axis=1) > 0]
    assert len(np.unique(partners)) > 0.5 * len(partners)  # from all rows: 63 % of them, on average
    assert partners.min() < 20
    assert partners.max() >= n - 20


def test_mixed_rows_are_mixed_as_the_transformations_before_leave_them():
    x, y = images(30), np.eye(30)
    before, _ = augment.apply([Noise(5.0)], x, y, seed=4, epoch=2)
    mixed, shares = augment.apply([Noise(5.0), Mixup(1.0)], x, y, seed=4, epoch=2)
    np.testing.assert_allclose(mixed, np.tensordot(shares, before, 1), atol=1e-3)


@pytest.mark.parametrize(
    ("transformation", "dtype", "becomes"),
    [
        (Flip(), np.uint8, np.uint8),
        (Shift(1), np.int64, np.int64),
        (Rotate(9), np.uint8, np.float32),
        (Noise(1), np.uint8, np.float32),
        (Noise(1), np.int64, np.float64),
        (Noise(1), np.float16, np.float32),
        (Rotate(9), np.float64, np.float64),
    ],
)
def test_integers_stay_where_pixels_only_move(transformation, dtype, becomes):
    assert changed(transformation, images(5, dtype=dtype)).dtype == becomes


# ---------------------------------------------------------------- on what it depends


class Halve(augment.Transformation):
    """One of one's own."""

    def change(self, x, draw):
        return x / 2


ALL = [
    Flip(shape=(4, 5)),
    Shift(1, shape=(4, 5)),
    Rotate(20, shape=(4, 5)),
    Noise(0.1),
    Halve(),
    Mixup(0.4),
]


@SEEDS
@pytest.mark.parametrize("wrap", [np.asarray, fd.data.Rows])
def test_a_row_depends_on_seed_epoch_and_its_number_alone(monkeypatch, wrap, seed):
    x, y = images(50).reshape(50, 20), np.eye(5)[np.arange(50) % 5]
    kept = x.copy(), y.copy()
    whole = augment.apply(ALL, x, y, seed=seed, epoch=3)
    order = np.random.default_rng(seed).permutation(50)
    monkeypatch.setattr(augment, "BLOCK", 7 * 20)
    for size in (1, 8, 50):
        for start in range(0, 50, size):
            rows = order[start : start + size]
            part = augment.apply(ALL, wrap(x), wrap(y), rows, seed=seed, epoch=3)
            for some, all_rows in zip(part, whole, strict=True):
                assert some.tobytes() == all_rows[rows].tobytes()
    for other in ({"seed": seed + 1, "epoch": 3}, {"seed": seed, "epoch": 4}):
        assert (augment.apply(ALL, x, y, **other)[0] != whole[0]).any(axis=1).all()
    for given, before in zip((x, y), kept, strict=True):
        np.testing.assert_array_equal(given, before)


def test_two_of_a_kind_draw_their_own():
    x, y = np.zeros((5, 3)), np.zeros(5)
    once, twice = (augment.apply([Noise(1)] * times, x, y)[0] for times in (1, 2))
    assert (np.abs(twice - 2 * once) > 1e-6).all()


def test_layouts_and_flat_rows_are_moved_alike():
    x = images(20, (3, 4, 5))
    for made in (Flip("h"), Shift(2, fill=1), Rotate(30)):
        of = {name: getattr(made, name) for name in ("axis", "pixels", "degrees", "fill") if hasattr(made, name)}
        first = changed(type(made)(**of, layout="chw"), x)
        last = changed(type(made)(**of, layout="hwc"), np.moveaxis(x, 1, 3))
        flat = changed(type(made)(**of, layout="chw", shape=(3, 4, 5)), x.reshape(20, 60))
        np.testing.assert_array_equal(np.moveaxis(last, 3, 1), first)
        np.testing.assert_array_equal(flat.reshape(first.shape), first)
        np.testing.assert_array_equal(changed(type(made)(**of), x[:, 1].copy()), first[:, 1])


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_of_any_size_hold_the_same_rows(shuffle):
    x, y = images(50).reshape(50, 20), np.eye(50)

    def epoch(size):
        made = fd.data.batches(x, y, size, seed=5, epoch=2, shuffle=shuffle, augment=ALL)
        return [np.concatenate(side) for side in zip(*made, strict=True)]

    for left, right in zip(epoch(7), epoch(50), strict=True):
        assert left.tobytes() == right.tobytes()


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Flip("c"), ValueError, "Flip: axis is 'c', wanted one of 'w', 'h'"),
        (lambda: Shift(1, layout="nhw"), ValueError, "Shift: layout is 'nhw', wanted one of 'hw', 'chw', 'hwc'"),
        (lambda: Shift(-1), ValueError, "Shift: pixels is -1, wanted 0 or more"),
        (lambda: Rotate(190), ValueError, "Rotate: degrees is 190, wanted 0 to 180"),
        (lambda: Noise(-0.1), ValueError, "Noise: deviation is -0.1, wanted 0 or more"),
        (lambda: Mixup(0), ValueError, "Mixup: alpha is 0, wanted more than 0"),
        (lambda: changed(Shift(4), images()), ValueError, "Shift: pixels is 4, wanted fewer than images of 4 x 5 have"),
        (
            lambda: changed(Flip(), np.zeros((2, 64))),
            ValueError,
            r"Flip: x has rows of shape \(64,\), wanted images with the axes 'hw'; pass layout=.* shape=",
        ),
        (
            lambda: changed(Flip(shape=(9, 8)), np.zeros((2, 64))),
            ValueError,
            r"rows of shape \(64,\), wanted images of shape \(9, 8\) with the axes 'hw'",
        ),
        (lambda: changed(Flip(), np.zeros((2, 3, 4, 5))), ValueError, r"rows of shape \(3, 4, 5\), wanted images"),
        (lambda: augment.apply(Flip(), np.zeros(2), np.zeros(2)), TypeError, r"must be a list of transformations"),
        (lambda: augment.apply([Flip], np.zeros(2), np.zeros(2)), TypeError, r"must be a list of transformations"),
        (lambda: augment.apply([], [1.0], np.zeros(1)), TypeError, "augment: x must be a numpy.ndarray, got list"),
        (lambda: augment.apply([], np.zeros(2), np.zeros(3)), ValueError, "x has 2 rows and y 3, wanted as many"),
        (lambda: augment.apply([], np.zeros(2), np.zeros(2), seed=-1), ValueError, "augment: seed is -1"),
        (
            lambda: augment.apply([Mixup(1)], np.zeros((2, 3)), np.array([0, 1])),
            TypeError,
            r"Mixup: y is int64 .* numbers of classes, .*np\.eye\(classes.*SoftmaxCrossEntropy\(soft=True\)",
        ),
        (lambda: augment.apply([augment.Transformation()], np.zeros(2), np.zeros(2)), NotImplementedError, "no change"),
        (lambda: changed(augment.OfImages(), images()), NotImplementedError, "OfImages has no move method"),
    ],
)
def test_mistakes_are_told(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---------------------------------------------------------------- in training


def trainer(seed=3, loss=None):
    model = nn.Sequential(nn.Linear(16), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.2), nn.Linear(10))
    return fd.Trainer(model, loss or fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam(0.01), seed=seed)


def digits():
    x, y = fd.data.load_digits()
    return x[:200] / 16, y[:200]


MOVES = [Shift(1, shape=(8, 8)), Rotate(10, shape=(8, 8)), Noise(0.1)]


@pytest.mark.parametrize("steps", [3, 8, 10])
@pytest.mark.parametrize("source", ["arrays", "parts", "mapped", "batches"])
def test_stopped_and_resumed_gives_the_same_bits(tmp_path, source, steps):
    x, y = digits()
    y = np.eye(10, dtype=np.float32)[y]
    if source == "mapped":
        np.save(tmp_path / "x.npy", x)
        x = fd.data.load_npy(tmp_path / "x.npy")
    rows = (x, y) if source != "batches" else (lambda epoch: fd.data.batches(x, y, 32, seed=9, epoch=epoch),)
    options = {"batch_size": 32, "progress": False, "augment": [*MOVES, Mixup(0.3)]}
    options |= {"accumulate": 2} if source == "parts" else {}
    loss = fd.losses.SoftmaxCrossEntropy(soft=True)
    whole, first, second = (trainer(seed, loss) for seed in (3, 3, 99))
    whole.fit(*rows, **options, epochs=2)
    assert first.fit(*rows, **options, epochs=2, callbacks=[PressAfter(steps)]).interrupted
    first.save(tmp_path / "file")
    second.load(tmp_path / "file")
    second.fit(*rows, **options, epochs=2 - second.epochs)
    assert second.weights.flat.tobytes() == whole.weights.flat.tobytes()
    assert second.history["loss"] == whole.history["loss"]


def test_the_trainer_and_a_loop_of_ones_own_see_the_same_rows():
    x, y = digits()
    made = trainer()
    made.fit(x, y, epochs=2, batch_size=50, augment=MOVES, progress=False)
    model = made.weights.model
    step = fd.TrainStep(model, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam(0.01), batch_size=50, seed=3)
    for epoch in range(2):
        for xb, yb in fd.data.batches(x, y, 50, seed=3, epoch=epoch, augment=MOVES):
            step(xb, yb)
    assert step.weights.flat.tobytes() == made.weights.flat.tobytes()


class Counting(augment.Transformation):
    """Counts the rows that it is given."""

    def __init__(self):
        self.rows = []

    def change(self, x, draw):
        self.rows.append(draw.rows)
        return x


def test_a_transformation_may_draw_as_often_as_it_likes():
    draws = [augment.Draw(np.arange(1000), 3, 1, 2) for _ in range(2)]
    first, second, third = draws[0].uniform(2), draws[0].normal(2), draws[0].uniform(2)
    for a, b in ((first, second), (first, third), (second, third)):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1
    np.testing.assert_array_equal(draws[1].uniform(2), first)
    np.testing.assert_array_equal(draws[1].normal(2), second)


def test_only_what_is_trained_on_is_changed():
    x, y = digits()
    dev = fd.data.load_digits()[0][200:300] / 16, fd.data.load_digits()[1][200:300]
    counting, made = Counting(), trainer()
    history = made.fit(x, y, validation=dev, epochs=3, batch_size=64, augment=[*MOVES, counting], progress=False)
    taken = np.concatenate(counting.rows[1:])  # the first two rows are tried before
    np.testing.assert_array_equal(np.sort(taken.reshape(3, 200)), np.tile(np.arange(200), (3, 1)))
    assert made.evaluate(*dev)["loss"] == history["val_loss"][-1]
    np.testing.assert_array_equal(made.predict(dev[0]), made.predict(dev[0]))


def test_rows_of_batches_are_numbered_through_the_epoch():
    x, y = digits()
    counting, made = Counting(), trainer()
    made.fit(lambda epoch: fd.data.batches(x, y, 60), epochs=2, augment=[counting], progress=False)
    np.testing.assert_array_equal(np.concatenate(counting.rows), np.tile(np.arange(200), 2))


class Cut(augment.Transformation):
    """Takes a feature away, which no transformation may."""

    def change(self, x, draw):
        return x[:, 1:]


@pytest.mark.parametrize(
    ("augmented", "loss", "error", "message"),
    [
        ([Flip()], None, ValueError, r"Flip: x has rows of shape \(64,\)"),
        (Flip(), None, TypeError, "augment must be a list of transformations"),
        ([Mixup(0.2)], None, TypeError, "numbers of classes, which cannot be mixed"),
        ([Cut()], None, ValueError, r"x has shape \(2, 63\)"),
        ([Mixup(0.2)], fd.losses.Hinge(), ValueError, "Hinge: the target of row . is .*, wanted -1 or 1"),
    ],
)
def test_what_is_not_for_such_rows_is_told_before_the_first_step(augmented, loss, error, message):
    x, y = digits()
    y = y if loss is None else 2 * np.eye(10)[y] - 1
    made = trainer(loss=loss)
    with pytest.raises(error, match=message):
        made.fit(x, y, augment=augmented, progress=False)
    assert made.step is None


@SEEDS
def test_augmented_training_makes_fewer_errors_with_two_hundred_digits(seed):
    x, y = fd.data.load_digits()
    train, dev = fd.data.split(x / 16, y, parts=(200 / 1797, 1597 / 1797), stratify=True, seed=seed)
    errors = []
    for augmented in ([], [Rotate(15, shape=(8, 8)), Noise(0.3)]):
        model = nn.Sequential(nn.Linear(64, activation="relu"), nn.Linear(10))
        made = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam(Cosine(0.03, 600)), seed=seed)
        made.fit(*train, epochs=150, batch_size=50, augment=augmented, progress=False)
        errors.append(1 - made.evaluate(*dev)["accuracy"])
    plain, augmented = errors
    assert augmented < 0.95 * plain
