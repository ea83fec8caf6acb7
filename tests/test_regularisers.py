"""Penalties and dropout: the course notes' formulas, and what each does to a network that overfits."""

from dataclasses import dataclass

import numpy as np
import pytest

import fastdl as fd
from fastdl import callbacks, nn, ops, optim
from fastdl.step import TrainStep

# ---------------------------------------------------------------- penalties


def notes_step(p, x, y, l2, l1, rate):
    """A step of descent on J = cross-entropy + l2 / (2 m) sum W^2 + l1 / (2 m) sum |W|; its cross-entropy."""
    m = len(x)
    hidden = np.tanh(x @ p["0.weight"] + p["0.bias"])
    z = hidden @ p["1.weight"] + p["1.bias"]
    share = np.exp(z - z.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    dz = (share - np.eye(z.shape[1])[y]) / m
    dhidden = (dz @ p["1.weight"].T) * (1 - hidden**2)
    grads = {"0.weight": x.T @ dhidden, "0.bias": dhidden.sum(axis=0)}
    grads |= {"1.weight": hidden.T @ dz, "1.bias": dz.sum(axis=0)}
    for name in ("0.weight", "1.weight"):
        grads[name] += l2 / m * p[name] + l1 / (2 * m) * np.sign(p[name])
    for name, grad in grads.items():
        p[name] -= rate * grad
    return -np.log(share[np.arange(m), y]).mean()


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("l2", "l1"), [(3.0, 0.0), (0.0, 0.4), (2.0, 0.5)])
def test_penalties_over_rows_are_those_of_the_notes(l2, l1, accumulate):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((80, 5)), rng.integers(0, 3, 80)
    model = nn.Sequential(nn.Linear(7, activation="tanh"), nn.Linear(3))
    ours = optim.SGD(0.1, weight_decay=l2, l1=l1 / 2, penalty_over_rows=True)
    made = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), ours, seed=4, dtype=np.float64)
    p = {name: array.copy() for name, array in made.build((5,)).params.items()}
    history = made.fit(x, y, epochs=3, batch_size=32, accumulate=accumulate, progress=False)
    for epoch in range(3):
        order, total = fd.random.permutation(80, seed=4, step=epoch), 0.0
        for batch in (order[:32], order[32:64], order[64:]):  # the last one is smaller
            total += len(batch) * notes_step(p, x[batch], y[batch], l2, l1, 0.1)
        squares, sizes = (sum(f(p[name]).sum() for name in ("0.weight", "1.weight")) for f in (np.square, np.abs))
        assert history["loss"][epoch] == pytest.approx(total / 80, rel=1e-12)
        # sum over batches of m / 80 times the penalty of m rows
        assert history["penalty"][epoch] == pytest.approx(3 / 80 * (l2 * squares + l1 * sizes) / 2, rel=1e-12)
    for name, array in made.weights.params.items():
        np.testing.assert_allclose(array, p[name], rtol=1e-12, atol=1e-13)


@dataclass(frozen=True)
class Custom(optim.Optimizer):
    """Descent by an optimizer of one's own, which knows nothing of rows."""

    def scalars(self, step):
        return ops.sgd_scalars(self.learning_rate(step), self.weight_decay, self.l1, self.decoupled)

    def update(self, params, grads, moments, **shared):
        ops.sgd_update(params, grads, **shared | {"scalars": shared["scalars"][:4]})


@pytest.mark.parametrize("decoupled", [False, True])
def test_an_optimizer_of_ones_own_takes_penalties_over_rows_too(decoupled):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 5), np.float32), rng.integers(0, 3, 50)
    bits = []
    for kind in (optim.SGD, Custom):
        given = kind(0.1, weight_decay=2.0, l1=0.1, decoupled=decoupled, penalty_over_rows=True)
        step = TrainStep(nn.Linear(3), fd.losses.SoftmaxCrossEntropy(), given, batch_size=32, seed=1)
        for rows in (slice(32), slice(32, 50), slice(32)):
            step(x[rows], y[rows])
        bits.append(step.weights.flat.tobytes())
    assert bits[0] == bits[1]
    plain = optim.Adam(weight_decay=0.1)
    assert plain.for_rows(7) is plain  # it costs nothing where it is not asked for


def few_digits(rows, seed):
    """So many digits to train on, and all others."""
    x, y = fd.data.load_digits()
    return fd.data.split(x / 16, y, parts=(rows / len(x), 1 - rows / len(x)), stratify=True, seed=seed)


def fitted(optimizer, seed, epochs=100):
    """What a network comes to on 200 digits, a fifth of whose labels are drawn: its history's last row, its weights."""
    train, dev = few_digits(200, seed)
    drawn = np.random.default_rng(seed)
    y = np.where(drawn.random(200) < 0.2, drawn.integers(0, 10, 200), train[1])
    model = nn.Sequential(nn.Linear(64, activation="relu"), nn.Linear(10))
    made = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), optimizer, seed=seed)
    options = {"epochs": epochs, "batch_size": 32, "measure_training": True, "progress": False}
    made.fit(train[0], y, validation=dev, **options)
    return made.history.rows[-1], made.weights.flat[: made.weights.decayed]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_l2_shrinks_weights_and_lowers_the_dev_loss_of_a_network_that_overfits(seed):
    plain, weights = fitted(optim.Adam(0.01), seed)
    held, shrunk = fitted(optim.Adam(0.01, weight_decay=0.01), seed)
    assert plain["val_loss"] > 20 * plain["train_loss"]  # it has learnt the wrong labels by heart
    assert np.linalg.norm(shrunk) < 0.5 * np.linalg.norm(weights)
    assert held["val_loss"] < 0.9 * plain["val_loss"]
    assert held["val_accuracy"] > plain["val_accuracy"]
    assert plain["penalty"] == 0
    assert held["penalty"] == pytest.approx(0.01 / 2 * np.square(shrunk, dtype=np.float64).sum(), rel=1e-6)


@pytest.mark.slow
def test_l1_and_elastic_net_leave_more_weights_near_zero_than_l2_at_the_same_train_error():
    rate = fd.schedules.Cosine(0.1, 100 * 7)
    penalties = {"l2": {"weight_decay": 5.7e-3}, "l1": {"l1": 2e-3}, "both": {"weight_decay": 1e-3, "l1": 1.5e-3}}
    losses, errors, near_zero = {}, {}, {}
    for name, penalty in penalties.items():
        found = [fitted(optim.SGD(rate, momentum=0.9, **penalty), seed) for seed in range(3)]
        losses[name] = np.mean([last["train_loss"] for last, _ in found])
        errors[name] = np.array([1 - last["train_accuracy"] for last, _ in found])
        near_zero[name] = np.array([(np.abs(weights) < 1e-3).mean() for _, weights in found])
    for name in ("l1", "both"):
        assert losses[name] == pytest.approx(losses["l2"], rel=0.05)
        np.testing.assert_allclose(errors[name], errors["l2"], atol=0.03)
        assert (near_zero[name] > 5 * near_zero["l2"]).all()
        assert (near_zero[name] > 0.6).all()


def test_decoupled_decay_is_l2_under_plain_descent_and_not_under_adam():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 20)), rng.integers(0, 3, 64)
    model = nn.Sequential(nn.Linear(16, activation="tanh"), nn.Linear(3))

    def after(optimizer):
        made = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), optimizer, dtype=np.float64)
        made.fit(x, y, epochs=50, batch_size=16, progress=False)
        return made.weights.flat[: made.weights.decayed]

    coupled, apart = (after(optim.SGD(0.05, weight_decay=0.1, decoupled=d)) for d in (False, True))
    np.testing.assert_allclose(apart, coupled, rtol=1e-10, atol=1e-13)
    l2, adamw = after(optim.Adam(0.01, weight_decay=0.1)), after(optim.AdamW(0.01, weight_decay=0.1))
    assert np.linalg.norm(adamw - l2) > 0.5 * np.linalg.norm(l2)


# ---------------------------------------------------------------- dropout


def passed(layer, x, train=True, seed=0, step=1):
    """What a layer makes of rows."""
    workspace = nn.Workspace(nn.Weights(layer, x.shape[1:], dtype=x.dtype), len(x))
    workspace.control.draw[:] = seed, 0, step, 0
    workspace.begin(len(x))
    return layer.forward(x, workspace.frame, train=train).copy()


@pytest.mark.parametrize("inverted", [True, False])
@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_dropout_in_training_is_on_average_what_prediction_makes_of_it(inverted, rate, seed):
    layer, n = nn.Dropout(rate, inverted=inverted), 40_000
    row = np.array([1.0, -2.0, 0.5, 3.0])
    x = np.tile(row, (n, 1))
    predicted = passed(layer, x[:1], train=False)[0]
    np.testing.assert_array_equal(predicted, row if inverted else (1 - rate) * row)
    deviation = np.abs(row) * np.sqrt(rate * (1 - rate) / n) / (1 - rate if inverted else 1)
    assert (np.abs(passed(layer, x, seed=seed).mean(axis=0) - predicted) < 4 * deviation).all()


def test_every_row_of_a_batch_and_every_step_has_a_mask_of_its_own():
    x = np.ones((500, 64), np.float32)
    masks = [passed(nn.Dropout(0.5), x, step=step) > 0 for step in (1, 2)]
    assert len({row.tobytes() for mask in masks for row in mask}) == 1000
    seldom = np.abs(masks[0].mean(axis=1) - 0.5).max()
    assert 0 < seldom < 0.5  # not the same number of units in each


def test_prediction_is_untouched_by_dropout_of_inputs_and_of_every_layer():
    x = np.random.default_rng(0).standard_normal((30, 12), np.float32)
    bits = []
    for rates in ((0.3, 0.5, 0.1), (0.0, 0.0, 0.0)):
        first, second, third = map(nn.Dropout, rates)
        model = nn.Sequential(first, nn.Linear(9), second, nn.Tanh(), third, nn.Linear(4))
        made = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), optim.Adam(), seed=3)
        made.build((12,))
        bits.append(made.predict(x).tobytes())
    assert bits[0] == bits[1]


@pytest.mark.parametrize("inverted", [True, False])
def test_both_forms_train(inverted):
    model = nn.Sequential(
        nn.Dropout(0.1, inverted=inverted),
        nn.Linear(64, activation="relu"),
        nn.Dropout(0.4, inverted=inverted),
        nn.Linear(10),
    )
    train, dev = few_digits(600, 0)
    made = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), optim.Adam(3e-3))
    made.fit(*train, epochs=25, batch_size=32, progress=False)
    assert made.evaluate(*dev)["accuracy"] > 0.92


# ---------------------------------------------------------------- what is trained on, measured


def dropping():
    model = nn.Sequential(nn.Linear(32, activation="relu"), nn.Dropout(0.5), nn.Linear(10))
    return fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), optim.Adam(0.01))


def test_the_training_set_is_measured_with_dropout_off():
    train, dev = few_digits(300, 0)
    made, same = dropping(), dropping()
    history = made.fit(*train, validation=dev, epochs=10, batch_size=32, measure_training=True, progress=False)
    same.fit(*train, epochs=10, batch_size=32, progress=False)
    found = made.evaluate(*train)
    assert (history["train_loss"][-1], history["train_accuracy"][-1]) == (found["loss"], found["accuracy"])
    assert history["loss"][-1] > 1.5 * history["train_loss"][-1]  # half of the units were off
    assert made.weights.flat.tobytes() == same.weights.flat.tobytes()
    assert "train_loss" not in same.history.rows[-1]
    by_batch = dropping()
    batches = tuple(fd.data.batches(*train, 32, seed=0))
    by_batch.fit(batches, epochs=1, measure_training=True, progress=False)
    x, y = (np.concatenate(side) for side in zip(*batches, strict=True))
    assert by_batch.history["train_loss"] == [by_batch.evaluate(x, y)["loss"]]


def test_callbacks_can_watch_the_training_set():
    train, _ = few_digits(200, 0)
    made = dropping()
    made.optimizer = optim.SGD(lambda step: 0.0 if step > 30 else 0.1)  # after which nothing improves
    stopping = callbacks.EarlyStopping("train_loss", patience=2)
    made.fit(*train, epochs=30, batch_size=32, measure_training=True, callbacks=[stopping], progress=False)
    assert made.epochs == stopping.best_epoch + 3
    with pytest.raises(ValueError, match=r"no 'train_accuracy' unless it is measured; pass measure_training=True"):
        dropping().fit(*train, callbacks=[callbacks.EarlyStopping("train_accuracy")], progress=False)


def test_a_penalty_over_rows_is_told_alike_after_a_stop_within_the_epoch(tmp_path):
    class Stop(callbacks.Callback):
        def on_batch_end(self, batch, logs):
            self.trainer.stop_training = batch == 1

    (x, y), _ = few_digits(200, 0)
    penalised = optim.SGD(0.1, weight_decay=2.0, penalty_over_rows=True)
    whole, stopped, resumed = (
        fd.Trainer(nn.Sequential(nn.Linear(10)), fd.losses.SoftmaxCrossEntropy(), penalised) for _ in range(3)
    )
    whole.fit(x, y, epochs=1, batch_size=32, progress=False)
    stopped.fit(x, y, epochs=1, batch_size=32, callbacks=[Stop()], progress=False)
    stopped.save(tmp_path / "file")
    resumed.load(tmp_path / "file")
    resumed.fit(x, y, epochs=1, batch_size=32, progress=False)
    assert resumed.history["penalty"] == whole.history["penalty"]
