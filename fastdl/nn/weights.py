"""The arrays of a model: parameters in one flat buffer, running averages in another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import random
from ..arena import Layout
from ..typing import Array, Shape
from .layer import Average, Layer, Param


@dataclass(frozen=True, eq=False)
class Place:
    """One use of a layer in a model."""

    layer: Layer
    path: str
    owner: str
    """The path of the layer's first use, whose parameters this one shares."""
    stream: int
    """Of random numbers: every place draws its own."""
    shape: Shape
    """Of a row of its input."""
    wants_dx: bool
    """Whether anything before it has parameters."""
    children: tuple[Place, ...]

    def walk(self) -> Iterator[Place]:
        """This place, then all within it, in order."""
        yield self
        for child in self.children:
            yield from child.walk()


class Weights:
    """Parameters and running averages of a model, in flat buffers with named views.

    Parameters
    ----------
    model : Layer
    input_shape : tuple of int
        Of one row.
    dtype : float32 or float64
    seed : int
        Of the parameters at the start.

    Attributes
    ----------
    flat : (size,) array
        All parameters; the first `layout.split` elements are those that take weight decay.
    params : dict of str to array
        Views into `flat`, named by layer: "0.weight", "0.bias", "1.gamma".
    averages_flat, averages
        The same for running averages: "1.mean", "1.variance".

    Examples
    --------
    >>> from fastdl import nn
    >>> weights = nn.Weights(nn.Sequential(nn.Linear(3), nn.BatchNorm()), (2,))
    >>> {name: array.shape for name, array in weights.params.items()}
    {'0.weight': (2, 3), '0.bias': (3,), '1.gamma': (3,), '1.beta': (3,)}
    """

    def __init__(self, model: Layer, input_shape: Shape, *, dtype: Any = np.float32, seed: int = 0):
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise TypeError(f"Weights: dtype must be float32 or float64, got {np.dtype(dtype)}")
        self.model = model
        self.input_shape = tuple(input_shape)
        params: dict[str, Param] = {}
        averages: dict[str, Average] = {}
        self.root = _Builder(params, averages).place(model, self.input_shape, "", wants_dx=False)
        self.output_shape = model.output_shape(self.input_shape)

        decayed = {name for name, param in params.items() if param.decay}
        self.layout = Layout({name: param.shape for name, param in params.items()}, dtype, decayed)
        self.flat = self.layout.buffer()
        self.params = self.layout.views(self.flat)
        for number, (name, param) in enumerate(params.items()):
            self.params[name][...] = param.start(param.shape, seed, random.STARTS + number)

        self.averages_layout = Layout({name: average.shape for name, average in averages.items()}, dtype)
        self.averages_flat = self.averages_layout.buffer()
        self.averages = self.averages_layout.views(self.averages_flat)
        for name, average in averages.items():
            self.averages[name][...] = average.start

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all its arrays."""
        dtype: np.dtype[Any] = self.layout.dtype
        return dtype

    def snapshot(self) -> dict[str, Array]:
        """All parameters and running averages, copied."""
        return {name: array.copy() for name, array in (self.params | self.averages).items()}

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Take all parameters and running averages from a mapping like `snapshot`'s.

        Raises
        ------
        ValueError
            For names that are missing or unknown, or arrays of another shape; nothing is taken then.
        """
        own = self.params | self.averages
        wrong = [f"missing {name}" for name in own if name not in arrays]
        wrong += [f"unknown {name}" for name in arrays if name not in own]
        wrong += [
            f"{name} has shape {arrays[name].shape}, wanted {array.shape}"
            for name, array in own.items()
            if name in arrays and arrays[name].shape != array.shape
        ]
        if wrong:
            raise ValueError(f"Weights.load: these are the weights of another model: {'; '.join(wrong)}")
        for name, array in own.items():
            array[...] = arrays[name]


class _Builder:
    """Walks a model and finds its places; shared layers are entered once."""

    def __init__(self, params: dict[str, Param], averages: dict[str, Average]):
        self.params, self.averages = params, averages
        self.owners: dict[Layer, tuple[str, Shape]] = {}
        self.streams = 0

    def place(self, layer: Layer, shape: Shape, path: str, wants_dx: bool) -> Place:
        owner, first_shape = self.owners.setdefault(layer, (path, shape))
        if first_shape != shape:
            raise ValueError(
                f"layer {path} ({type(layer).__name__}) shares the weights of layer {owner}, which takes rows of "
                f"shape {first_shape}, but gets {shape}"
            )
        try:
            params, averages = layer.params(shape), layer.averages(shape)
            within = layer.children(shape)
        except ValueError as error:
            if path and not str(error).startswith("layer "):
                raise ValueError(f"layer {path}: {error}") from None
            raise
        stream, self.streams = self.streams, self.streams + 1
        prefix = f"{path}." if path else ""
        if owner == path:
            self.params.update({f"{prefix}{name}": param for name, param in params.items()})
        self.averages.update({f"{prefix}{name}": average for name, average in averages.items()})
        children = []
        below = wants_dx or bool(params)
        for number, (child, child_shape) in enumerate(within):
            children.append(self.place(child, child_shape, f"{prefix}{number}", below))
            below = below or any(p.layer.params(p.shape) for p in children[-1].walk())
        return Place(layer, path, owner, stream, shape, wants_dx, tuple(children))
