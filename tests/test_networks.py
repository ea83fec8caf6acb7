"""What course notes say of networks as a whole: biases before batch norm, the output layer, losses."""

import warnings

import numpy as np
import pytest

import fastdl as fd
from fastdl import losses, metrics, nn, optim
from fastdl.losses import SquashedLogitsWarning

seeds = pytest.mark.parametrize("seed", [0, 1, 2])


def rows(seed, n=40, features=6, classes=3):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, features)) + 1, rng.integers(0, classes, n)


# ---------------------------------------------------------------- a bias before batch norm


def pair(seed, start):
    """The same network with a bias before batch norm, of these values, and without."""
    found = []
    for bias in (True, False):
        model = nn.Sequential(nn.Linear(8, bias=bias), nn.BatchNorm(), nn.Tanh(), nn.Linear(3))
        step = fd.TrainStep(
            model,
            losses.SoftmaxCrossEntropy(),
            optim.SGD(0.1, momentum=0.9),
            batch_size=40,
            weights=nn.Weights(model, (6,), dtype=np.float64, seed=seed, device="cpu"),
            device="cpu",
        )
        found.append(step)
    with_bias, without = (step.weights.params for step in found)
    for name, array in without.items():
        array[...] = with_bias[name]
    with_bias["0.bias"][...] = start
    return found


@seeds
def test_a_bias_before_batch_norm_changes_nothing_in_training(seed):
    x, y = rows(seed)
    with_bias, without = pair(seed, 10 * np.random.default_rng(seed).standard_normal(8))
    for _ in range(30):
        assert with_bias(x, y) == pytest.approx(without(x, y), rel=1e-9)
    for name, array in without.weights.params.items():
        np.testing.assert_allclose(with_bias.weights.params[name], array, rtol=1e-7, atol=1e-9)


@seeds
def test_a_bias_before_batch_norm_changes_nothing_in_prediction(seed):
    x, y = rows(seed)
    with_bias, without = pair(seed, 10 * np.random.default_rng(seed).standard_normal(8))
    for _ in range(300):  # until nothing is left of the averages' start
        for step in (with_bias, without):
            step(x, y)
    first, second = (fd.Predictor(step.weights, 40)(x) for step in (with_bias, without))
    np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-8)
    assert np.abs(first).max() > 1
    np.testing.assert_allclose(
        with_bias.weights.averages["1.mean"] - without.weights.averages["1.mean"],
        with_bias.weights.params["0.bias"],  # which the average has taken away
        rtol=1e-6,
    )


# ---------------------------------------------------------------- the output layer

ENDS = {
    "sigmoid": ([nn.Linear(4), nn.Sigmoid()], r"layer 1 \(Sigmoid\) .* leave its sigmoid out"),
    "softmax": ([nn.Linear(4), nn.Softmax()], r"layer 1 \(Softmax\) .* leave its softmax out"),
    "within a linear layer": ([nn.Linear(5), nn.Linear(4, activation="sigmoid")], r"layer 1 \(Linear\) .* its sigmoid"),
    "nested": ([nn.Linear(5), nn.Sequential(nn.Linear(4), nn.Sigmoid())], r"layer 1\.1 \(Sigmoid\)"),
    "residual": ([nn.Linear(4), nn.Residual(nn.Linear(4), nn.Sigmoid())], r"layer 1\.0\.1 \(Sigmoid\)"),
    "before a dropout": ([nn.Linear(4), nn.Sigmoid(), nn.Dropout(0.1), nn.Flatten()], r"layer 1 \(Sigmoid\)"),
}
LOGIT_LOSSES = [losses.SoftmaxCrossEntropy(), losses.BinaryCrossEntropy()]


@pytest.mark.parametrize("loss", LOGIT_LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("name", ENDS)
def test_probabilities_before_a_loss_of_logits_are_warned_of_by_the_layers_name(name, loss):
    layers, message = ENDS[name]
    model = nn.Sequential(*layers)
    with pytest.warns(SquashedLogitsWarning, match=f"^{type(loss).__name__} takes logits, but {message}") as said:
        fd.Trainer(model, loss, optim.SGD())
    assert said[0].filename == __file__
    with pytest.warns(SquashedLogitsWarning, match=message) as said:
        fd.TrainStep(model, loss, optim.SGD(), batch_size=4)
    assert said[0].filename == __file__


def test_a_model_that_is_one_layer_is_named_too():
    with pytest.warns(SquashedLogitsWarning, match=r"but the model \(Linear\) makes probabilities"):
        fd.Trainer(nn.Linear(4, activation="sigmoid"), losses.BinaryCrossEntropy(), optim.SGD())


def test_it_is_said_once():
    x, y = rows(0)
    with pytest.warns(SquashedLogitsWarning) as said:
        trainer = fd.Trainer(nn.Sequential(nn.Linear(3), nn.Softmax()), losses.SoftmaxCrossEntropy(), optim.SGD())
        for size in (16, 20):
            trainer.fit(x, y, epochs=2, batch_size=size, progress=False)
        trainer.freeze("0.bias")
        trainer.fit(x, y, epochs=1, batch_size=20, progress=False)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("layers", "loss"),
    [
        ([nn.Linear(4), nn.Sigmoid()], losses.MSE()),
        ([nn.Linear(4), nn.Sigmoid()], losses.L1()),
        ([nn.Linear(4, activation="tanh")], losses.Hinge()),
        ([nn.Linear(4), nn.Sigmoid(), nn.Linear(4)], losses.BinaryCrossEntropy()),
        ([nn.Linear(4), nn.Residual(nn.Linear(4), nn.Sigmoid(), nn.Linear(4))], losses.SoftmaxCrossEntropy()),
        ([nn.Linear(4, activation="relu")], losses.SoftmaxCrossEntropy()),
        ([], losses.SoftmaxCrossEntropy()),
    ],
)
def test_others_are_not_warned_of(layers, loss):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fd.Trainer(nn.Sequential(*layers), loss, optim.SGD())


def test_no_activation_stands_on_an_output_layer_unless_asked_for():
    weights = nn.Weights(nn.Linear(3), (6,), dtype=np.float64)
    weights.params["bias"][...] = [-100, 0, 100]
    x = rows(0)[0]
    expected = x @ weights.params["weight"] + weights.params["bias"]
    np.testing.assert_allclose(fd.Predictor(weights, 40)(x), expected, rtol=1e-12)
    from fastdl.config import Config
    from fastdl.recipes import network

    last = network(Config(activation="sigmoid"), 3, (6,)).layers[-1]
    assert (type(last), last.activation) == (nn.Linear, None)


# ---------------------------------------------------------------- softmax, and the 0-1 loss


@seeds
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_1e4_give_no_infinity_and_the_prediction_is_the_argmax(dtype, seed):
    x, y = rows(seed)
    trainer = fd.Trainer(
        nn.Sequential(nn.Linear(3)), losses.SoftmaxCrossEntropy(), optim.SGD(1e-3), dtype=dtype, seed=seed
    )
    trainer.build((6,))
    trainer.weights.params["0.weight"][...] *= 1e4
    logits, chances = trainer.predict(x), trainer.predict_proba(x)
    assert np.abs(logits).max() > 1e4
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(chances.argmax(axis=1), logits.argmax(axis=1))
    found = trainer.evaluate(x, y)
    assert found["accuracy"] == (logits.argmax(axis=1) == y).mean()
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    expected = (np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(40), y]).mean()
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    history = trainer.fit(x, y, epochs=2, progress=False)
    assert np.isfinite(history["loss"] + history["gradient_norm"]).all()


@seeds
def test_cross_entropy_and_the_0_1_loss_are_both_in_the_history(seed):
    x, y = fd.data.load_digits()
    train, dev = fd.data.split(x / 16, y, parts=(0.8, 0.2), stratify=True, seed=seed)
    model = nn.Sequential(nn.Linear(32, activation="relu"), nn.Linear(10))
    trainer = fd.Trainer(
        model, losses.SoftmaxCrossEntropy(), optim.Adam(3e-3), metrics=["accuracy", "error"], seed=seed
    )
    stopping = fd.callbacks.EarlyStopping("val_error", patience=5)  # of which less is better
    history = trainer.fit(*train, validation=dev, epochs=8, callbacks=[stopping], progress=False)
    assert history["val_error"][0] > 2 * history["val_error"][-1]
    for loss, right, wrong in zip(history["val_loss"], history["val_accuracy"], history["val_error"], strict=True):
        assert wrong == 1 - right
        assert wrong <= loss / np.log(2)  # for which it stands in


@seeds
def test_the_0_1_loss_has_no_gradient_where_cross_entropy_has_one(seed):
    rng = np.random.default_rng(seed)
    logits, y = rng.standard_normal((50, 4)), rng.integers(0, 4, 50)
    moved = logits + 1e-6 * rng.standard_normal((50, 4))
    assert metrics.error(logits, y) == metrics.error(moved, y) > 0
    loss = losses.SoftmaxCrossEntropy()
    assert loss.value(logits, y) != loss.value(moved, y)


# ---------------------------------------------------------------- losses


@seeds
def test_against_one_outlier_the_l1_fit_moves_less_than_the_l2_fit(seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (60, 1))
    clean = 2 * x + 1 + 0.05 * rng.standard_normal((60, 1))
    spoilt = clean.copy()
    spoilt[x.argmax()] += 50
    moved = {}
    for loss in (losses.MSE(), losses.Huber(), losses.L1()):
        fits = []
        for y in (clean, spoilt):
            rate = fd.schedules.Cosine(0.05, 600)
            trainer = fd.Trainer(nn.Sequential(nn.Linear(1)), loss, optim.Adam(rate), dtype=np.float64, seed=seed)
            trainer.fit(x, y, epochs=600, batch_size=60, progress=False)
            fits.append(trainer.predict(x))
        moved[type(loss).__name__] = float(np.abs(fits[1] - fits[0]).mean())
    assert moved["MSE"] > 0.5
    assert moved["L1"] < moved["MSE"] / 20
    assert moved["Huber"] < moved["MSE"] / 10
