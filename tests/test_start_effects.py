"""What a start does to a network, shown through the library's own layers."""

import numpy as np
import pytest

from fastdl import initializers, losses, nn, optim, recipes
from fastdl.config import CHOICES, Config
from fastdl.initializers import Normal, VarianceScaling
from fastdl.predictor import Predictor
from fastdl.step import TrainStep

seeds = pytest.mark.parametrize("seed", [0, 1, 2])
UNITS = 16


def normal_rows(count, width, seed, deviation=1.0):
    return (deviation * np.random.default_rng(seed).standard_normal((count, width))).astype(np.float32)


def activations(start, widths, activation, seed, x):
    """What each of the layers from width to width hands on, without biases."""
    layers = [nn.Linear(width, bias=False, activation=activation, start=start) for width in widths[1:]]
    weights = nn.Weights(nn.Sequential(*layers), x.shape[1:], seed=seed)
    workspace = nn.Workspace(weights, len(x), train=False)
    workspace.begin(len(x))
    for layer, frame in zip(layers, workspace.frame.children, strict=True):
        x = layer.forward(x, frame, train=False)
        yield x


def second_moments(*arguments):
    """Mean squares of what each layer hands on."""
    return np.array([np.square(x, dtype=np.float64).mean() for x in activations(*arguments)])


# ---------------------------------------------------------------- zeros


def moons(seed, rows=300):
    """Two half circles, one within the other's arms, that no line parts; three rows are of one to two of the other."""
    rng = np.random.default_rng(seed)
    angle, y = rng.uniform(0, np.pi, rows), np.arange(rows) % 5 % 2
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x = np.where(y[:, None], [1.0, 0.5] - circle, circle) - [0.5, 0.25]
    return (x + rng.normal(0, 0.1, x.shape)).astype(np.float32), y


def best_line(x, y):
    """The largest share of rows that any line has on their own sides."""
    best = 0
    for angle in np.linspace(0, 2 * np.pi, 3600, endpoint=False):
        label = y[np.argsort(x @ [np.cos(angle), np.sin(angle)])]
        right = np.cumsum(1 - label) + label.sum() - np.cumsum(label)  # 0 up to a row, 1 from there on
        best = max(best, right.max())
    return best / len(y)


def trained(start, activation, x, y, steps=300):
    """Parameters of a network with one hidden layer after some steps, the share of rows it gets right, and its loss."""
    model = nn.Sequential(nn.Linear(UNITS, activation=activation, start=start), nn.Linear(2, start=start))
    step = TrainStep(model, losses.SoftmaxCrossEntropy(), optim.Adam(0.05), batch_size=len(x), device="cpu")
    for _ in range(steps):
        loss = step(x, y)
    outputs = Predictor(step.weights, len(x))(x)
    return step.weights.params, float((outputs.argmax(axis=1) == y).mean()), loss


@seeds
def test_from_zeros_hidden_units_stay_equal_for_ever_and_beat_no_line(seed):
    x, y = moons(seed)
    params, accuracy, _ = trained(initializers.zeros, "sigmoid", x, y)
    first, last = params["0.weight"], params["1.weight"]
    assert (first != 0).all()  # they did learn, all the same thing
    np.testing.assert_array_equal(first, np.repeat(first[:, :1], UNITS, axis=1))
    np.testing.assert_array_equal(last, np.repeat(last[:1], UNITS, axis=0))
    line = best_line(x, y)
    assert 0.7 < accuracy <= line < 0.93
    assert trained(initializers.he_normal, "relu", x, y)[1] > 0.98


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_from_zeros_units_that_are_0_at_0_learn_nothing_at_all(activation):
    params, _, loss = trained(initializers.zeros, activation, *moons(0))
    assert loss == pytest.approx(-0.4 * np.log(0.4) - 0.6 * np.log(0.6), rel=1e-4)  # guessing by the classes' shares
    assert not params["0.weight"].any()
    assert not params["1.weight"].any()


# ---------------------------------------------------------------- normal


@seeds
def test_a_normal_start_of_scale_1_explodes_and_of_001_vanishes(seed):
    x, widths = normal_rows(8, 512, seed), [512] * 21
    # Of each layer's input half is left, times 512 variances.
    large, small = (second_moments(Normal(scale), widths, "relu", seed, x)[-1] for scale in (1.0, 0.01))
    assert 1e46 < large < 1e50
    assert 1e-34 < small < 1e-30


@seeds
def test_a_normal_start_of_scale_10_saturates_tanh(seed):
    (y,) = activations(Normal(10.0), [512, 512], "tanh", seed, normal_rows(8, 512, seed))
    assert (np.abs(y) > 0.99).mean() > 0.97
    assert (1 - np.square(y, dtype=np.float64)).mean() < 0.02  # what it lets through of a gradient
    (y,) = activations(initializers.xavier_normal, [512, 512], "tanh", seed, normal_rows(8, 512, seed))
    assert (np.abs(y) > 0.99).mean() < 0.02


# ---------------------------------------------------------------- variance scaling


@pytest.mark.slow
def test_he_keeps_the_size_of_activations_through_twenty_relu_layers():
    last = [
        second_moments(initializers.he_normal, [2048] * 21, "relu", seed, normal_rows(8, 2048, seed))[-1]
        for seed in range(3)
    ]
    assert 0.5 < np.mean(last) < 2


def test_he_goes_with_leaky_relu_too_and_xavier_with_neither():
    for activation in ("relu", "leaky_relu"):
        kept, lost = [], []
        for seed in range(3):
            x = normal_rows(8, 256, seed)
            kept.append(second_moments(initializers.he_normal, [256] * 21, activation, seed, x)[-1])
            lost.append(second_moments(initializers.xavier_normal, [256] * 21, activation, seed, x)[-1])
        assert 0.5 < np.mean(kept) < 2
        assert np.mean(lost) < 1e-5  # a half of it in each layer


@seeds
def test_xavier_keeps_most_of_small_inputs_through_twenty_tanh_layers(seed):
    x = normal_rows(32, 256, seed, deviation=0.1)
    kept = second_moments(initializers.xavier_normal, [256] * 21, "tanh", seed, x) / 0.01
    assert 0.6 < kept[-1] < 0.85
    half = second_moments(VarianceScaling(0.5), [256] * 21, "tanh", seed, x) / 0.01
    np.testing.assert_allclose(half[1:] / half[:-1], 0.5, rtol=0.15)
    assert half[-1] < 2e-6


@seeds
def test_glorots_mean_of_fans_drifts_where_widths_differ(seed):
    uneven, even = [64, 512] * 6 + [64], [256] * 13
    for widths, drifts in ((uneven, True), (even, False)):
        x = normal_rows(32, widths[0], seed)
        by_inputs = second_moments(initializers.xavier_normal, widths, None, seed, x)[-1]
        by_both = second_moments(initializers.glorot_normal, widths, None, seed, x)[-1]
        assert 0.4 < by_inputs < 2.5
        assert by_both < 0.02 if drifts else 0.4 < by_both < 2.5


@pytest.mark.parametrize("start", [initializers.zeros, Normal(1.0), VarianceScaling(2.0, "fan_avg", "uniform")])
def test_biases_start_at_0_whatever_weights_do(start):
    model = nn.Sequential(nn.Linear(5, start=start), nn.BatchNorm(), nn.Linear(3, start=start))
    params = nn.Weights(model, (4,)).params
    assert not any(params[name].any() for name in ("0.bias", "1.beta", "2.bias"))
    assert (params["1.gamma"] == 1).all()


# ---------------------------------------------------------------- from the configuration


FAN = {"fan_in": 300, "fan_out": 200, "fan_avg": 250}
STARTS = {
    "he_normal": 2 / 300,
    "xavier_normal": 1 / 300,
    "glorot_normal": 1 / 250,
    "glorot_uniform": 1 / 250,
    "zeros": 0,
    "normal, 0.3": 0.09,
    "variance_scaling": 1 / 300,
    **{
        f"variance_scaling, 1.7, {mode}, {distribution}": 1.7 / FAN[mode]
        for mode in CHOICES["start_mode"]
        for distribution in CHOICES["start_distribution"]
    },
}


@pytest.mark.parametrize("start", STARTS)
def test_every_start_can_be_had_from_the_configuration(start):
    keys = dict(zip(("start", "start_scale", "start_mode", "start_distribution"), start.split(", "), strict=False))
    toml = "layers = 200\n" + "".join(
        f"{key} = {value if key == 'start_scale' else repr(value)}\n" for key, value in keys.items()
    )
    model = recipes.network(Config.from_toml(toml, "run.toml"), 3, (300,))
    weights = nn.Weights(model, (300,)).params["0.weight"]
    assert weights.var() == pytest.approx(STARTS[start], rel=0.03)
    assert {key.split(",")[0] for key in STARTS} == set(CHOICES["start"])
