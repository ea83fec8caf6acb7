"""What optimizers do: the noise of small batches, a ravine, the first steps, and two moons at a small rate.

That each follows its equation, in both conventions, stands in tests/kernels/test_updates.py.
"""

import re
import runpy

import numpy as np
import pytest
from test_course import two_moons

from fastdl import course, losses, nn, optim
from fastdl.data import batches
from fastdl.step import TrainStep

SEEDS = pytest.mark.parametrize("seed", [0, 1, 2])


# ---------------------------------------------------------------- batches


@SEEDS
def test_gradient_noise_falls_with_the_root_of_the_rows(seed):
    X, Y = two_moons(1000, seed)
    parameters = course.initialize_parameters_he([2, 10, 1], seed=seed)
    rng = np.random.default_rng(seed)

    def gradient(rows):
        _, cache = course.forward_propagation(X[:, rows], parameters)
        grads = course.backward_propagation(X[:, rows], Y[:, rows], cache)
        return course.dictionary_to_vector(grads)[0][:, 0]

    each = np.array([gradient([row]) for row in range(1000)])
    whole, sigma = each.mean(axis=0), np.sqrt(each.var(axis=0).sum())
    np.testing.assert_allclose(gradient(np.arange(1000)), whole, rtol=1e-9, atol=1e-12)
    for rows in (1, 10, 1000):  # 1000 has 100 times the rows of 10, and a tenth of the deviation
        drawn = np.array([gradient(rng.integers(0, 1000, rows)) for _ in range(300)])
        deviation = np.sqrt(np.square(drawn - whole).sum(axis=1).mean())
        assert deviation == pytest.approx(sigma / np.sqrt(rows), rel=0.1)


# ---------------------------------------------------------------- momentum

STEEP, FLAT = 100.0, 1.0  # curvatures of the ravine (FLAT x^2 + STEEP y^2) / 2


def walk(optimizer, gradient, start, steps):
    """The points that an optimizer comes to."""
    p = np.array(start, np.float64)
    moments = [np.zeros_like(p) for _ in range(optimizer.moments)]
    points = [p.copy()]
    for step in range(1, steps + 1):
        optimizer.update(p, gradient(p), moments, scalars=np.array(optimizer.scalars(step)))
        points.append(p.copy())
    return np.array(points)


def steps_across(optimizer, nearer=1e-3, most=2000):
    """How many steps until it stays within a thousandth of where it began."""
    points = walk(optimizer, lambda p: np.array([FLAT, STEEP]) * p, [1.0, 1.0], most)
    far = np.abs(points).max(axis=1) > nearer
    return int(np.flatnonzero(far)[-1]) + 1


def test_momentum_crosses_a_ravine_in_fewer_steps_than_plain_descent():
    # The best rate, and the best momentum, that there are for these curvatures (Polyak, 1964).
    plain = steps_across(optim.SGD(2 / (STEEP + FLAT)))
    root = np.sqrt(STEEP / FLAT)
    momentum, lr = ((root - 1) / (root + 1)) ** 2, 4 / (np.sqrt(STEEP) + np.sqrt(FLAT)) ** 2
    heavy = steps_across(optim.SGD(lr, momentum=momentum))
    notes = steps_across(optim.SGD(lr / (1 - momentum), momentum=momentum, dampening=momentum))
    nesterov = steps_across(optim.SGD(1 / STEEP, momentum=(root - 1) / (root + 1), nesterov=True))
    assert plain > 300
    assert notes == heavy < plain / 4
    assert nesterov < plain / 3


@pytest.mark.parametrize("beta", [0.8, 0.9, 0.95])
def test_the_notes_momentum_is_soon_right_without_a_correction(beta):
    points = walk(optim.SGD(0.1, momentum=beta, dampening=beta), np.ones_like, [0.0], 1000)[:, 0]
    t = np.arange(1, 1001)
    # Of a gradient that stays the same, step t makes the share 1 - beta^t, which a correction would divide by.
    np.testing.assert_allclose(-np.diff(points) / 0.1, 1 - beta**t, rtol=1e-9)
    assert -(points[1] - points[0]) == pytest.approx(0.1 * (1 - beta))
    remembered = round(1 / (1 - beta))
    assert -(points[3 * remembered + 1] - points[3 * remembered]) > 0.95 * 0.1
    # All that was not made up comes to beta / (1 - beta) steps and never more.
    behind = (0.1 * t + points[1:]) / 0.1
    assert (np.diff(behind) > -1e-9).all()
    assert behind[-1] == pytest.approx(beta / (1 - beta), rel=1e-6)


def test_adams_second_moment_cannot_do_without_the_correction():
    # As much memory as 0.999 gives would keep the first steps thirty times too long, without v_hat.
    points = walk(optim.Adam(0.1, betas=(0.0, 0.999)), np.ones_like, [0.0], 20)[:, 0]
    np.testing.assert_allclose(-np.diff(points), 0.1, rtol=1e-6)
    uncorrected = walk(optim.RMSProp(0.1, beta=0.999), np.ones_like, [0.0], 20)[:, 0]
    assert -(uncorrected[1] - uncorrected[0]) == pytest.approx(0.1 / np.sqrt(0.001), rel=1e-3)
    assert (-np.diff(uncorrected) > 7 * 0.1).all()


# ---------------------------------------------------------------- AdaGrad


@SEEDS
def test_adagrad_is_the_notes_falling_rate_over_the_mean_of_squares(seed):
    gradients = np.random.default_rng(seed).standard_normal((200, 5)) * np.linspace(0.01, 100, 5)
    own, rest = iter(gradients), np.ones(5)
    points = walk(optim.AdaGrad(0.3, eps=0.0), lambda p: next(own), rest, 200)
    for t in range(200):
        mean = np.square(gradients[: t + 1]).mean(axis=0)
        rest = rest - 0.3 / np.sqrt(t + 1) / np.sqrt(mean) * gradients[t]
        np.testing.assert_allclose(points[t + 1], rest, rtol=1e-11, atol=1e-12)


@SEEDS
@pytest.mark.parametrize("scale", [lambda t: 1.0, lambda t: 1.05**t, lambda t: 0.95**t], ids=["same", "grows", "falls"])
def test_adagrads_effective_rate_only_falls(scale, seed):
    rng = np.random.default_rng(seed)
    gradients = [scale(t) * rng.standard_normal(4) for t in range(100)]
    own = iter(gradients)
    points = walk(optim.AdaGrad(0.3), lambda p: next(own), np.zeros(4), 100)
    rates = -np.diff(points, axis=0) / gradients
    assert (np.diff(rates, axis=0) < 1e-9 * rates[:-1]).all()
    assert (rates[-1] < 0.9 * rates[0]).all()
    own = iter(gradients)
    of_rmsprop = -np.diff(walk(optim.RMSProp(0.3, beta=0.9), lambda p: next(own), np.zeros(4), 100), axis=0) / gradients
    assert (np.diff(of_rmsprop, axis=0) > 0).any()


# ---------------------------------------------------------------- Adam on two moons


def on_two_moons(optimizer, seed, epochs):
    """Accuracy on fresh rows, after so many epochs of a three-layer network."""
    X, Y = two_moons(300, seed)
    x, y = np.ascontiguousarray(X.T), np.ascontiguousarray(Y.T)
    model = nn.Sequential(nn.Linear(16, activation="relu"), nn.Linear(8, activation="relu"), nn.Linear(1))
    step = TrainStep(model, losses.BinaryCrossEntropy(), optimizer, batch_size=64, seed=seed, dtype=np.float64)
    for epoch in range(epochs):
        for rows, labels in batches(x, y, 64, seed=seed, epoch=epoch):
            step(rows, labels)
    params = step.weights.params.values()
    names = course.initialize_parameters_zeros([2, 16, 8, 1])
    parameters = {name: a.T.reshape(names[name].shape) for name, a in zip(names, params, strict=True)}
    X, Y = two_moons(2000, seed + 100)
    return float((course.predict(X, parameters) == Y).mean())


SMALL = 0.0007


@SEEDS
def test_at_the_same_small_rate_adam_gets_where_others_do_not(seed):
    adam = on_two_moons(optim.Adam(SMALL, eps_inside=True), seed, 600)
    plain = on_two_moons(optim.SGD(SMALL), seed, 600)
    momentum = on_two_moons(optim.SGD(SMALL, momentum=0.9, dampening=0.9), seed, 600)
    assert adam > 0.95
    assert max(plain, momentum) < 0.9


@SEEDS
def test_at_a_rate_of_their_own_others_get_there_too(seed):
    assert on_two_moons(optim.SGD(0.3), seed, 200) > 0.95
    assert on_two_moons(optim.SGD(0.3, momentum=0.9, dampening=0.9), seed, 200) > 0.95


@pytest.mark.slow
def test_the_example_tells_both_cases_and_draws(root, tmp_path, monkeypatch, capsys):
    picture = tmp_path / "optimizers.png"
    monkeypatch.setattr("sys.argv", ["optimizers.py", "--plot", str(picture)])
    runpy.run_path(str(root / "examples" / "optimizers.py"))
    said = capsys.readouterr().out
    rows = re.findall(r"^(\S.*?)  +(\S+) +(\d+) +([0-9.]+)% +([0-9.]+)% at", said, re.MULTILINE)
    small = {name: float(accuracy) for name, _, _, accuracy, _ in rows}
    assert {name for name, share in small.items() if share > 95} == {"RMSProp", "Adam"}
    assert max(share for name, share in small.items() if name not in ("RMSProp", "Adam")) < 90
    best = [float(share) for *_, share in rows]
    assert 95 < max(best) < min(best) + 1
    lowest, highest = map(float, re.search(r"from (\S+) to (\S+), and new rows gain nothing", said).groups())
    assert 100 * lowest < highest
    steps = {name: int(found) for name, _, found, *_ in rows}
    assert max(steps[name] for name in ("momentum", "Nesterov", "Adam")) < steps["gradient descent"] / 2
    assert min(steps["AdaGrad"], steps["RMSProp"]) >= steps["gradient descent"]
    assert picture.read_bytes().startswith(b"\x89PNG")
