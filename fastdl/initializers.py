"""Parameters at the start: functions of a parameter's shape, a seed and a stream.

A weight (inputs, outputs) has fan_in = inputs and fan_out = outputs. Values are float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import checks, random
from .typing import Array, Shape

Initializer = Callable[[Shape, int, int], Array]


def zeros(shape: Shape, seed: int, stream: int) -> Array:
    """All 0: for biases, and beta of batch norm.

    Not for weights: then the units of a hidden layer start alike, get the same gradients, and stay
    alike for ever.

    Examples
    --------
    >>> from fastdl import initializers
    >>> initializers.zeros((3,), seed=0, stream=0)
    array([0., 0., 0.])
    """
    return np.zeros(shape)


def ones(shape: Shape, seed: int, stream: int) -> Array:
    """All 1: for gamma of batch norm.

    Examples
    --------
    >>> from fastdl import initializers
    >>> initializers.ones((3,), seed=0, stream=0)
    array([1., 1., 1.])
    """
    return np.ones(shape)


@dataclass(frozen=True)
class Normal:
    """Normal with a deviation of one's own, scale * N(0, 1), whatever the shape.

    In a deep network nearly every scale lets activations explode or vanish; VarianceScaling finds
    the one that does not.

    Parameters
    ----------
    scale : float
        The standard deviation, above 0.

    Examples
    --------
    >>> from fastdl import initializers
    >>> initializers.Normal(0.01)((1000, 10), seed=0, stream=0).std().round(4)
    np.float64(0.01)
    """

    scale: float

    def __post_init__(self) -> None:
        _check_scale(self, self.scale)

    def __call__(self, shape: Shape, seed: int, stream: int) -> Array:
        values = random.normal(math.prod(shape), seed=seed, stream=stream)
        return (values * self.scale).reshape(shape)


_CUT = 2.0  # deviations at which the truncated normal ends
_TAIL = math.erfc(_CUT / math.sqrt(2)) / 2  # the normal's share beyond either end
# What the cut leaves of the deviation: the variance is 1 - 2 c phi(c) / (1 - 2 tail).
_LEFT = math.sqrt(1 - 2 * _CUT * math.exp(-(_CUT**2) / 2) / math.sqrt(2 * math.pi) / (1 - 2 * _TAIL))

_FANS = {
    "fan_in": lambda inputs, outputs: inputs,
    "fan_out": lambda inputs, outputs: outputs,
    "fan_avg": lambda inputs, outputs: (inputs + outputs) / 2,
}


@dataclass(frozen=True)
class VarianceScaling:
    """Mean 0 and variance scale / fan, which keeps the size of what passes through many layers.

    Parameters
    ----------
    scale : float
        Above 0: 1 for tanh, and 2 for ReLU, which stops half of the variance.
    mode : {"fan_in", "fan_out", "fan_avg"}
        The number of inputs, which keeps the variance of activations; that of outputs, which keeps
        the variance of gradients; or the mean of both.
    distribution : {"normal", "truncated_normal", "uniform"}
        The truncated normal ends at two deviations of the normal that is cut, and that one is the
        wider for it: the variance is scale / fan after the cut. The uniform one reaches from
        -sqrt(3 scale / fan) to sqrt(3 scale / fan).

    Raises
    ------
    ValueError
        For a scale, a mode or a distribution that is none; when called, for the shape of what has no
        inputs and outputs.

    References
    ----------
    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010,
    https://proceedings.mlr.press/v9/glorot10a.html.
    He et al., Delving deep into rectifiers, 2015, https://arxiv.org/abs/1502.01852.

    Examples
    --------
    >>> from fastdl import initializers
    >>> start = initializers.VarianceScaling(2.0, "fan_avg", "uniform")
    >>> (start((300, 100), seed=0, stream=0).var() * (300 + 100) / 2).round(1)
    np.float64(2.0)
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "normal"

    def __post_init__(self) -> None:
        _check_scale(self, self.scale)
        checks.name_of("VarianceScaling", "mode", self.mode, tuple(_FANS))
        checks.name_of("VarianceScaling", "distribution", self.distribution, tuple(_DISTRIBUTIONS))

    def __call__(self, shape: Shape, seed: int, stream: int) -> Array:
        if len(shape) != 2 or min(shape) < 1:
            raise ValueError(
                f"{self}: a parameter of shape {shape} has no fan_in and fan_out, wanted a weight of shape (inputs, "
                "outputs); start others with initializers.zeros, ones or Normal(scale)"
            )
        values = _DISTRIBUTIONS[self.distribution](math.prod(shape), seed, stream)
        return (values * math.sqrt(self.scale / _FANS[self.mode](*shape))).reshape(shape)


def _normal(count: int, seed: int, stream: int) -> Array:
    return random.normal(count, seed=seed, stream=stream)


def _truncated_normal(count: int, seed: int, stream: int) -> Array:
    """By inversion, so that every number takes the same count of random words; variance 1."""
    from scipy.special import ndtri

    u = random.uniform(count, seed=seed, stream=stream)
    values: Array = ndtri(_TAIL + u * (1 - 2 * _TAIL)) / _LEFT
    return values


def _uniform(count: int, seed: int, stream: int) -> Array:
    """From -sqrt(3) to sqrt(3), whose variance is 1."""
    return (2 * random.uniform(count, seed=seed, stream=stream) - 1) * math.sqrt(3)


_DISTRIBUTIONS = {"normal": _normal, "truncated_normal": _truncated_normal, "uniform": _uniform}


def _check_scale(owner: object, scale: float) -> None:
    if not (isinstance(scale, (int, float)) and 0 < scale < math.inf):
        raise ValueError(
            f"{type(owner).__name__}: scale is {scale!r}, wanted a number above 0; to start at 0 use initializers.zeros"
        )


he_normal = VarianceScaling(2.0)
"""N(0, 2 / fan_in), which keeps the size of activations through ReLU layers (He et al., 2015)."""

xavier_normal = VarianceScaling(1.0)
"""N(0, 1 / fan_in), for tanh: Xavier Glorot's start as course notes give it."""

glorot_normal = VarianceScaling(1.0, "fan_avg")
"""N(0, 2 / (fan_in + fan_out)), between what activations and what gradients want (Glorot and Bengio, 2010)."""

glorot_uniform = VarianceScaling(1.0, "fan_avg", "uniform")
"""Even between -b and b, b = sqrt(6 / (fan_in + fan_out)): glorot_normal's variance (Glorot and Bengio, 2010)."""

_NAMES: dict[str, Initializer] = {
    "zeros": zeros,
    "ones": ones,
    "he_normal": he_normal,
    "xavier_normal": xavier_normal,
    "glorot_normal": glorot_normal,
    "glorot_uniform": glorot_uniform,
}


def by_name(name: str) -> Initializer:
    """The initializer that a configuration names.

    Parameters
    ----------
    name : {"zeros", "ones", "he_normal", "xavier_normal", "glorot_normal", "glorot_uniform"}

    Raises
    ------
    ValueError
        For another name, with the nearest one and all.

    Examples
    --------
    >>> from fastdl import initializers
    >>> initializers.by_name("he_normal")
    VarianceScaling(scale=2.0, mode='fan_in', distribution='normal')
    """
    return checks.look_up("initializers.by_name", name, _NAMES)
