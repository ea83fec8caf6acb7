"""The range test: its curve, its proposal, and that it leaves no trace; and what rates do to a small network."""

import math

import numpy as np
import pytest

import fastdl as fd
from fastdl import nn, optim, schedules

BATCH = 64


def digits(seed=0):
    x, y = fd.data.load_digits()
    return fd.data.split(x / 16, y, parts=(0.8, 0.2), stratify=True, seed=seed)


def trainer(optimizer, seed=0):
    model = nn.Sequential(nn.Linear(32), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.1), nn.Linear(10))
    return fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), optimizer, seed=seed)


def bits(made):
    moments = [moment.tobytes() for moment in made.step.moments]
    history = [{k: v for k, v in row.items() if k != "rows_per_second"} for row in made.history.rows]
    flats = made.weights.flat.tobytes(), made.weights.averages_flat.tobytes()
    return flats, moments, made.step.count, made.step.drawn, made.epochs, history, made.rate_factor


OPTIMIZERS = {
    "SGD": optim.SGD,
    "momentum": lambda lr: optim.SGD(lr, momentum=0.9),
    "Adam": optim.Adam,
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_it_proposes_trains(name, seed):
    train, test = digits(seed)
    made = trainer(OPTIMIZERS[name](1e-9), seed)
    found = fd.find_learning_rate(made, *train, batch_size=BATCH)
    made.optimizer = OPTIMIZERS[name](found.proposed)
    made.fit(*train, epochs=8, batch_size=BATCH, progress=False)
    assert made.evaluate(*test)["accuracy"] > 0.93
    too_high = made.copy(lr=30 * found.proposed)
    too_high.fit(*train, epochs=2, batch_size=BATCH, progress=False)
    assert too_high.evaluate(*test)["accuracy"] < 0.5
    assert found.losses.min() < 0.6 * found.losses[9]
    assert found.proposed == pytest.approx(found.lowest / 10, rel=0.05)


def test_its_rates_rise_by_a_factor_and_its_losses_are_smoothed():
    """On a single row of one weight the loss of every step is known: (w - 1)^2, w -= lr 2 (w - 1)."""
    made = fd.Trainer(nn.Linear(1, bias=False), fd.losses.MSE(), optim.SGD(0.1), dtype=np.float64)
    x = y = np.ones((1, 1))
    made.build((1,)).params["weight"][:] = 3.0
    found = fd.find_learning_rate(made, x, y, low=1e-3, high=100.0, steps=60)
    rates = np.geomspace(1e-3, 100, 60)[: len(found.rates)]
    np.testing.assert_allclose(found.rates, rates, rtol=1e-12)
    w, average, losses = 3.0, fd.MovingAverage(0.9), []
    for rate in rates:
        losses.append(average.update((w - 1) ** 2))
        w -= rate * 2 * (w - 1)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-10)
    assert 20 < len(rates) < 60  # it stopped where the loss diverged
    assert found.lowest == rates[9 + np.argmin(losses[9:])]
    assert found.proposed == float(f"{found.lowest / 10:.1e}")
    assert 0.05 < found.proposed < 1  # beyond 1 each step makes the loss larger
    assert made.weights.params["weight"] == 3.0


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("source", ["arrays", "batches", "mapped"])
def test_it_leaves_no_trace(tmp_path, before, source):
    (x, y), _ = digits()
    x = x.astype(np.float32)[:300]
    y = y[:300]
    if source == "mapped":
        np.save(tmp_path / "x.npy", x)
        x = np.load(tmp_path / "x.npy", mmap_mode="r")
    rows = (x, y) if source != "batches" else (lambda epoch: fd.data.batches(x, y, BATCH, seed=5, epoch=epoch),)
    tested, plain = (trainer(optim.Adam(schedules.Cosine(0.01, 100)), seed=4) for _ in range(2))
    for made in (tested, plain):
        if before:
            made.fit(*rows, epochs=before, batch_size=BATCH, progress=False)
    state = bits(tested) if before else None
    fd.find_learning_rate(tested, *rows, batch_size=BATCH, steps=40)
    assert (bits(tested) if before else None) == state
    for made in (tested, plain):
        made.fit(*rows, epochs=2, batch_size=BATCH, progress=False)
    assert bits(tested) == bits(plain)


def test_a_training_that_has_begun_is_tested_from_where_it_is():
    """Its moments are those of the training: the first losses are those of the next steps at that rate."""
    (x, y), _ = digits()
    made = trainer(optim.SGD(0.1, momentum=0.9))
    made.fit(x, y, epochs=3, batch_size=BATCH, progress=False)
    found = fd.find_learning_rate(made, x, y, batch_size=BATCH, low=1e-5, high=1e-4, steps=20)
    assert max(found.losses) < 1.5 * made.history["loss"][-1]


def test_mistakes_are_told(tmp_path):
    (x, y), _ = digits()
    made = trainer(optim.Adam())
    for wrong in ({"low": 0.0}, {"low": 1.0, "high": 0.1}, {"high": math.inf}, {"steps": 19}):
        with pytest.raises(ValueError, match=r"find_learning_rate: got low=.*, wanted 0 < low < high, and at least 20"):
            fd.find_learning_rate(made, x, y, **wrong)
    with pytest.raises(ValueError, match=r"the loss is no number at a rate of 1e-05, after 0 steps; pass a smaller"):
        fd.find_learning_rate(made, np.full_like(x, np.nan), y)
    with pytest.raises(ValueError, match="training: x has shape"):
        fd.find_learning_rate(made, x[:5], y)
    with pytest.raises(RuntimeError, match="there are no weights yet"):
        _ = made.weights


def test_it_draws_itself(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    (x, y), _ = digits()
    found = fd.find_learning_rate(trainer(optim.Adam()), x, y, batch_size=BATCH)
    axes = figure.subplots()
    found.draw(axes)
    curve, lowest, proposed = axes.lines
    np.testing.assert_array_equal(curve.get_xydata(), np.stack([found.rates, found.losses], axis=1))
    assert lowest.get_xdata()[0] == found.lowest
    assert proposed.get_xdata()[0] == found.proposed
    assert (axes.get_xscale(), axes.get_xlabel(), axes.get_ylabel()) == ("log", "learning rate", "loss, smoothed")
    found.draw(tmp_path / "test.png")
    assert (tmp_path / "test.png").stat().st_size > 10_000


# ---------------------------------------------------------------- a copy of a training


def test_a_copy_goes_on_by_itself_and_with_the_same_bits():
    (x, y), _ = digits()
    options = {"epochs": 1, "batch_size": BATCH, "progress": False}
    made = trainer(optim.Adam(0.01))
    made.fit(x, y, **options)
    made.rate_factor = 0.5
    before = bits(made)
    again, other = made.copy(), made.copy(lr=0.005)
    for copied in (again, other):
        copied.fit(x, y, **options)
    assert bits(made) == before
    made.fit(x, y, **options)
    assert bits(again) == bits(made)
    assert other.weights.flat.tobytes() == made.weights.flat.tobytes()  # half of 0.01
    assert (other.rate_factor, other.history["learning_rate"]) == (1.0, [0.01, 0.005])
    other = made.copy(lr=0.5)
    other.fit(x, y, **options)
    assert bits(again) == bits(made)


def test_a_copy_may_be_made_before_anything():
    (x, y), _ = digits()
    made = trainer(optim.Adam(0.01), seed=7)
    made.copy().fit(x, y, epochs=1, progress=False)
    plain = trainer(optim.Adam(0.01), seed=7)
    for each in (made, plain):
        each.fit(x, y, epochs=1, progress=False)
    assert bits(made) == bits(plain)


# ---------------------------------------------------------------- what rates do

STEPS = 8  # an epoch, below


def loss_after(rate, epochs, seed):
    """Of a small network that learns a smooth function with Adam: the mean over the last ten epochs."""
    x = np.random.default_rng(100).uniform(-1, 1, (32 * STEPS, 2)).astype(np.float32)
    y = np.sin(3 * x[:, :1]) * np.cos(2 * x[:, 1:])
    model = nn.Sequential(nn.Linear(32), nn.Tanh(), nn.Linear(32), nn.Tanh(), nn.Linear(1))
    made = fd.Trainer(model, fd.losses.MSE(), optim.Adam(rate), seed=seed)
    history = made.fit(x, y, epochs=epochs, batch_size=32, progress=False)
    return np.mean(history["loss"][-10:])


@pytest.mark.slow
@pytest.mark.numba  # the reference kernels would take minutes
@pytest.mark.parametrize("seed", range(3))
def test_adam_needs_no_decay_but_a_tenfold_drop_gives_one_more_fall(seed):
    epochs = 700
    constant = loss_after(0.01, epochs, seed)
    assert constant < loss_after(schedules.InverseTime(0.01, 1.0, STEPS), epochs, seed) / 3
    assert constant < loss_after(schedules.Exponential(0.01, 0.95, STEPS), epochs, seed) / 3
    late = epochs * STEPS * 4 // 5
    dropped = schedules.Constant(0.01, late) >> schedules.Constant(0.001)
    assert loss_after(dropped, epochs, seed) < constant / 2


@pytest.mark.slow
@pytest.mark.numba
@pytest.mark.parametrize("seed", range(3))
def test_a_factor_at_every_step_is_too_fast_or_without_effect(seed):
    """Over 8,000 steps; 0.9995 leaves 2 % of the rate, 0.999995 leaves 96 %."""
    constant = loss_after(0.001, 1000, seed)
    assert loss_after(schedules.Exponential(0.001, 0.9995), 1000, seed) > 2 * constant
    assert loss_after(schedules.Exponential(0.001, 0.999995), 1000, seed) == pytest.approx(constant, rel=0.2)
