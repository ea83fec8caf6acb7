"""Moving averages: of figures, and of the weights of a training."""

import math
import signal

import numpy as np
import pytest

import fastdl as fd
from fastdl import MovingAverage, callbacks, nn, optim
from fastdl.callbacks import AverageWeights

# ---------------------------------------------------------------- of figures


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_weighted_mean_that_it_says(beta, seed):
    """v_t = (1 - b) sum of b^(t - i) x_i; corrected, the mean with weights b^(t - i)."""
    values = np.random.default_rng(seed).normal(5, 1, 50)
    average = MovingAverage(beta)
    for t in range(1, 51):
        found = average.update(values[t - 1])
        weights = beta ** np.arange(t - 1, -1, -1.0)
        assert average.v == pytest.approx((1 - beta) * (weights * values[:t]).sum(), rel=1e-12)
        assert found == average.value == pytest.approx(np.average(values[:t], weights=weights), rel=1e-12)
    assert average.count == 50


@pytest.mark.parametrize(("beta", "steps"), [(0.9, 10), (0.98, 50), (0.999, 1000)])
def test_it_remembers_about_one_over_one_minus_beta(beta, steps):
    """After so many steps the weight of a value has fallen to 1 / e of what it was, and not sooner."""
    average = MovingAverage(beta)
    average.update(1.0)
    new = average.v
    for _ in range(steps):
        average.update(0.0)
    assert average.v / new == pytest.approx(1 / math.e, rel=0.06 if beta == 0.9 else 0.012)


def test_uncorrected_it_begins_near_zero():
    average = MovingAverage(0.99)
    assert [average.update(7.0) for _ in range(3)] == pytest.approx([7.0] * 3, rel=1e-14)
    assert average.v == pytest.approx(7 * (1 - 0.99**3), rel=1e-14)
    assert average.v < 0.21


def test_arrays_are_averaged_by_element_and_left_alone():
    x = np.arange(6.0).reshape(2, 3)
    average = MovingAverage(0.5)
    average.update(x)
    x[:] = 9
    np.testing.assert_allclose(average.value, np.arange(6.0).reshape(2, 3), rtol=1e-15)
    np.testing.assert_allclose(average.update(x), (np.arange(6.0).reshape(2, 3) + 18) / 3, rtol=1e-15)


@pytest.mark.parametrize("seed", range(3))
def test_noise_falls_to_the_root_of_what_is_remembered(seed):
    """The deviation of the average of independent values is sqrt((1 - b) / (1 + b)) of theirs."""
    values = np.random.default_rng(seed).normal(0, 1, (400, 2000))
    average = MovingAverage(0.9)
    for row in values:
        average.update(row)
    assert average.value.std() == pytest.approx(math.sqrt(0.1 / 1.9), rel=0.1)


def test_mistakes_are_told():
    for beta in (-0.1, 1.0, math.nan):
        for make in (MovingAverage, AverageWeights):
            with pytest.raises(ValueError, match=f"{make.__name__}: beta is {beta}, wanted at least 0 and below 1"):
                make(beta)
    with pytest.raises(RuntimeError, match=r"there is no average before the first value; call update\(x\)"):
        _ = MovingAverage(0.9).value


# ---------------------------------------------------------------- of weights


def data(rows=100, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, 5)), rng.integers(0, 3, rows)


def trainer(lr=0.05, **options):
    model = nn.Sequential(nn.Linear(8), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.2), nn.Linear(3))
    options = {"dtype": np.float64} | options
    return fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), optim.Adam(lr), **options)


def flats(made):
    return made.weights.flat.tobytes(), made.weights.averages_flat.tobytes()


class Watch(callbacks.Callback):
    """Keeps the weights after every step, and those that are in place after every epoch."""

    def __init__(self):
        self.steps, self.averages, self.in_place = [], [], []

    def on_batch_end(self, batch, logs):
        self.steps.append(self.trainer.weights.flat.copy())
        self.averages.append(self.trainer.weights.averages_flat.copy())

    def on_epoch_end(self, epoch, logs):
        self.in_place.append(flats(self.trainer))


def averaged(arrays, beta):
    weights = beta ** np.arange(len(arrays) - 1, -1, -1.0)
    return np.average(arrays, axis=0, weights=weights)


OPTIONS = {"batch_size": 30, "progress": False}  # 4 steps an epoch


@pytest.mark.parametrize("beta", [0.0, 0.8, 0.99])
def test_what_is_left_is_the_average_over_all_steps(beta):
    made, plain, watch, alone = trainer(), trainer(), Watch(), Watch()
    made.fit(*data(), epochs=3, callbacks=[AverageWeights(beta), watch], **OPTIONS)
    plain.fit(*data(), epochs=3, callbacks=[alone], **OPTIONS)
    np.testing.assert_allclose(made.weights.flat, averaged(watch.steps, beta), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(made.weights.averages_flat, averaged(watch.averages, beta), rtol=1e-11, atol=1e-13)
    assert (made.weights.averages["1.variance"] > 0).all()
    # The training itself is the one without.
    assert [step.tobytes() for step in watch.steps] == [step.tobytes() for step in alone.steps]
    assert [m.tobytes() for m in made.step.moments] == [m.tobytes() for m in plain.step.moments]
    assert beta == 0 or not np.allclose(made.weights.flat, plain.weights.flat, rtol=1e-3)


def test_a_loop_of_ones_own_averages_weights_too():
    made, average = trainer(), MovingAverage(0.9)
    made.fit(*data(), epochs=2, callbacks=[AverageWeights(0.9)], **OPTIONS)
    model = nn.Sequential(nn.Linear(8), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.2), nn.Linear(3))
    step = fd.TrainStep(model, fd.losses.SoftmaxCrossEntropy(), optim.Adam(0.05), batch_size=30, dtype=np.float64)
    for epoch in range(2):
        for x, y in fd.data.batches(*data(), 30, seed=0, epoch=epoch):
            step(x, y)
            average.update(step.weights.flat)
    step.weights.flat[:] = average.value
    np.testing.assert_allclose(step.weights.flat, made.weights.flat, rtol=1e-9, atol=1e-12)


def test_what_is_validated_chosen_and_restored_is_the_average():
    dev = data(60, seed=1)
    made, watch = trainer(0.2), Watch()
    stopping = callbacks.EarlyStopping(patience=3)
    history = made.fit(*data(), epochs=30, validation=dev, callbacks=[AverageWeights(0.9), stopping, watch], **OPTIONS)
    assert stopping.best_epoch < len(history) - 1
    assert flats(made) == watch.in_place[stopping.best_epoch]
    assert made.evaluate(*dev)["loss"] == history["val_loss"][stopping.best_epoch]


class PressAfter(callbacks.Callback):
    def __init__(self, steps):
        self.left = steps

    def on_batch_end(self, batch, logs):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 8, 11])
def test_interrupted_at_any_step_and_resumed(tmp_path, steps):
    options = OPTIONS | {"validation": data(50, seed=1)}
    whole, first, second = (trainer(dtype=np.float32) for _ in range(3))
    whole.fit(*data(), epochs=3, callbacks=[AverageWeights(0.9)], **options)
    assert first.fit(*data(), epochs=3, callbacks=[AverageWeights(0.9), PressAfter(steps)], **options).interrupted
    first.save(tmp_path / "file")
    second.load(tmp_path / "file")
    for made in (first, second):
        made.fit(*data(), epochs=3 - made.epochs, callbacks=[AverageWeights(0.9)], **options)
        assert flats(made) == flats(whole)
        assert made.history["val_loss"] == whole.history["val_loss"]


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_checkpoint_goes_on_with_the_weights_and_the_average(tmp_path, epochs):
    def watched(name):
        return [AverageWeights(0.9), callbacks.ModelCheckpoint(tmp_path / name)]

    whole, first, second = (trainer(dtype=np.float32) for _ in range(3))
    whole.fit(*data(), epochs=3, callbacks=watched("whole"), **OPTIONS)
    first.fit(*data(), epochs=epochs, callbacks=watched("first"), **OPTIONS)
    second.load(tmp_path / "first")
    assert flats(second) == flats(first)  # the average, to predict with
    second.fit(*data(), epochs=3 - epochs, callbacks=watched("second"), **OPTIONS)
    assert flats(second) == flats(whole)


def test_frozen_weights_stay():
    made = trainer()
    made.freeze("0.*")
    before = made.build((5,)).snapshot()
    made.fit(*data(), epochs=2, callbacks=[AverageWeights(0.9)], **OPTIONS)
    after = made.weights.snapshot()
    assert {name for name in before if (before[name] != after[name]).any()} == before.keys() - {"0.weight", "0.bias"}


@pytest.mark.parametrize("seed", range(3))
def test_averaged_weights_have_lower_noise(seed):
    """At a constant rate weights keep trembling around the least squares solution, their average hardly."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((1000, 10))
    y = x @ rng.standard_normal((10, 1)) + rng.standard_normal((1000, 1))
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    distance = {}
    for name, watched in {"last": [], "average": [AverageWeights(0.99)]}.items():
        made = fd.Trainer(nn.Linear(1, bias=False), fd.losses.MSE(), optim.SGD(0.05), dtype=np.float64, seed=seed)
        made.fit(x, y, epochs=10, batch_size=10, callbacks=watched, progress=False)
        distance[name] = np.linalg.norm(made.weights.params["weight"] - best)
    assert distance["average"] < distance["last"] / 3


def test_two_averages_are_refused():
    trainer = fd.Trainer(nn.Sequential(nn.Linear(1)), fd.losses.MSE(), fd.optim.SGD(0.1), device="cpu")
    x = np.ones((4, 1))
    both = [AverageWeights(0.9), AverageWeights(0.99)]
    with pytest.raises(ValueError, match="AverageWeights: there are two"):
        trainer.fit(x, x, epochs=1, batch_size=4, callbacks=both, progress=False)


def test_after_the_best_weights_have_come_back_a_further_fit_begins_with_them(tmp_path):
    x, y = np.random.default_rng(0).standard_normal((2, 24, 1))

    def trainer():
        return fd.Trainer(nn.Sequential(nn.Linear(1)), fd.losses.MSE(), fd.optim.SGD(0.01), device="cpu", seed=1)

    def watched():
        # The first epoch is "best".
        return [callbacks.EarlyStopping("val_loss", patience=2, mode="max"), AverageWeights(0.9)]

    one, other = trainer(), trainer()
    one.fit(x, y, validation=(x, y), epochs=9, batch_size=8, callbacks=watched(), progress=False)
    one.save(tmp_path / "best.safetensors")
    other.load(tmp_path / "best.safetensors")
    for each in (one, other):
        each.fit(x, y, epochs=1, batch_size=8, callbacks=[AverageWeights(0.9)], progress=False)
    assert one.weights.flat.tobytes() == other.weights.flat.tobytes()
