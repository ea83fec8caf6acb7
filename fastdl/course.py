"""The interface of course notes: parameters in dictionaries, samples in columns; the same kernels.

Parameters are W1 (n_1, n_0), b1 (n_1, 1), W2, ...; gradients and moments are dW1, db1, .... X is (n_0, m), a
sample a column, and Y (1, m) of 0 and 1, or one-hot, (classes, m). Hidden layers are ReLU; the last one is a
sigmoid if it has one unit, else a softmax. Arrays are NumPy's, of float64, or float32 if X and the parameters are.

No function changes what it is given: updates return new dictionaries, whose arrays are views of one vector.
Kernels take a sample a row, so arrays go to them transposed. `keep_prob` is 1 - rate, the share that dropout
keeps.

Examples
--------
>>> import numpy as np
>>> from fastdl import course
>>> X = np.array([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]])
>>> Y = np.array([[0, 1, 1, 0]])
>>> parameters = course.initialize_parameters_he([2, 8, 8, 1], seed=0)
>>> v, s = course.initialize_adam(parameters)
>>> t = 0
>>> for epoch in range(200):
...     for X_batch, Y_batch in course.random_mini_batches(X, Y, mini_batch_size=4, seed=epoch):
...         AL, cache = course.forward_propagation(X_batch, parameters)
...         grads = course.backward_propagation(X_batch, Y_batch, cache)
...         t += 1
...         parameters, v, s = course.update_parameters_with_adam(parameters, grads, v, s, t)
>>> course.predict(X, parameters)
array([[0, 1, 1, 0]])
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import checks, initializers, ops, random
from .gradient_check import RIGHT, WRONG
from .initializers import Initializer
from .testing import numerical_gradient
from .typing import Array, Shape

__all__ = [
    "GradientCheck",
    "backward_propagation",
    "backward_propagation_with_dropout",
    "backward_propagation_with_regularization",
    "compute_cost",
    "compute_cost_with_regularization",
    "dictionary_to_vector",
    "forward_propagation",
    "forward_propagation_with_dropout",
    "gradient_check",
    "initialize_adam",
    "initialize_parameters_he",
    "initialize_parameters_random",
    "initialize_parameters_xavier",
    "initialize_parameters_zeros",
    "initialize_velocity",
    "predict",
    "random_mini_batches",
    "update_parameters_with_adam",
    "update_parameters_with_gd",
    "update_parameters_with_momentum",
    "update_parameters_with_rmsprop",
    "vector_to_dictionary",
]

Arrays = dict[str, Array]
Given = Mapping[str, Array]

# ---------------------------------------------------------------- parameters at the start


def initialize_parameters_zeros(layers_dims: Sequence[int]) -> Arrays:
    """W = 0, b = 0: the start that shows why units must not be alike.

    Parameters
    ----------
    layers_dims : sequence of int
        The inputs, then the units of each layer.

    Returns
    -------
    dict of W1, b1, W2, ...

    Examples
    --------
    >>> from fastdl import course
    >>> course.initialize_parameters_zeros([3, 2])
    {'W1': array([[0., 0., 0.],
           [0., 0., 0.]]), 'b1': array([[0.],
           [0.]])}
    """
    return _start("initialize_parameters_zeros", layers_dims, initializers.zeros, 0)


def initialize_parameters_random(layers_dims: Sequence[int], scale: float = 0.01, seed: int = 0) -> Arrays:
    """W = scale N(0, 1), b = 0; at a scale of 10, as notes try it, units saturate.

    Parameters
    ----------
    layers_dims : sequence of int
        The inputs, then the units of each layer.
    scale : float
        Above 0.
    seed : int

    Returns
    -------
    dict of W1, b1, W2, ...

    Examples
    --------
    >>> from fastdl import course
    >>> course.initialize_parameters_random([300, 100], scale=10)["W1"].std().round()
    np.float64(10.0)
    """
    return _start("initialize_parameters_random", layers_dims, initializers.Normal(scale), seed)


def initialize_parameters_he(layers_dims: Sequence[int], seed: int = 0) -> Arrays:
    """W = N(0, 2 / n_in), for ReLU; b = 0.

    Parameters
    ----------
    layers_dims : sequence of int
        The inputs, then the units of each layer.
    seed : int
        The weights are those that a `Sequential` of `Linear` layers draws by it.

    Returns
    -------
    dict of W1, b1, W2, ...

    References
    ----------
    He et al., Delving deep into rectifiers, 2015, https://arxiv.org/abs/1502.01852.

    Examples
    --------
    >>> from fastdl import course
    >>> parameters = course.initialize_parameters_he([200, 100, 1])
    >>> {name: array.shape for name, array in parameters.items()}
    {'W1': (100, 200), 'b1': (100, 1), 'W2': (1, 100), 'b2': (1, 1)}
    >>> parameters["W1"].var().round(3)
    np.float64(0.01)
    """
    return _start("initialize_parameters_he", layers_dims, initializers.he_normal, seed)


def initialize_parameters_xavier(layers_dims: Sequence[int], seed: int = 0) -> Arrays:
    """W = N(0, 1 / n_in), for tanh; b = 0.

    Parameters
    ----------
    layers_dims : sequence of int
        The inputs, then the units of each layer.
    seed : int

    Returns
    -------
    dict of W1, b1, W2, ...

    References
    ----------
    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010,
    https://proceedings.mlr.press/v9/glorot10a.html; the notes leave out n_out.

    Examples
    --------
    >>> from fastdl import course
    >>> course.initialize_parameters_xavier([200, 100])["W1"].var().round(3)
    np.float64(0.005)
    """
    return _start("initialize_parameters_xavier", layers_dims, initializers.xavier_normal, seed)


def _start(op: str, layers_dims: Sequence[int], initializer: Initializer, seed: int) -> Arrays:
    checks.word(op, "seed", seed, 64)
    if len(layers_dims) < 2 or not all(isinstance(n, (int, np.integer)) and n >= 1 for n in layers_dims):
        raise ValueError(
            f"{op}: layers_dims is {layers_dims}, wanted the inputs and the units of each layer, [2, 10, 1] say: two "
            "or more integers of at least 1"
        )
    parameters = {}
    for layer, shape in enumerate(itertools.pairwise(layers_dims), 1):
        # The stream of a Linear's weight in a Sequential, where every layer has two parameters.
        stream = random.STARTS + 2 * (layer - 1)
        parameters[f"W{layer}"] = initializer(shape, seed, stream).T.copy()
        parameters[f"b{layer}"] = np.zeros((shape[1], 1))
    return parameters


# ---------------------------------------------------------------- forward, cost, backward


def forward_propagation(X: Array, parameters: Given) -> tuple[Array, dict[str, Any]]:
    """A_l = ReLU(W_l A_l-1 + b_l), A_0 = X; the last layer's is a sigmoid, or softmax.

    Parameters
    ----------
    X : (n_0, m)
    parameters : dict of W1, b1, W2, ...

    Returns
    -------
    AL : (1, m) or (classes, m)
        Probabilities: of class 1, or of each class.
    cache : dict
        What backward propagation needs: the parameters, A1, A2, ..., and the last layer's sums, Z.

    Raises
    ------
    TypeError, ValueError
        For parameters that do not fit each other, or an X that does not fit them.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import course
    >>> parameters = {"W1": np.array([[1.0, -1.0]]), "b1": np.array([[np.log(3.0)]])}
    >>> course.forward_propagation(np.array([[2.0, 0.0], [2.0, 50.0]]), parameters)[0].round(6)
    array([[0.75, 0.  ]])
    """
    return _forward("forward_propagation", X, parameters)


def forward_propagation_with_dropout(
    X: Array, parameters: Given, keep_prob: float = 0.5, *, step: int, seed: int = 0
) -> tuple[Array, dict[str, Any]]:
    """Forward propagation with A_l = D_l ReLU(W_l A_l-1 + b_l) / keep_prob in hidden layers.

    The masks D_l depend on seed, step, layer and element alone: give every pass a `step` of its own.

    Parameters
    ----------
    X : (n_0, m)
    parameters : dict of W1, b1, W2, ...
    keep_prob : float
        The share of units that is kept, 0 < keep_prob <= 1.
    step, seed : int
        Step t of a `TrainStep` of that seed drops the same units, in a `Sequential` with a `Dropout` after
        each hidden `Linear`, which has its ReLU as its activation.

    Returns
    -------
    AL : (1, m) or (classes, m)
    cache : dict
        As `forward_propagation` returns, and D1, D2, ..., the masks of 0 and 1.

    References
    ----------
    Srivastava et al., Dropout, JMLR 15, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import course
    >>> parameters = course.initialize_parameters_he([2, 100, 1])
    >>> AL, cache = course.forward_propagation_with_dropout(np.ones((2, 50)), parameters, keep_prob=0.8, step=1)
    >>> cache["D1"].shape, cache["D1"].mean().round(2)
    ((100, 50), np.float64(0.8))
    """
    return _forward("forward_propagation_with_dropout", X, parameters, keep_prob, step, seed)


def _forward(
    op: str, X: Array, parameters: Given, keep_prob: float = 1.0, step: int = 0, seed: int = 0
) -> tuple[Array, dict[str, Any]]:
    if not 0 < keep_prob <= 1:
        raise ValueError(f"{op}: keep_prob is {keep_prob}, wanted above 0 and at most 1 (the share that is kept)")
    last = len(_shapes(op, parameters)) // 2
    a = _rows(op, X, parameters["W1"])
    cache: dict[str, Any] = {**parameters, "keep_prob": keep_prob}
    for layer in range(1, last):
        a = ops.matmul(a, parameters[f"W{layer}"].T, parameters[f"b{layer}"][:, 0], activation="relu")
        if keep_prob < 1:
            stream = 2 * layer  # of a Dropout's place, when it stands after each hidden Linear of a Sequential
            a, mask = ops.dropout(a, rate=1 - keep_prob, seed=seed, stream=stream, step=step)
            assert mask is not None
            cache[f"D{layer}"] = mask.T
        cache[f"A{layer}"] = a.T
    z = ops.matmul(a, parameters[f"W{last}"].T, parameters[f"b{last}"][:, 0])
    cache[f"Z{last}"] = z.T
    probabilities = ops.activation(z, "sigmoid") if z.shape[1] == 1 else ops.softmax(z)
    return probabilities.T, cache


def compute_cost(AL: Array, Y: Array) -> float:
    """J = -1/m sum (y log a + (1 - y) log(1 - a)), or of several classes -1/m sum y log a.

    Parameters
    ----------
    AL : (1, m) or (classes, m)
        Probabilities, from `forward_propagation`.
    Y : (1, m) of 0 and 1, or one-hot (classes, m)

    Returns
    -------
    float
        Infinite where a wrong class has probability 1 in AL's precision; gradients do not come from it.

    Raises
    ------
    ValueError
        For a Y of another shape, or with values that are not from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import course
    >>> round(course.compute_cost(np.array([[0.75, 0.5]]), np.array([[1, 0]])), 6)
    0.490415
    """
    from scipy.special import xlog1py, xlogy

    AL = checks.array("compute_cost", "AL", AL, "cm")
    y = _targets("compute_cost", Y, AL.shape, AL.dtype)
    gained = xlogy(y, AL)
    if len(AL) == 1:
        gained += xlog1py(1 - y, -AL)
    m: int = AL.shape[1]
    return -float(gained.sum(dtype=np.float64)) / m


def compute_cost_with_regularization(AL: Array, Y: Array, parameters: Given, lambd: float) -> float:
    """J + lambd / (2 m) sum W^2: the cost with L2 on all weights, not on biases.

    Parameters
    ----------
    AL : (1, m) or (classes, m)
    Y : (1, m) of 0 and 1, or one-hot (classes, m)
    parameters : dict of W1, b1, W2, ...
    lambd : float
        0 or more; `weight_decay` of an optimizer is lambd / m.

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import course
    >>> parameters = {"W1": np.array([[3.0]]), "b1": np.array([[9.0]])}
    >>> round(course.compute_cost_with_regularization(np.array([[1.0, 0.0]]), np.array([[1, 0]]), parameters, 0.8), 6)
    1.8
    """
    op = "compute_cost_with_regularization"
    _check_from_zero(op, lambd=lambd)
    squares = sum(
        float(np.square(parameters[name], dtype=np.float64).sum())
        for name in _shapes(op, parameters)
        if name.startswith("W")
    )
    m: int = AL.shape[1]
    return compute_cost(AL, Y) + lambd / (2 * m) * squares


def backward_propagation(X: Array, Y: Array, cache: Mapping[str, Any]) -> Arrays:
    """dZ_L = (A_L - Y) / m; dW_l = dZ_l A_l-1', db_l = sum dZ_l, dZ_l-1 = W_l' dZ_l where A_l-1 > 0.

    Parameters
    ----------
    X : (n_0, m)
        As it was given to `forward_propagation`.
    Y : (1, m) of 0 and 1, or one-hot (classes, m)
    cache : dict
        What `forward_propagation` returned.

    Returns
    -------
    dict of dW1, db1, dW2, ...
        The gradients of `compute_cost`, 1/m included.

    Raises
    ------
    ValueError
        For X or Y that do not fit the cache, or the cache of a forward propagation with dropout.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import course
    >>> X, Y = np.array([[1.0, 4.0]]), np.array([[1, 0]])
    >>> AL, cache = course.forward_propagation(X, course.initialize_parameters_zeros([1, 1]))
    >>> course.backward_propagation(X, Y, cache)
    {'dW1': array([[0.75]]), 'db1': array([[0.]])}
    """
    return _backward("backward_propagation", X, Y, cache)


def backward_propagation_with_dropout(X: Array, Y: Array, cache: Mapping[str, Any], keep_prob: float) -> Arrays:
    """Backward propagation by the masks of the forward pass: dA_l = D_l dA_l / keep_prob.

    Parameters
    ----------
    X : (n_0, m)
    Y : (1, m) of 0 and 1, or one-hot (classes, m)
    cache : dict
        What `forward_propagation_with_dropout` returned.
    keep_prob : float
        As it was given there.

    Returns
    -------
    dict of dW1, db1, dW2, ...

    Raises
    ------
    ValueError
        For another keep_prob than that of the forward pass, beside what `backward_propagation` raises.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import course
    >>> X, Y, parameters = np.ones((2, 4)), np.ones((1, 4)), course.initialize_parameters_he([2, 3, 1])
    >>> AL, cache = course.forward_propagation_with_dropout(X, parameters, keep_prob=0.5, step=1)
    >>> grads = course.backward_propagation_with_dropout(X, Y, cache, keep_prob=0.5)
    >>> [name for name in grads if grads[name].shape != parameters[name[1:]].shape]
    []
    """
    return _backward("backward_propagation_with_dropout", X, Y, cache, keep_prob)


def backward_propagation_with_regularization(X: Array, Y: Array, cache: Mapping[str, Any], lambd: float) -> Arrays:
    """Backward propagation with L2: dW_l + lambd / m W_l, the gradient of `compute_cost_with_regularization`.

    Parameters
    ----------
    X : (n_0, m)
    Y : (1, m) of 0 and 1, or one-hot (classes, m)
    cache : dict
        What `forward_propagation` returned.
    lambd : float
        0 or more; m is the number of samples at hand, a mini-batch's too.

    Returns
    -------
    dict of dW1, db1, dW2, ...

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import course
    >>> X, Y, parameters = np.zeros((1, 2)), np.array([[1, 0]]), {"W1": np.array([[3.0]]), "b1": np.zeros((1, 1))}
    >>> AL, cache = course.forward_propagation(X, parameters)
    >>> course.backward_propagation_with_regularization(X, Y, cache, lambd=0.5)
    {'dW1': array([[0.75]]), 'db1': array([[0.]])}
    """
    op = "backward_propagation_with_regularization"
    _check_from_zero(op, lambd=lambd)
    grads = _backward(op, X, Y, cache)
    for name in grads:
        if name.startswith("dW"):
            grads[name] += lambd / X.shape[1] * cache[name[1:]]
    return grads


def _backward(op: str, X: Array, Y: Array, cache: Mapping[str, Any], keep_prob: float = 1.0) -> Arrays:
    if not isinstance(cache, Mapping) or "keep_prob" not in cache:
        raise TypeError(f"{op}: cache is none of this module's; pass what forward_propagation returned beside AL")
    if cache["keep_prob"] != keep_prob:
        raise ValueError(
            f"{op}: keep_prob is {keep_prob}, and that of the forward propagation whose cache this is was "
            f"{cache['keep_prob']}; pass the same, to the function that belongs to it"
        )
    last = sum(name.startswith("W") for name in cache)
    z = cache[f"Z{last}"].T
    x = _rows(op, X, cache["W1"])
    if len(x) != len(z):
        raise ValueError(f"{op}: X has {len(x)} samples, and the cache is of {len(z)}; pass the X that made it")
    y = _targets(op, Y, z.T.shape, z.dtype).T
    dz = (ops.loss(z, y, "bce") if z.shape[1] == 1 else ops.softmax_cross_entropy(z, y))[1]
    grads = {}
    for layer in range(last, 0, -1):
        below = cache[f"A{layer - 1}"].T if layer > 1 else x
        dw, db = ops.matmul_backward_weights(below, dz)
        assert db is not None
        grads[f"db{layer}"], grads[f"dW{layer}"] = db[:, np.newaxis], dw.T
        if layer > 1:
            da = ops.matmul(dz, cache[f"W{layer}"])
            if keep_prob < 1:
                da = ops.dropout_backward(da, cache[f"D{layer - 1}"].T, rate=1 - keep_prob)
            dz = ops.activation_backward(da, "relu", y=below)
    return dict(reversed(grads.items()))


def predict(X: Array, parameters: Given) -> Array:
    """The class of each sample: 1 where its probability is above 1/2, or the most probable one.

    Parameters
    ----------
    X : (n_0, m)
    parameters : dict of W1, b1, W2, ...

    Returns
    -------
    (1, m) int64 array.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import course
    >>> course.predict(np.array([[-2.0, 3.0]]), {"W1": np.array([[1.0]]), "b1": np.array([[0.0]])})
    array([[0, 1]])
    """
    AL, _ = _forward("predict", X, parameters)
    classes: Array = (AL > 0.5).astype(np.int64) if len(AL) == 1 else AL.argmax(axis=0)[np.newaxis]
    return classes


# ---------------------------------------------------------------- batches


def random_mini_batches(X: Array, Y: Array, mini_batch_size: int = 64, seed: int = 0) -> list[tuple[Array, Array]]:
    """All samples in a random order, cut into batches.

    Parameters
    ----------
    X : (n_0, m)
    Y : (1, m) or (classes, m)
    mini_batch_size : int
        The last batch may be smaller.
    seed : int
        All that the order depends on: give every epoch another.

    Returns
    -------
    list of (X, Y)
        In the order of epoch 0 of `fastdl.data.batches` with that seed.

    Raises
    ------
    ValueError
        For an X and a Y of different numbers of samples, or a batch of less than one.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import course
    >>> X, Y = np.arange(5.0).reshape(1, 5), np.array([[0, 1, 2, 3, 4]])
    >>> [labels.tolist() for _, labels in course.random_mini_batches(X, Y, 2, seed=0)]
    [[[2, 3]], [[0, 1]], [[4]]]
    """
    op = "random_mini_batches"
    for name, value in (("X", X), ("Y", Y)):
        if not isinstance(value, np.ndarray) or value.ndim != 2:
            raise ValueError(f"{op}: {name} must be an array of 2 axes, a sample a column, got {np.shape(value)}")
    m = X.shape[1]
    if Y.shape[1] != m:
        raise ValueError(f"{op}: X has {m} columns and Y {Y.shape[1]}, wanted as many, a sample each")
    if mini_batch_size < 1:
        raise ValueError(f"{op}: mini_batch_size is {mini_batch_size}, wanted at least 1")
    order = random.permutation(m, seed=seed)
    parts = [order[start : start + mini_batch_size] for start in range(0, m, mini_batch_size)]
    return [(X[:, part], Y[:, part]) for part in parts]


# ---------------------------------------------------------------- updates


def initialize_velocity(parameters: Given) -> Arrays:
    """v = 0, for momentum, and likewise s for RMSProp.

    Parameters
    ----------
    parameters : dict of W1, b1, W2, ...

    Returns
    -------
    dict of dW1, db1, dW2, ...

    Examples
    --------
    >>> from fastdl import course
    >>> course.initialize_velocity(course.initialize_parameters_he([2, 1]))
    {'dW1': array([[0., 0.]]), 'db1': array([[0.]])}
    """
    return _zeros("initialize_velocity", parameters)


def initialize_adam(parameters: Given) -> tuple[Arrays, Arrays]:
    """v = 0 and s = 0, for Adam.

    Parameters
    ----------
    parameters : dict of W1, b1, W2, ...

    Returns
    -------
    v, s : dicts of dW1, db1, dW2, ...

    Examples
    --------
    >>> from fastdl import course
    >>> v, s = course.initialize_adam(course.initialize_parameters_he([2, 1]))
    >>> s
    {'dW1': array([[0., 0.]]), 'db1': array([[0.]])}
    """
    return _zeros("initialize_adam", parameters), _zeros("initialize_adam", parameters)


def _zeros(op: str, parameters: Given) -> Arrays:
    return {f"d{name}": np.zeros(shape, parameters[name].dtype) for name, shape in _shapes(op, parameters).items()}


def update_parameters_with_gd(parameters: Given, grads: Given, learning_rate: float = 0.01) -> Arrays:
    """Gradient descent: W - learning_rate dW.

    Parameters
    ----------
    parameters : dict of W1, b1, W2, ...
    grads : dict of dW1, db1, dW2, ...
    learning_rate : float
        0 or more.

    Returns
    -------
    dict
        New parameters.

    Raises
    ------
    TypeError, ValueError
        For gradients that are missing or do not fit their parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import course
    >>> parameters = {"W1": np.array([[1.0, 2.0]]), "b1": np.array([[0.0]])}
    >>> grads = {"dW1": np.array([[1.0, -1.0]]), "db1": np.array([[5.0]])}
    >>> course.update_parameters_with_gd(parameters, grads, learning_rate=0.1)
    {'W1': array([[0.9, 2.1]]), 'b1': array([[-0.5]])}
    """
    op = "update_parameters_with_gd"
    _check_from_zero(op, learning_rate=learning_rate)
    shapes = _shapes(op, parameters)
    p, g = _vectors(op, shapes, parameters, grads=grads)
    ops.sgd_update(p, g, lr=learning_rate)
    return _cut(p, shapes)


def update_parameters_with_momentum(
    parameters: Given, grads: Given, v: Given, beta: float = 0.9, learning_rate: float = 0.01
) -> tuple[Arrays, Arrays]:
    """v = beta v + (1 - beta) dW; W - learning_rate v.

    Parameters
    ----------
    parameters : dict of W1, b1, W2, ...
    grads : dict of dW1, db1, dW2, ...
    v : dict of dW1, db1, dW2, ...
        From `initialize_velocity`, then from the step before.
    beta : float
        0 <= beta < 1; v remembers about 1 / (1 - beta) steps.
    learning_rate : float
        0 or more.

    Returns
    -------
    parameters, v : dicts
        New ones.

    References
    ----------
    Polyak, Some methods of speeding up the convergence of iteration methods, 1964.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import course
    >>> parameters = {"W1": np.array([[1.0]]), "b1": np.array([[0.0]])}
    >>> grads = {"dW1": np.array([[2.0]]), "db1": np.array([[4.0]])}
    >>> v = course.initialize_velocity(parameters)
    >>> course.update_parameters_with_momentum(parameters, grads, v, beta=0.5, learning_rate=0.1)
    ({'W1': array([[0.9]]), 'b1': array([[-0.2]])}, {'dW1': array([[1.]]), 'db1': array([[2.]])})
    """
    op = "update_parameters_with_momentum"
    _check_from_zero(op, learning_rate=learning_rate)
    _check_below_one(op, beta=beta)
    shapes = _shapes(op, parameters)
    p, g, mean = _vectors(op, shapes, parameters, grads=grads, v=v)
    ops.momentum_update(p, g, mean, lr=learning_rate, momentum=beta, dampening=beta)
    return _cut(p, shapes), _cut(mean, shapes, "d")


def update_parameters_with_rmsprop(
    parameters: Given,
    grads: Given,
    s: Given,
    beta: float = 0.999,
    learning_rate: float = 0.01,
    epsilon: float = 1e-8,
) -> tuple[Arrays, Arrays]:
    """s = beta s + (1 - beta) dW^2; W - learning_rate dW / sqrt(s + epsilon).

    Parameters
    ----------
    parameters : dict of W1, b1, W2, ...
    grads : dict of dW1, db1, dW2, ...
    s : dict of dW1, db1, dW2, ...
        From `initialize_velocity`, then from the step before.
    beta : float
        0 <= beta < 1.
    learning_rate, epsilon : float
        0 or more.

    Returns
    -------
    parameters, s : dicts
        New ones.

    References
    ----------
    Tieleman and Hinton, Lecture 6.5, Neural networks for machine learning, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import course
    >>> parameters = {"W1": np.array([[1.0]]), "b1": np.array([[0.0]])}
    >>> grads = {"dW1": np.array([[2.0]]), "db1": np.array([[4.0]])}
    >>> s = course.initialize_velocity(parameters)
    >>> parameters, s = course.update_parameters_with_rmsprop(parameters, grads, s, beta=0.75, learning_rate=0.1)
    >>> parameters["W1"].round(6), s["dW1"]
    (array([[0.8]]), array([[1.]]))
    """
    op = "update_parameters_with_rmsprop"
    _check_from_zero(op, learning_rate=learning_rate, epsilon=epsilon)
    _check_below_one(op, beta=beta)
    shapes = _shapes(op, parameters)
    p, g, square = _vectors(op, shapes, parameters, grads=grads, s=s)
    ops.rmsprop_update(p, g, square, lr=learning_rate, beta=beta, eps=epsilon, eps_inside=True)
    return _cut(p, shapes), _cut(square, shapes, "d")


def update_parameters_with_adam(
    parameters: Given,
    grads: Given,
    v: Given,
    s: Given,
    t: int,
    learning_rate: float = 0.01,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[Arrays, Arrays, Arrays]:
    """v = beta1 v + (1 - beta1) dW; s = beta2 s + (1 - beta2) dW^2; W - learning_rate v_hat / sqrt(s_hat + epsilon).

    v_hat = v / (1 - beta1^t) and s_hat = s / (1 - beta2^t) are corrected for their start at 0.

    Parameters
    ----------
    parameters : dict of W1, b1, W2, ...
    grads : dict of dW1, db1, dW2, ...
    v, s : dicts of dW1, db1, dW2, ...
        From `initialize_adam`, then from the step before.
    t : int
        The number of the step, from 1 on.
    learning_rate, epsilon : float
        0 or more.
    beta1, beta2 : float
        At least 0 and below 1.

    Returns
    -------
    parameters, v, s : dicts
        New ones.

    Raises
    ------
    TypeError, ValueError
        For a t below 1, or gradients that are missing or do not fit their parameters.

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, 2015, https://arxiv.org/abs/1412.6980.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import course
    >>> parameters = {"W1": np.array([[1.0]]), "b1": np.array([[0.0]])}
    >>> grads = {"dW1": np.array([[2.0]]), "db1": np.array([[-4.0]])}
    >>> v, s = course.initialize_adam(parameters)
    >>> parameters, v, s = course.update_parameters_with_adam(parameters, grads, v, s, t=1, learning_rate=0.1)
    >>> parameters["W1"].round(6), parameters["b1"].round(6)
    (array([[0.9]]), array([[0.1]]))
    """
    op = "update_parameters_with_adam"
    if not isinstance(t, (int, np.integer)) or t < 1:
        raise ValueError(f"{op}: t is {t!r}, wanted the number of the step, an integer of 1 or more")
    _check_from_zero(op, learning_rate=learning_rate, epsilon=epsilon)
    _check_below_one(op, beta1=beta1, beta2=beta2)
    shapes = _shapes(op, parameters)
    p, g, mean, square = _vectors(op, shapes, parameters, grads=grads, v=v, s=s)
    betas = beta1, beta2
    ops.adam_update(p, g, mean, square, step=int(t), lr=learning_rate, betas=betas, eps=epsilon, eps_inside=True)
    return _cut(p, shapes), _cut(mean, shapes, "d"), _cut(square, shapes, "d")


# ---------------------------------------------------------------- vectors, and the gradient check


def dictionary_to_vector(dictionary: Given) -> tuple[Array, list[str]]:
    """All numbers of W1, b1, W2, ... in one column, row by row.

    Parameters
    ----------
    dictionary : dict of W1, b1, W2, ..., or of dW1, db1, dW2, ...
        In gradients, what else there is, dA1 say, is left out.

    Returns
    -------
    theta : (n, 1) array
        A copy.
    keys : list of n str
        Which array each number is from.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import course
    >>> course.dictionary_to_vector({"W1": np.array([[1.0, 2.0]]), "b1": np.array([[3.0]])})
    (array([[1.],
           [2.],
           [3.]]), ['W1', 'W1', 'b1'])
    """
    op = "dictionary_to_vector"
    shapes = _shapes(op, dictionary, _prefix(dictionary))
    theta = _flat(op, "the dictionary", dictionary, shapes)
    return theta[:, np.newaxis], [name for name, shape in shapes.items() for _ in range(math.prod(shape))]


def vector_to_dictionary(theta: Array, like: Given) -> Arrays:
    """The inverse of `dictionary_to_vector`.

    Parameters
    ----------
    theta : (n, 1)
    like : dict of W1, b1, W2, ..., or of dW1, db1, dW2, ...
        Its names and shapes are taken.

    Returns
    -------
    dict
        Views of theta, if it is contiguous.

    Raises
    ------
    ValueError
        For a vector of another size.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import course
    >>> like = course.initialize_parameters_zeros([2, 1])
    >>> course.vector_to_dictionary(np.array([[1.0], [2.0], [3.0]]), like)
    {'W1': array([[1., 2.]]), 'b1': array([[3.]])}
    """
    prefix = _prefix(like)
    shapes = _shapes("vector_to_dictionary", like, prefix)
    n = sum(map(math.prod, shapes.values()))
    if np.shape(theta) != (n, 1):
        raise ValueError(
            f"vector_to_dictionary: theta has shape {np.shape(theta)}, wanted {(n, 1)}, a number for each of `like`"
        )
    return _cut(theta[:, 0], shapes)


class GradientCheck(NamedTuple):
    """What `gradient_check` found."""

    difference: float
    verdict: str
    """One of "right", below 1e-7, "wrong", above 1e-3, and "look" between them."""
    worst: str
    """Which of dW1, db1, ... differs most."""


def _cost(X: Array, Y: Array, parameters: Arrays) -> float:
    return compute_cost(forward_propagation(X, parameters)[0], Y)


def gradient_check(
    parameters: Given,
    gradients: Given,
    X: Array,
    Y: Array,
    epsilon: float = 1e-7,
    cost: Callable[[Array, Array, Arrays], float] = _cost,
) -> GradientCheck:
    """difference = |g - g_hat| / (|g| + |g_hat|), of gradients g and central differences g_hat.

    g_hat_i = (J(theta + epsilon e_i) - J(theta - epsilon e_i)) / (2 epsilon), for every number of theta.

    Parameters
    ----------
    parameters : dict of W1, b1, W2, ...
        In float64: differences over 1e-7 drown in float32.
    gradients : dict of dW1, db1, dW2, ...
        From a backward propagation of X and Y.
    X : (n_0, m)
    Y : (1, m) of 0 and 1, or one-hot (classes, m)
    epsilon : float
        Above 0.
    cost : function of X, Y and parameters
        J, where it is not that of `forward_propagation` and `compute_cost`: with L2 say, or with
        dropout, of the same seed and step each time.

    Returns
    -------
    GradientCheck
        difference, a verdict ("right", "look" or "wrong"), and which gradient differs most.

    Raises
    ------
    TypeError, ValueError
        For parameters in float32, or gradients that are missing or do not fit them.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import course
    >>> X, Y = np.array([[0.1, -2.0, 3.0], [1.0, 0.5, -0.7]]), np.array([[0, 1, 1]])
    >>> parameters = course.initialize_parameters_he([2, 4, 3, 1], seed=3)
    >>> AL, cache = course.forward_propagation(X, parameters)
    >>> grads = course.backward_propagation(X, Y, cache)
    >>> course.gradient_check(parameters, grads, X, Y).verdict
    'right'
    >>> check = course.gradient_check(parameters, grads | {"dW2": 2 * grads["dW2"]}, X, Y)
    >>> check.verdict, check.worst
    ('wrong', 'dW2')
    """
    op = "gradient_check"
    if not epsilon > 0:
        raise ValueError(f"{op}: epsilon is {epsilon}, wanted more than 0")
    shapes = _shapes(op, parameters)
    theta, g = _vectors(op, shapes, parameters, gradients=gradients)
    if theta.dtype != np.float64:
        raise TypeError(
            f"{op}: parameters are {theta.dtype}, wanted float64, since differences over {epsilon} drown in less; "
            "pass X, parameters and gradients as float64"
        )
    moved = _cut(theta, shapes)  # views: they change as theta does
    g_hat = numerical_gradient(lambda: cost(X, Y, moved), theta, step=epsilon)
    sizes = float(np.linalg.norm(g) + np.linalg.norm(g_hat))
    difference = float(np.linalg.norm(g - g_hat)) / sizes if sizes else 0.0
    verdict = "right" if difference < RIGHT else "look" if difference <= WRONG else "wrong"
    apart = [np.linalg.norm(part) for part in _cut(g - g_hat, shapes).values()]
    return GradientCheck(difference, verdict, f"d{list(shapes)[int(np.argmax(apart))]}")


# ---------------------------------------------------------------- dictionaries: what is checked, and vectors of them


def _prefix(dictionary: Given) -> str:
    """What stands before W1: "d" in gradients and moments."""
    return "d" if "dW1" in dictionary else ""


def _shapes(op: str, dictionary: Given, prefix: str = "") -> dict[str, Shape]:
    """Shapes of W1, b1, W2, ...; raises unless that is all there is, each fits the next, and all are of one dtype."""
    if not isinstance(dictionary, Mapping):
        raise TypeError(f"{op}: parameters must be a dictionary, got {type(dictionary).__qualname__}")
    layers = list(itertools.takewhile(lambda layer: f"{prefix}W{layer}" in dictionary, itertools.count(1)))
    names = [f"{prefix}{kind}{layer}" for layer in layers for kind in "Wb"]
    lacks = any(name not in dictionary for name in names)
    if not layers or lacks or (not prefix and len(dictionary) > len(names)):
        pairs = ", ".join(f"{prefix}{name}" for name in ("W1", "b1", "W2", "b2"))
        held = ", ".join(map(str, dictionary)) or "nothing"
        raise ValueError(f"{op}: the dictionary holds {held}, wanted {pairs}, ...: a weight and a bias for each layer")
    dtype = checks.array(op, names[0], dictionary[names[0]], "oi").dtype
    shapes: dict[str, Shape] = {name: checks.array(op, name, dictionary[name], "oi", dtype).shape for name in names}
    inputs = shapes[names[0]][1]
    for weight, bias in zip(names[::2], names[1::2], strict=True):
        outputs = shapes[weight][0]
        for name, wanted in ((weight, (outputs, inputs)), (bias, (outputs, 1))):
            if shapes[name] != wanted:
                raise ValueError(f"{op}: {name} has shape {shapes[name]}, wanted {wanted}, to fit what comes before it")
        inputs = outputs
    return shapes


def _flat(op: str, which: str, dictionary: Given, shapes: Mapping[str, Shape], dtype: Any = None) -> Array:
    """The arrays of these names and shapes, copied into one vector."""
    if missing := [name for name in shapes if name not in dictionary]:
        raise ValueError(f"{op}: {which} lacks {', '.join(missing)}, wanted {', '.join(shapes)}")
    flat = []
    for name, shape in shapes.items():
        found = checks.array(op, f"{name} of {which}", dictionary[name], "oi", dtype)
        if found.shape != shape:
            raise ValueError(f"{op}: {name} of {which} has shape {found.shape}, wanted {shape}, its parameter's")
        flat.append(found.reshape(-1))
    return np.concatenate(flat)


def _vectors(op: str, shapes: Mapping[str, Shape], parameters: Given, **others: Given) -> list[Array]:
    """Copies as vectors: of the parameters, and of what has numbers dW1, db1, ... for them."""
    vectors = [_flat(op, "parameters", parameters, shapes)]
    named = {f"d{name}": shape for name, shape in shapes.items()}
    return vectors + [_flat(op, which, given, named, vectors[0].dtype) for which, given in others.items()]


def _cut(vector: Array, shapes: Mapping[str, Shape], prefix: str = "") -> Arrays:
    """Views of a vector in these shapes, one after the other."""
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1]
    parts = zip(shapes.items(), np.split(vector, ends), strict=True)
    return {f"{prefix}{name}": part.reshape(shape) for (name, shape), part in parts}


def _rows(op: str, X: Array, w: Array) -> Array:
    """X with a sample a row, as kernels take it."""
    X = checks.array(op, "X", X, "nm", w.dtype)
    if X.shape[0] != w.shape[1]:
        raise ValueError(
            f"{op}: X has shape {X.shape}, wanted {(w.shape[1], 'm')}: a sample a column, to fit W1 {w.shape}; "
            "if its samples are rows pass X.T"
        )
    return X.T


def _targets(op: str, Y: Array, shape: Shape, dtype: Any) -> Array:
    """Y in the outputs' dtype; raises unless it has their shape, and shares of 0 to 1."""
    Y = np.asarray(Y)
    if Y.shape != shape:
        how = "" if shape[0] == 1 else ", with a 1 at its class in every column"
        raise ValueError(f"{op}: Y has shape {Y.shape}, wanted {shape} like the outputs{how}")
    if Y.dtype.kind not in "fiub":
        raise TypeError(f"{op}: Y must hold numbers, got {Y.dtype}")
    good = (Y >= 0) & (Y <= 1)
    if not good.all():
        raise ValueError(f"{op}: Y holds {Y[~good][0]}, wanted 0 to 1; of -1 and 1 make (Y + 1) / 2")
    return Y.astype(dtype)


def _check_from_zero(op: str, **numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{op}: {name} is {value}, wanted a number of 0 or more")


def _check_below_one(op: str, **shares: float) -> None:
    for name, value in shares.items():
        if not 0 <= value < 1:
            raise ValueError(f"{op}: {name} is {value}, wanted at least 0 and below 1")
