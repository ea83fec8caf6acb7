"""The notes' dictionary interface: the layer API's numbers, the notes' equations, and what it refuses."""

import re
import runpy

import numpy as np
import pytest

import fastdl as fd
from fastdl import course, losses, nn, optim
from fastdl.step import TrainStep

SEEDS = pytest.mark.parametrize("seed", [0, 1, 2])
DIMS = [2, 12, 7, 1]


def two_moons(rows, seed, noise=0.15):
    """Two half circles that reach into each other, in columns: X (2, rows), Y (1, rows)."""
    rng = np.random.default_rng(seed)
    angle, upper = np.pi * rng.random(rows), np.arange(rows) % 2 == 0
    X = np.where(upper, [np.cos(angle), np.sin(angle)], [1 - np.cos(angle), 0.5 - np.sin(angle)])
    return X + noise * rng.standard_normal((2, rows)), np.where(upper, 0, 1)[np.newaxis]


def three_classes(rows, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    X = rng.standard_normal((2, rows)) + 2 * np.array([np.cos(2 * labels), np.sin(2 * labels)])
    return X, (labels == np.arange(3)[:, np.newaxis]).astype(np.int64), labels


def layers(keep_prob=1.0, dims=DIMS):
    """The same network by the layer API."""
    found = []
    for units in dims[1:-1]:
        found += [nn.Linear(units, activation="relu"), *([nn.Dropout(1 - keep_prob)] if keep_prob < 1 else [])]
    return nn.Sequential(*found, nn.Linear(dims[-1]))


def assert_same_weights(parameters, step, bound=1e-10):
    of_layers = list(step.weights.params.values())
    assert len(of_layers) == len(parameters)
    for (name, array), expected in zip(parameters.items(), of_layers, strict=True):
        expected = expected.T if expected.ndim == 2 else expected[:, np.newaxis]
        np.testing.assert_allclose(array, expected, rtol=bound, atol=bound, err_msg=name)


class GD:
    """Every update in the notes' style, and the optimizer of the layer API that is the same."""

    same = optim.SGD(0.1)

    def __init__(self, parameters):
        pass

    def update(self, parameters, grads):
        return course.update_parameters_with_gd(parameters, grads, learning_rate=0.1)


class Momentum:
    same = optim.SGD(0.1, momentum=0.9, dampening=0.9)

    def __init__(self, parameters):
        self.v = course.initialize_velocity(parameters)

    def update(self, parameters, grads):
        parameters, self.v = course.update_parameters_with_momentum(
            parameters, grads, self.v, beta=0.9, learning_rate=0.1
        )
        return parameters


class RMSProp:
    same = optim.RMSProp(0.01, beta=0.9, eps=1e-6, eps_inside=True)

    def __init__(self, parameters):
        self.s = course.initialize_velocity(parameters)

    def update(self, parameters, grads):
        parameters, self.s = course.update_parameters_with_rmsprop(
            parameters, grads, self.s, beta=0.9, learning_rate=0.01, epsilon=1e-6
        )
        return parameters


class Adam:
    same = optim.Adam(0.01, eps_inside=True)

    def __init__(self, parameters):
        (self.v, self.s), self.t = course.initialize_adam(parameters), 0

    def update(self, parameters, grads):
        self.t += 1
        parameters, self.v, self.s = course.update_parameters_with_adam(parameters, grads, self.v, self.s, self.t)
        return parameters


RULES = pytest.mark.parametrize("rule", [GD, Momentum, RMSProp, Adam], ids=lambda rule: rule.__name__)


# ---------------------------------------------------------------- the layer API's numbers


@SEEDS
@RULES
def test_a_network_in_the_notes_style_equals_the_layer_api(rule, seed):
    X, Y = two_moons(150, seed)
    parameters = course.initialize_parameters_he(DIMS, seed=seed)
    notes = rule(parameters)
    step = TrainStep(layers(), losses.BinaryCrossEntropy(), rule.same, batch_size=64, seed=seed, dtype=np.float64)
    costs = []
    for epoch in range(40):
        ours = course.random_mini_batches(X, Y, 64, seed=epoch)
        theirs = fd.data.batches(np.ascontiguousarray(X.T), Y.T, 64, seed=epoch)
        for (X_batch, Y_batch), (x, y) in zip(ours, theirs, strict=True):
            AL, cache = course.forward_propagation(X_batch, parameters)
            costs.append(course.compute_cost(AL, Y_batch))
            parameters = notes.update(parameters, course.backward_propagation(X_batch, Y_batch, cache))
            assert step(x, y) == pytest.approx(costs[-1], rel=1e-10, abs=1e-10)
    assert_same_weights(parameters, step)
    assert np.mean(costs[-3:]) < 0.85 * np.mean(costs[:3])


@SEEDS
def test_it_learns_two_moons(seed):
    X, Y = two_moons(300, seed)
    parameters = course.initialize_parameters_he(DIMS, seed=seed)
    adam = Adam(parameters)
    for epoch in range(100):
        for X_batch, Y_batch in course.random_mini_batches(X, Y, 64, seed=epoch):
            _, cache = course.forward_propagation(X_batch, parameters)
            parameters = adam.update(parameters, course.backward_propagation(X_batch, Y_batch, cache))
    fresh_X, fresh_Y = two_moons(1000, seed + 100)
    assert (course.predict(fresh_X, parameters) == fresh_Y).mean() > 0.96


@SEEDS
def test_dropout_equals_the_layer_apis_masks_included(seed):
    X, Y = two_moons(100, seed)
    parameters = course.initialize_parameters_he(DIMS, seed=seed)
    adam = Adam(parameters)
    model = layers(keep_prob=0.8)
    step = TrainStep(model, losses.BinaryCrossEntropy(), adam.same, batch_size=100, seed=seed, dtype=np.float64)
    x, y = np.ascontiguousarray(X.T), Y.T
    for t in range(1, 61):
        AL, cache = course.forward_propagation_with_dropout(X, parameters, 0.8, step=t, seed=seed)
        cost = course.compute_cost(AL, Y)
        parameters = adam.update(parameters, course.backward_propagation_with_dropout(X, Y, cache, 0.8))
        assert step(x, y) == pytest.approx(cost, rel=1e-10, abs=1e-10)
    assert_same_weights(parameters, step)


@SEEDS
def test_l2_equals_weight_decay_of_lambda_over_m(seed):
    X, Y = two_moons(80, seed)
    lambd = 3.0
    parameters = course.initialize_parameters_he(DIMS, seed=seed)
    decaying = optim.SGD(0.1, weight_decay=lambd / 80)
    step = TrainStep(layers(), losses.BinaryCrossEntropy(), decaying, batch_size=80, seed=seed, dtype=np.float64)
    x, y = np.ascontiguousarray(X.T), Y.T
    for _ in range(60):
        AL, cache = course.forward_propagation(X, parameters)
        grads = course.backward_propagation_with_regularization(X, Y, cache, lambd)
        cost, penalized = course.compute_cost(AL, Y), course.compute_cost_with_regularization(AL, Y, parameters, lambd)
        if step.count:
            weights = step.weights.flat[: step.weights.decayed]
            assert penalized - cost == pytest.approx(decaying.penalty(weights), rel=1e-10)
        assert step(x, y) == pytest.approx(cost, rel=1e-10, abs=1e-10)
        parameters = course.update_parameters_with_gd(parameters, grads, 0.1)
    assert_same_weights(parameters, step)


@SEEDS
def test_several_classes_equal_softmax_cross_entropy_on_their_numbers(seed):
    X, Y, labels = three_classes(90, seed)
    dims = [2, 9, 3]
    parameters = course.initialize_parameters_he(dims, seed=seed)
    adam = Adam(parameters)
    loss = losses.SoftmaxCrossEntropy()
    step = TrainStep(layers(dims=dims), loss, adam.same, batch_size=90, seed=seed, dtype=np.float64)
    x = np.ascontiguousarray(X.T)
    for _ in range(100):
        AL, cache = course.forward_propagation(X, parameters)
        cost = course.compute_cost(AL, Y)
        parameters = adam.update(parameters, course.backward_propagation(X, Y, cache))
        assert step(x, labels) == pytest.approx(cost, rel=1e-10, abs=1e-10)
    assert_same_weights(parameters, step)
    np.testing.assert_allclose(AL.sum(axis=0), 1)
    predicted = course.predict(X, parameters)
    assert predicted.shape == (1, 90)
    assert (predicted == labels).mean() > 0.8


def test_starts_are_the_layer_apis():
    weights = nn.Weights(layers(), (2,), dtype=np.float64, seed=5)
    for (name, array), expected in zip(
        course.initialize_parameters_he(DIMS, seed=5).items(), weights.params.values(), strict=True
    ):
        np.testing.assert_array_equal(array, expected.T.reshape(array.shape), err_msg=name)


@pytest.mark.parametrize(
    ("start", "variance"),
    [
        (lambda dims, seed: course.initialize_parameters_random(dims, seed=seed), 1e-4),
        (lambda dims, seed: course.initialize_parameters_random(dims, scale=10, seed=seed), 100),
        (course.initialize_parameters_he, 2 / 300),
        (course.initialize_parameters_xavier, 1 / 300),
    ],
)
def test_starts_have_their_variance_and_their_seed(start, variance):
    parameters = start([300, 200, 100], seed=1)
    assert list(parameters) == ["W1", "b1", "W2", "b2"]
    assert parameters["W1"].var() == pytest.approx(variance, rel=0.03)
    assert not parameters["b1"].any()
    assert parameters["b2"].shape == (100, 1)
    np.testing.assert_array_equal(start([300, 200, 100], seed=1)["W2"], parameters["W2"])
    assert (start([300, 200, 100], seed=2)["W2"] != parameters["W2"]).any()


def test_from_zeros_hidden_units_stay_alike():
    X, Y = two_moons(60, 0)
    parameters = course.initialize_parameters_zeros(DIMS)
    for _ in range(20):
        _, cache = course.forward_propagation(X, parameters)
        parameters = course.update_parameters_with_gd(parameters, course.backward_propagation(X, Y, cache), 1.0)
    assert all((parameters[name] == 0).all() for name in ("W1", "W2", "W3"))


# ---------------------------------------------------------------- the notes' equations


def test_forward_cost_and_backward_are_the_notes():
    X, Y = two_moons(31, 0)
    p = course.initialize_parameters_he(DIMS, seed=0)
    p = {name: array + 0.1 for name, array in p.items()}
    A1 = np.maximum(p["W1"] @ X + p["b1"], 0)
    A2 = np.maximum(p["W2"] @ A1 + p["b2"], 0)
    A3 = 1 / (1 + np.exp(-(p["W3"] @ A2 + p["b3"])))
    AL, cache = course.forward_propagation(X, p)
    np.testing.assert_allclose(AL, A3, rtol=1e-12)
    np.testing.assert_allclose(cache["A1"], A1, rtol=1e-12)
    np.testing.assert_allclose(cache["A2"], A2, rtol=1e-12)
    cost = -(Y * np.log(A3) + (1 - Y) * np.log(1 - A3)).sum() / 31
    assert course.compute_cost(AL, Y) == pytest.approx(cost, rel=1e-12)

    dZ3 = (A3 - Y) / 31
    dZ2 = (p["W3"].T @ dZ3) * (A2 > 0)
    dZ1 = (p["W2"].T @ dZ2) * (A1 > 0)
    expected = {
        "dW1": dZ1 @ X.T,
        "db1": dZ1.sum(axis=1, keepdims=True),
        "dW2": dZ2 @ A1.T,
        "db2": dZ2.sum(axis=1, keepdims=True),
        "dW3": dZ3 @ A2.T,
        "db3": dZ3.sum(axis=1, keepdims=True),
    }
    grads = course.backward_propagation(X, Y, cache)
    assert list(grads) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(grads[name], array, rtol=1e-11, atol=1e-15, err_msg=name)
    penalized = course.backward_propagation_with_regularization(X, Y, cache, lambd=0.7)
    for name, array in expected.items():
        more = 0.7 / 31 * p[name[1:]] if "W" in name else 0
        np.testing.assert_allclose(penalized[name], array + more, rtol=1e-11, atol=1e-15, err_msg=name)


def test_costs_of_certain_predictions():
    certain = np.array([[1.0, 0.0]])
    assert course.compute_cost(certain, np.array([[1, 0]])) == 0
    assert course.compute_cost(certain, np.array([[0, 0]])) == np.inf
    assert course.compute_cost(np.array([[1.0], [0.0]]), np.array([[1], [0]])) == 0


def random_dictionaries(seed):
    """Parameters, gradients, and two moments of at least 0."""
    rng = np.random.default_rng(seed)
    parameters = {n: rng.standard_normal(a.shape) for n, a in course.initialize_parameters_zeros(DIMS).items()}
    return parameters, *({f"d{n}": rng.random(a.shape) for n, a in parameters.items()} for _ in range(3))


@SEEDS
def test_updates_are_the_notes_on_every_array(seed):
    p, g, v, s = random_dictionaries(seed)
    found = course.update_parameters_with_gd(p, g, 0.3)
    for name in p:
        np.testing.assert_allclose(found[name], p[name] - 0.3 * g[f"d{name}"], rtol=1e-12, atol=1e-15)

    found, velocity = course.update_parameters_with_momentum(p, g, v, 0.8, 0.3)
    for name in p:
        mean = 0.8 * v[f"d{name}"] + 0.2 * g[f"d{name}"]
        np.testing.assert_allclose(velocity[f"d{name}"], mean, rtol=1e-12)
        np.testing.assert_allclose(found[name], p[name] - 0.3 * mean, rtol=1e-12, atol=1e-15)

    found, squares = course.update_parameters_with_rmsprop(p, g, s, 0.8, 0.3, epsilon=0.01)
    for name in p:
        square = 0.8 * s[f"d{name}"] + 0.2 * g[f"d{name}"] ** 2
        np.testing.assert_allclose(squares[f"d{name}"], square, rtol=1e-12)
        step = 0.3 * g[f"d{name}"] / np.sqrt(square + 0.01)
        np.testing.assert_allclose(found[name], p[name] - step, rtol=1e-12, atol=1e-14)

    found, velocity, squares = course.update_parameters_with_adam(p, g, v, s, 3, 0.3, 0.8, 0.95, epsilon=0.01)
    for name in p:
        mean = 0.8 * v[f"d{name}"] + 0.2 * g[f"d{name}"]
        square = 0.95 * s[f"d{name}"] + 0.05 * g[f"d{name}"] ** 2
        np.testing.assert_allclose(velocity[f"d{name}"], mean, rtol=1e-12)
        np.testing.assert_allclose(squares[f"d{name}"], square, rtol=1e-12)
        step = 0.3 * mean / (1 - 0.8**3) / np.sqrt(square / (1 - 0.95**3) + 0.01)
        np.testing.assert_allclose(found[name], p[name] - step, rtol=1e-12, atol=1e-14)


def test_without_momentum_the_velocity_is_the_gradient():
    p, g, v, _ = random_dictionaries(0)
    found, velocity = course.update_parameters_with_momentum(p, g, v, 0.0, 0.3)
    for name in p:
        np.testing.assert_array_equal(velocity[f"d{name}"], g[f"d{name}"])
        np.testing.assert_allclose(found[name], p[name] - 0.3 * g[f"d{name}"], rtol=1e-12, atol=1e-15)


def test_updates_leave_their_inputs_as_they_are_and_share_no_memory_with_them():
    given = random_dictionaries(0)
    before = [{name: array.copy() for name, array in d.items()} for d in given]
    p, g, v, s = given
    made = [
        course.update_parameters_with_gd(p, g),
        *course.update_parameters_with_momentum(p, g, v),
        *course.update_parameters_with_rmsprop(p, g, s),
        *course.update_parameters_with_adam(p, g, v, s, 1),
    ]
    for now, then in zip(given, before, strict=True):
        for name, array in then.items():
            np.testing.assert_array_equal(now[name], array)
            assert not any(np.shares_memory(now[name], d[name]) for d in made if name in d)


def test_dictionaries_may_come_in_any_order_and_layout():
    p, g, v, s = random_dictionaries(1)
    expected = course.update_parameters_with_adam(p, g, v, s, 2)
    X = np.random.default_rng(0).standard_normal((2, 5))
    turned = [{name: np.asfortranarray(d[name]) for name in reversed(d)} for d in (p, g, v, s)]
    found = course.update_parameters_with_adam(*turned, 2)
    for a, b in zip(found, expected, strict=True):
        assert list(a) == list(b)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
    np.testing.assert_array_equal(course.forward_propagation(X, turned[0])[0], course.forward_propagation(X, p)[0])


def test_other_gradients_beside_are_left_alone():
    p, g, _, _ = random_dictionaries(1)
    noted = {"dZ3": np.ones(3), "dA2": np.ones(3), **g}
    for name, array in course.update_parameters_with_gd(p, noted).items():
        np.testing.assert_array_equal(array, course.update_parameters_with_gd(p, g)[name])


@RULES
def test_float32_stays_float32(rule):
    X, Y = two_moons(20, 0)
    X = X.astype(np.float32)
    parameters = {n: a.astype(np.float32) for n, a in course.initialize_parameters_he(DIMS).items()}
    notes = rule(parameters)
    AL, cache = course.forward_propagation(X, parameters)
    grads = course.backward_propagation(X, Y, cache)
    found = notes.update(parameters, grads)
    assert {a.dtype for a in (AL, *grads.values(), *found.values())} == {np.dtype(np.float32)}
    penalized = course.backward_propagation_with_regularization(X, Y, cache, np.float64(0.7))
    assert penalized["dW1"].dtype == np.float32


# ---------------------------------------------------------------- dropout


@SEEDS
def test_dropout_keeps_the_expectation_and_its_share(seed):
    X = np.random.default_rng(seed).standard_normal((20, 40))
    parameters = course.initialize_parameters_he([20, 50, 1], seed=seed)
    hidden = course.forward_propagation(X, parameters)[1]["A1"]
    passes = [
        course.forward_propagation_with_dropout(X, parameters, 0.7, step=step, seed=seed)[1] for step in range(1000)
    ]
    assert np.mean([cache["D1"] for cache in passes]) == pytest.approx(0.7, abs=0.002)
    # The mean of 1000 has a deviation of sqrt(0.3 / 0.7 / 1000) = 2 % of the activation.
    np.testing.assert_allclose(np.mean([cache["A1"] for cache in passes], axis=0), hidden, rtol=0.11, atol=1e-12)
    assert (passes[0]["D1"] != passes[1]["D1"]).any()
    assert (passes[0]["D1"][:, 0] != passes[0]["D1"][:, 1]).any()


def test_a_step_draws_its_masks_again_and_each_layer_its_own():
    X, _ = two_moons(50, 0)
    parameters = course.initialize_parameters_he([2, 30, 30, 1])
    first, again = (course.forward_propagation_with_dropout(X, parameters, step=4, seed=7)[1] for _ in range(2))
    np.testing.assert_array_equal(first["D1"], again["D1"])
    assert (first["D1"] != first["D2"]).any()
    other = course.forward_propagation_with_dropout(X, parameters, step=4, seed=8)[1]
    assert (first["D1"] != other["D1"]).any()


def test_backward_uses_the_masks_of_the_forward_pass():
    X, Y = two_moons(40, 0)
    parameters = course.initialize_parameters_he(DIMS)
    _, cache = course.forward_propagation_with_dropout(X, parameters, 0.6, step=3)
    grads = course.backward_propagation_with_dropout(X, Y, cache, 0.6)

    def cost(X, Y, parameters):
        return course.compute_cost(course.forward_propagation_with_dropout(X, parameters, 0.6, step=3)[0], Y)

    def other(X, Y, parameters):
        return course.compute_cost(course.forward_propagation_with_dropout(X, parameters, 0.6, step=4)[0], Y)

    assert course.gradient_check(parameters, grads, X, Y, cost=cost).verdict == "right"
    assert course.gradient_check(parameters, grads, X, Y, cost=other).verdict == "wrong"


def test_keeping_all_is_no_dropout():
    X, _ = two_moons(10, 0)
    parameters = course.initialize_parameters_he(DIMS)
    kept, plain = (
        course.forward_propagation_with_dropout(X, parameters, 1.0, step=1),
        course.forward_propagation(X, parameters),
    )
    np.testing.assert_array_equal(kept[0], plain[0])
    assert kept[1].keys() == plain[1].keys()


# ---------------------------------------------------------------- batches


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_batches_hold_every_sample_once_with_its_label(size):
    X = np.arange(100.0).reshape(1, 100)
    Y = 2 * X
    batches = course.random_mini_batches(X, Y, size, seed=3)
    assert [x.shape[1] for x, _ in batches[:-1]] == [size] * (len(batches) - 1)
    assert len(batches) == -(-100 // size)
    together = np.concatenate([x for x, _ in batches], axis=1)
    assert (together != X).any()
    np.testing.assert_array_equal(np.sort(together), X)
    for x, y in batches:
        np.testing.assert_array_equal(y, 2 * x)
    again = course.random_mini_batches(X, Y, size, seed=4)
    assert (np.concatenate([x for x, _ in again], axis=1) != together).any()


# ---------------------------------------------------------------- vectors, and the gradient check


def test_vectors_and_dictionaries_turn_into_each_other():
    parameters, grads, _, _ = random_dictionaries(0)
    for dictionary in (parameters, grads):
        theta, keys = course.dictionary_to_vector(dictionary)
        assert theta.shape == (len(keys), 1)
        assert keys[0] == next(iter(dictionary))
        back = course.vector_to_dictionary(theta, dictionary)
        assert list(back) == list(dictionary)
        for name, array in dictionary.items():
            np.testing.assert_array_equal(back[name], array)
            np.testing.assert_array_equal(theta[[key == name for key in keys], 0], array.ravel())
    theta[0] = 9  # a copy of the dictionary, and views of the vector
    assert back["dW1"][0, 0] == 9
    assert grads["dW1"][0, 0] != 9


@SEEDS
def test_right_gradients_pass_the_check(seed):
    X, Y = two_moons(50, seed)
    parameters = course.initialize_parameters_he(DIMS, seed=seed)
    _, cache = course.forward_propagation(X, parameters)
    check = course.gradient_check(parameters, course.backward_propagation(X, Y, cache), X, Y)
    assert check.difference < 1e-7
    assert check.verdict == "right"

    def cost(X, Y, parameters):
        AL, _ = course.forward_propagation(X, parameters)
        return course.compute_cost_with_regularization(AL, Y, parameters, 0.9)

    grads = course.backward_propagation_with_regularization(X, Y, cache, 0.9)
    assert course.gradient_check(parameters, grads, X, Y, cost=cost).difference < 1e-7
    assert course.gradient_check(parameters, grads, X, Y).verdict == "wrong"

    X, Y, _ = three_classes(50, seed)
    parameters = course.initialize_parameters_he([2, 6, 3], seed=seed)
    _, cache = course.forward_propagation(X, parameters)
    assert course.gradient_check(parameters, course.backward_propagation(X, Y, cache), X, Y).difference < 1e-7


@SEEDS
@pytest.mark.parametrize("name", ["dW1", "db1", "dW2", "db2", "dW3", "db3"])
def test_a_planted_error_is_found_and_named(name, seed):
    X, Y = two_moons(50, seed)
    parameters = course.initialize_parameters_he(DIMS, seed=seed)
    _, cache = course.forward_propagation(X, parameters)
    grads = course.backward_propagation(X, Y, cache)
    check = course.gradient_check(parameters, grads | {name: 2 * grads[name]}, X, Y)
    assert check.difference > 1e-3
    assert (check.verdict, check.worst) == ("wrong", name)
    nearly = {name: grads[name] * (1 + 1e-4)}
    assert course.gradient_check(parameters, grads | nearly, X, Y).verdict == "look"
    lost = {name: np.full_like(grads[name], np.nan)}
    check = course.gradient_check(parameters, grads | lost, X, Y)
    assert (check.verdict, check.worst) == ("wrong", name)


def test_the_check_leaves_parameters_as_they_are():
    X, Y = two_moons(10, 0)
    parameters = course.initialize_parameters_he(DIMS)
    before = {name: array.copy() for name, array in parameters.items()}
    _, cache = course.forward_propagation(X, parameters)
    course.gradient_check(parameters, course.backward_propagation(X, Y, cache), X, Y)
    for name, array in before.items():
        np.testing.assert_array_equal(parameters[name], array)


# ---------------------------------------------------------------- errors

X, Y = two_moons(10, 0)
P, G, V, S = random_dictionaries(0)


def cache():
    return course.forward_propagation(X, P)[1]


def without(dictionary, name):
    return {other: array for other, array in dictionary.items() if other != name}


REFUSED = {
    "missing gradient": (
        lambda: course.update_parameters_with_adam(P, without(G, "dW2"), V, S, 1),
        "update_parameters_with_adam: grads lacks dW2, wanted dW1, db1, dW2, db2, dW3, db3",
    ),
    "missing moment": (lambda: course.update_parameters_with_momentum(P, G, {}), "v lacks dW1, db1, dW2"),
    "parameters for gradients": (lambda: course.update_parameters_with_gd(P, P), "grads lacks dW1, db1, dW2"),
    "gradient of another shape": (
        lambda: course.update_parameters_with_gd(P, G | {"dW2": G["dW1"]}),
        "update_parameters_with_gd: dW2 of grads has shape (12, 2), wanted (7, 12), its parameter's",
    ),
    "gradient of another dtype": (
        lambda: course.update_parameters_with_gd(P, G | {"dW2": G["dW2"].astype(np.float32)}),
        "dW2 of grads must be float64 like the other arrays, got float32",
    ),
    "flat bias": (
        lambda: course.forward_propagation(X, P | {"b2": np.zeros(7)}),
        "forward_propagation: b2 must have 2 axes",
    ),
    "missing bias": (
        lambda: course.forward_propagation(X, without(P, "b2")),
        "forward_propagation: the dictionary holds W1, b1, W2, W3, b3, wanted W1, b1, W2, b2, ...: a weight and a bias",
    ),
    "missing layer": (lambda: course.forward_propagation(X, without(P, "W2")), "holds W1, b1, b2, W3, b3, wanted"),
    "unknown parameter": (lambda: course.predict(X, P | {"gamma1": P["b1"]}), "b3, gamma1, wanted W1, b1"),
    "no parameters": (lambda: course.initialize_adam({}), "initialize_adam: the dictionary holds nothing, wanted"),
    "layers that do not fit": (
        lambda: course.forward_propagation(X, P | {"W2": P["W2"][:, 1:]}),
        "forward_propagation: W2 has shape (7, 11), wanted (7, 12), to fit what comes before it",
    ),
    "bias that does not fit": (
        lambda: course.forward_propagation(X, P | {"b2": P["b1"]}),
        "forward_propagation: b2 has shape (12, 1), wanted (7, 1)",
    ),
    "whole numbers": (
        lambda: course.forward_propagation(X, P | {"W1": np.ones((12, 2), int)}),
        "forward_propagation: W1 must be float32 or float64, got",
    ),
    "arguments in the other order": (
        lambda: course.forward_propagation(P, X),
        "forward_propagation: parameters must be a dictionary, got ndarray",
    ),
    "samples in rows": (
        lambda: course.forward_propagation(X.T, P),
        "forward_propagation: X has shape (10, 2), wanted (2, 'm'): a sample a column, to fit W1 (12, 2); if its samp",
    ),
    "X of another dtype": (
        lambda: course.forward_propagation(X.astype(np.float32), P),
        "forward_propagation: X must be float64 like the other arrays, got float32; pass X.astype(np.float64)",
    ),
    "labels in a row of their own": (
        lambda: course.compute_cost(cache()["A2"][:1], Y[0]),
        "compute_cost: Y has shape (10,), wanted (1, 10) like the outputs",
    ),
    "numbers of classes": (
        lambda: course.compute_cost(np.full((3, 10), 1 / 3), Y),
        "compute_cost: Y has shape (1, 10), wanted (3, 10) like the outputs, with a 1 at its class in every column",
    ),
    "labels of -1 and 1": (
        lambda: course.backward_propagation(X, 2 * Y - 1, cache()),
        "backward_propagation: Y holds -1, wanted 0 to 1; of -1 and 1 make (Y + 1) / 2",
    ),
    "labels that are NaN": (
        lambda: course.compute_cost(np.full((1, 10), 0.5), np.full((1, 10), np.nan)),
        "Y holds nan",
    ),
    "labels in words": (lambda: course.compute_cost(np.full((1, 1), 0.5), np.array([["a"]])), "must hold numbers"),
    "another X": (
        lambda: course.backward_propagation(X[:, :9], Y[:, :9], cache()),
        "backward_propagation: X has 9 samples, and the cache is of 10; pass the X that made it",
    ),
    "a cache in the notes' tuple": (
        lambda: course.backward_propagation(X, Y, (X, Y)),
        "backward_propagation: cache is none of this module's; pass what forward_propagation returned beside AL",
    ),
    "another keep_prob": (
        lambda: course.backward_propagation_with_dropout(X, Y, cache(), 0.8),
        "backward_propagation_with_dropout: keep_prob is 0.8, and that of the forward propagation whose cache this is "
        "was 1.0; pass the same",
    ),
    "masks that would be forgotten": (
        lambda: course.backward_propagation(X, Y, course.forward_propagation_with_dropout(X, P, step=1)[1]),
        "backward_propagation: keep_prob is 1.0, and that of the forward propagation whose cache this is was 0.5",
    ),
    "keep_prob of 0": (
        lambda: course.forward_propagation_with_dropout(X, P, 0, step=1),
        "forward_propagation_with_dropout: keep_prob is 0, wanted above 0 and at most 1 (the share that is kept)",
    ),
    "keep_prob above 1": (lambda: course.forward_propagation_with_dropout(X, P, 1.2, step=1), "keep_prob is 1.2"),
    "keep_prob of NaN": (lambda: course.forward_propagation_with_dropout(X, P, np.nan, step=1), "keep_prob is nan"),
    "no step": (lambda: course.forward_propagation_with_dropout(X, P, 0.5), "required keyword-only argument: 'step'"),
    "t of 0": (
        lambda: course.update_parameters_with_adam(P, G, V, S, 0),
        "update_parameters_with_adam: t is 0, wanted the number of the step, an integer of 1 or more",
    ),
    "t in parts": (lambda: course.update_parameters_with_adam(P, G, V, S, 1.5), "t is 1.5, wanted the number"),
    "beta of 1": (
        lambda: course.update_parameters_with_momentum(P, G, V, beta=1),
        "update_parameters_with_momentum: beta is 1, wanted at least 0 and below 1",
    ),
    "beta2 of 1": (lambda: course.update_parameters_with_adam(P, G, V, S, 1, beta2=1), "beta2 is 1, wanted at least"),
    "beta below 0": (lambda: course.update_parameters_with_rmsprop(P, G, S, beta=-1), "beta is -1, wanted at least 0"),
    "learning rate below 0": (
        lambda: course.update_parameters_with_gd(P, G, -0.1),
        "update_parameters_with_gd: learning_rate is -0.1, wanted a number of 0 or more",
    ),
    "learning rate of NaN": (lambda: course.update_parameters_with_gd(P, G, np.nan), "learning_rate is nan, wanted"),
    "epsilon below 0": (lambda: course.update_parameters_with_rmsprop(P, G, S, epsilon=-1), "epsilon is -1, wanted"),
    "lambda below 0": (
        lambda: course.backward_propagation_with_regularization(X, Y, cache(), -1),
        "backward_propagation_with_regularization: lambd is -1, wanted a number of 0 or more",
    ),
    "one layer's width": (
        lambda: course.initialize_parameters_he([2]),
        "initialize_parameters_he: layers_dims is [2], wanted the inputs and the units of each layer",
    ),
    "no units": (lambda: course.initialize_parameters_zeros([2, 0, 1]), "layers_dims is [2, 0, 1], wanted"),
    "half a unit": (lambda: course.initialize_parameters_random([2, 2.5]), "layers_dims is [2, 2.5], wanted"),
    "vector of another size": (
        lambda: course.vector_to_dictionary(np.zeros((3, 1)), P),
        "vector_to_dictionary: theta has shape (3, 1), wanted (135, 1), a number for each of `like`",
    ),
    "vector that is no column": (lambda: course.vector_to_dictionary(np.zeros(135), P), "theta has shape (135,), wan"),
    "gradients that lack one": (
        lambda: course.dictionary_to_vector(without(G, "db2")),
        "dictionary_to_vector: the dictionary holds dW1, db1, dW2, dW3, db3, wanted dW1, db1, dW2, db2, ...",
    ),
    "check in float32": (
        lambda: course.gradient_check(
            {n: a.astype(np.float32) for n, a in P.items()}, {n: a.astype(np.float32) for n, a in G.items()}, X, Y
        ),
        "gradient_check: parameters are float32, wanted float64",
    ),
    "check without a step": (lambda: course.gradient_check(P, G, X, Y, epsilon=0), "epsilon is 0, wanted more than 0"),
    "batches of nothing": (
        lambda: course.random_mini_batches(X, Y, 0),
        "random_mini_batches: mini_batch_size is 0, wanted at least 1",
    ),
    "batches of X and Y that differ": (
        lambda: course.random_mini_batches(X, Y[:, :9]),
        "random_mini_batches: X has 10 columns and Y 9, wanted as many, a sample each",
    ),
    "batches of a flat Y": (
        lambda: course.random_mini_batches(X, Y[0]),
        "random_mini_batches: Y must be an array of 2 axes, a sample a column, got (10,)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        call()


@pytest.mark.slow
def test_the_example_gets_the_layer_apis_accuracy_and_draws(root, tmp_path, monkeypatch, capsys):
    picture = tmp_path / "course.png"
    monkeypatch.setattr("sys.argv", ["course.py", "--plot", str(picture)])
    runpy.run_path(str(root / "examples" / "course.py"))
    said = capsys.readouterr().out
    ours, of_layers = (float(found) for found in re.findall(r"accuracy ([0-9.]+)%", said))
    assert ours == of_layers > 94
    assert picture.read_bytes().startswith(b"\x89PNG")
