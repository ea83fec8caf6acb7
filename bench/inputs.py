"""The arrays that are worked on: random, the same for us and for the peers, each on a boundary of 256 bytes.

Zeros would flatter: a processor is faster on them, and an operating system maps them all to one page.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdl import nn
from fastdl.arena import aligned
from fastdl.bench import shapes

Array = np.ndarray[Any, Any]


def normal(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Normally distributed float32 numbers."""
    array = aligned(shape, np.float32)
    np.random.default_rng(seed).standard_normal(out=array, dtype=np.float32)
    return array


def integers(high: int, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Numbers 0 to high - 1, as int64."""
    array = aligned(shape, np.int64)
    array[...] = np.random.default_rng(seed).integers(0, high, shape)
    return array


def unset(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """For a result: NaN, or -1, so that what is not written is seen."""
    array = aligned(shape, dtype)
    array[...] = np.nan if array.dtype.kind == "f" else -1 if array.dtype.kind == "i" else 255
    return array


def matmul(s: shapes.Matmul) -> tuple[Array, Array, Array, Array]:
    """x, w, b, dy."""
    sides = (s.rows, s.inputs), (s.inputs, s.outputs), (s.outputs,), (s.rows, s.outputs)
    x, w, b, dy = (normal(side, seed) for seed, side in enumerate(sides))
    return x, w, b, dy


def batch_norm(s: shapes.BatchNorm) -> tuple[Array, Array, Array, Array]:
    """x, gamma, beta, dy."""
    return normal(s.x, 0), normal((s.channels,), 1), normal((s.channels,), 2), normal(s.x, 3)


def update(s: shapes.Update) -> tuple[Array, Array]:
    """Parameters, gradients."""
    return normal((s.parameters,), 0), normal((s.parameters,), 1)


def dropout(s: shapes.Dropout) -> tuple[Array, Array]:
    """x, dy."""
    return normal((s.elements,), 0), normal((s.elements,), 1)


def cross_entropy(s: shapes.CrossEntropy) -> tuple[Array, Array]:
    """Logits, labels."""
    return normal((s.rows, s.classes), 0), integers(s.classes, (s.rows,), 1)


def softmax(s: shapes.Softmax) -> tuple[Array, Array]:
    """x, dy."""
    return normal((s.rows, s.classes), 0), normal((s.rows, s.classes), 1)


def loss(s: shapes.Loss) -> tuple[Array, Array]:
    """Outputs, targets."""
    return normal((s.rows, s.columns), 0), normal((s.rows, s.columns), 1)


def norm(s: shapes.Norm) -> Array:
    """Gradients."""
    return normal((s.elements,), 0)


def gather(s: shapes.Gather) -> tuple[Array, Array]:
    """Data, and the order in which its rows are taken."""
    return normal((s.data_rows, s.columns), 0), np.random.default_rng(1).permutation(s.data_rows)


def augment(s: shapes.Images) -> tuple[Array, Array, Array]:
    """Images, their labels, and the numbers of those that are taken."""
    rows = 32 * s.images
    return normal((rows, s.side, s.side)), integers(10, (rows,)), np.random.default_rng(1).permutation(rows)[: s.images]


def activation(s: shapes.Elements) -> tuple[Array, Array]:
    """x, dy."""
    return normal((s.elements,), 0), normal((s.elements,), 1)


def training(s: shapes.Network) -> tuple[Array, Array, Array]:
    """Rows, labels, and an epoch's order of the rows."""
    x, labels = normal((s.data_rows, s.widths[0]), 0), integers(s.widths[-1], (s.data_rows,), 1)
    return x, labels, np.random.default_rng(2).permutation(s.data_rows)


def model(s: shapes.Network) -> nn.Sequential:
    """The network as layers, with ReLU in the pass of the layer before it."""
    layers: list[nn.Layer] = []
    for width in s.widths[1:-1]:
        if s.batch_norm:
            layers += [nn.Linear(width, bias=False), nn.BatchNorm(activation="relu")]
        else:
            layers += [nn.Linear(width, activation="relu")]
        layers += [nn.Dropout(s.rate)] if s.rate else []
    return nn.Sequential(*layers, nn.Linear(s.widths[-1]))


def parameters(s: shapes.Network) -> list[dict[str, Array]]:
    """The network's parameters at the start, as NumPy arrays: for every linear layer its own and its batch norm's."""
    blocks: list[dict[str, Array]] = []
    for path, array in nn.Weights(model(s), s.widths[:1], seed=0).params.items():
        name = path.rpartition(".")[2]
        if name == "weight":
            blocks.append({})
        blocks[-1][name] = array
    return blocks
