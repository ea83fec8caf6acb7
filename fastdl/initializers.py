"""Parameters at the start: functions of a parameter's shape, a seed and a stream.

For a weight (inputs, outputs) fan_in is its number of inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from . import random
from .typing import Array

Initializer = Callable[[tuple[int, ...], int, int], Array]


def zeros(shape: tuple[int, ...], seed: int, stream: int) -> Array:
    """All 0: for biases, and beta of batch norm."""
    return np.zeros(shape)


def ones(shape: tuple[int, ...], seed: int, stream: int) -> Array:
    """All 1: for gamma of batch norm."""
    return np.ones(shape)


def he_normal(shape: tuple[int, ...], seed: int, stream: int) -> Array:
    """Normal with variance 2 / fan_in, which keeps the size of activations through ReLU layers.

    References
    ----------
    He et al., Delving deep into rectifiers, 2015, https://arxiv.org/abs/1502.01852.
    """
    values = random.normal(math.prod(shape), seed=seed, stream=stream)
    return (values * math.sqrt(2 / shape[0])).reshape(shape)
