"""What batch norm does to a network: training, prediction, and where it ends."""

import numpy as np
import pytest

import fastdl as fd
from fastdl import nn, optim, random, recipes
from fastdl.config import Config
from fastdl.initializers import Normal, xavier_normal
from fastdl.trainer import SkippedRowWarning

seeds = pytest.mark.parametrize("seed", [0, 1, 2])


def final_loss(norm, start, rate, seed, width):
    """Of the digits, after eight epochs of plain descent by ten layers of tanh, with or without batch norm."""
    layers = []
    for _ in range(10):
        layers += [nn.Linear(width, bias=not norm, start=start), *([nn.BatchNorm()] if norm else []), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(10, start=start))
    made = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), optim.SGD(rate), device="cpu", seed=seed)
    x, y = fd.data.load_digits()
    return made.fit((x / 16)[:1024], y[:1024], epochs=8, batch_size=64, progress=False)["loss"][-1]


@seeds
@pytest.mark.parametrize("start", [Normal(0.1), Normal(1.0)], ids=["vanishes", "saturates"])
def test_a_deep_net_with_a_poor_start_learns_with_it_and_hardly_without(start, seed):
    assert final_loss(True, start, 0.3, seed, width=32) < 0.6
    assert final_loss(False, start, 0.3, seed, width=32) > 2.2  # guessing costs log 10 = 2.3


@seeds
def test_a_learning_rate_ten_times_larger_becomes_usable(seed):
    assert final_loss(False, xavier_normal, 0.08, seed, width=64) < 0.6
    assert final_loss(False, xavier_normal, 0.8, seed, width=64) > 5
    assert final_loss(True, xavier_normal, 0.8, seed, width=64) < 0.6


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_configuration_puts_it_between_product_and_activation(activation):
    layers = recipes.network(Config(layers=(8, 8), activation=activation, dropout=0.0), 3, (5,)).layers
    tanh = [nn.Tanh] if activation == "tanh" else []
    assert [type(layer) for layer in layers] == [nn.Linear, nn.BatchNorm, *tanh] * 2 + [nn.Linear]
    assert not layers[0].bias
    assert layers[0].activation is None
    assert layers[1].activation == (None if tanh else "relu")  # applied last, in the same pass
    plain = recipes.network(Config(layers=(8,), batch_norm=False, dropout=0.0), 3, (5,)).layers
    assert [type(layer) for layer in plain] == [nn.Linear, nn.Linear]
    assert plain[0].bias


def built(layer, width):
    """Weights of a layer in float64, and what runs it on up to 40 rows."""
    weights = nn.Weights(layer, (width,), dtype=np.float64)
    workspace = nn.Workspace(weights, 40)

    def forward(x, train=True):
        workspace.begin(len(x))
        return layer.forward(x, workspace.frame, train=train).copy()

    return weights, forward


@seeds
@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.1])
def test_gamma_and_beta_can_undo_it(seed, eps):
    rng = np.random.default_rng(seed)
    x = rng.normal(rng.normal(0, 10, 6), rng.uniform(0.1, 10, 6), (40, 6))
    weights, forward = built(nn.BatchNorm(eps=eps), 6)
    weights.params["beta"][...] = x.mean(axis=0)
    weights.params["gamma"][...] = x.std(axis=0)
    # Sigma is its own deviation; what eps adds to it shrinks x by a known factor.
    shrunk = x.std(axis=0) / np.sqrt(x.var(axis=0) + eps)
    want = x.mean(axis=0) + (x - x.mean(axis=0)) * shrunk
    np.testing.assert_allclose(forward(x), want, rtol=0, atol=1e-13 * np.abs(x).max())
    weights.params["gamma"][...] = np.sqrt(x.var(axis=0) + eps)
    np.testing.assert_allclose(forward(x), x, rtol=0, atol=1e-13 * np.abs(x).max())


@seeds
@pytest.mark.parametrize("correction", [0, 1])
def test_running_averages_take_the_variance_of_either_convention(seed, correction):
    x, y = np.random.default_rng(seed).standard_normal((40, 6)), np.arange(40) % 6
    model = nn.Sequential(nn.BatchNorm(correction=correction), nn.Linear(6))
    step = fd.TrainStep(
        model, fd.losses.SoftmaxCrossEntropy(), optim.SGD(0.0), batch_size=40, dtype=np.float64, device="cpu"
    )
    mean, variance = np.zeros(6), np.ones(6)
    for rows in (40, 7, 2):
        step(x[:rows], y[:rows])
        mean = 0.9 * mean + 0.1 * x[:rows].mean(axis=0)
        variance = 0.9 * variance + 0.1 * x[:rows].var(axis=0, ddof=correction)
        np.testing.assert_allclose(step.weights.averages["0.mean"], mean, rtol=0, atol=1e-14)
        np.testing.assert_allclose(step.weights.averages["0.variance"], variance, rtol=1e-13)


# ---------------------------------------------------------------- prediction


def small(rows=200, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(3, 2, (rows, 5)), rng.integers(0, 3, rows)


def trainer(seed=0):
    model = nn.Sequential(nn.Linear(8, bias=False), nn.BatchNorm(), nn.Tanh(), nn.Linear(3))
    options = {"device": "cpu", "dtype": np.float64, "seed": seed}
    return fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), optim.Adam(0.01), **options)


@seeds
def test_a_row_is_predicted_alike_alone_and_among_others(seed):
    x, y = small(seed=seed)
    made = trainer(seed=seed)
    made.fit(x, y, epochs=3, batch_size=32, progress=False)
    p, a = made.weights.params, made.weights.averages
    z = (x @ p["0.weight"] - a["1.mean"]) / np.sqrt(a["1.variance"] + 1e-5)
    want = np.tanh(p["1.gamma"] * z + p["1.beta"]) @ p["3.weight"] + p["3.bias"]
    together = made.predict(x)
    np.testing.assert_allclose(together, want, rtol=0, atol=1e-12)
    for row in range(0, 200, 20):
        alone = made.predict(x[row : row + 1])
        np.testing.assert_allclose(alone, together[row : row + 1], rtol=0, atol=1e-13)
        far = made.predict(np.concatenate([x[row : row + 1], x[:9] + 1000]))  # of quite another mean
        np.testing.assert_allclose(far[:1], alone, rtol=0, atol=1e-13)


def test_the_norm_itself_predicts_every_row_to_the_bit():
    x = small(40)[0]
    weights, forward = built(nn.BatchNorm(), 5)
    weights.averages["mean"][...], weights.averages["variance"][...] = x.mean(axis=0), x.var(axis=0)
    among = forward(x, train=False)
    assert all(forward(row[None], train=False).tobytes() == y.tobytes() for row, y in zip(x, among, strict=True))


# ---------------------------------------------------------------- a batch of one


def bits(made):
    return made.weights.flat.tobytes(), made.weights.averages_flat.tobytes(), [m.tobytes() for m in made.step.moments]


def test_a_batch_of_one_is_an_error_that_changes_nothing():
    x, y = small()
    message = "batch_norm: got 1 value a channel, wanted at least 2, since the deviation of fewer is 0; use larger batc"
    made = trainer()
    with pytest.raises(ValueError, match=f"^{message}"):
        made.fit(x, y, batch_size=1, progress=False)
    made.fit(x, y, epochs=1, batch_size=32, progress=False)
    before = bits(made)
    with pytest.raises(ValueError, match=f"^{message}"):
        made.step(x[:1], y[:1])
    assert bits(made) == before
    same = trainer()
    same.fit(x, y, epochs=1, batch_size=32, progress=False)
    for each in (made, same):
        each.step(x[:8], y[:8])
    assert bits(made) == bits(same)


def test_the_trainer_leaves_a_last_batch_of_one_out_and_says_so_once():
    x, y = small(65)
    made, same = trainer(), trainer()
    with pytest.warns(SkippedRowWarning, match=r"\(65 rows in batches of 32\).*each epoch leaves its last") as said:
        made.fit(x, y, epochs=3, batch_size=32, progress=False)
    assert len(said) == 1
    orders = [random.permutation(65, seed=0, step=epoch) for epoch in range(3)]
    assert len({order[-1] for order in orders}) == 3  # another row each time
    same.build((5,))
    step = fd.TrainStep(
        same.weights.model,
        fd.losses.SoftmaxCrossEntropy(),
        same.optimizer,
        batch_size=32,
        weights=same.weights,
        device="cpu",
    )
    for order in orders:
        for start in (0, 32):
            step(x[order[start : start + 32]], y[order[start : start + 32]])
    assert made.weights.flat.tobytes() == step.weights.flat.tobytes()
    assert made.step.count == step.count == 6


def test_batches_of_one_that_are_handed_over_are_left_out_and_that_is_said_once():
    x, y = small(65)
    whole = [(x[:32], y[:32]), (x[33:64], y[33:64])]
    ones = [(x[32:33], y[32:33]), (x[64:], y[64:])]
    made, same = trainer(), trainer()
    with pytest.warns(SkippedRowWarning, match="a batch of one row was left out") as said:
        made.fit([whole[0], ones[0], whole[1], ones[1]], epochs=3, progress=False)
    assert len(said) == 1
    same.fit(whole, epochs=3, progress=False)
    assert bits(made) == bits(same)
