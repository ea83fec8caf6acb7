"""The arrays of a model: parameters in one flat buffer, running averages in another."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from .. import backend, devices, random
from ..arena import Layout
from ..typing import Array, Shape
from .layer import Layer
from .place import Places


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
    frozen : sequence of str
        Patterns of names of parameters that are not trained: "0.*", "*.gamma".
    device : {"cpu", "cuda", "auto"}
        Where they live.

    Attributes
    ----------
    flat : (size,) array
        All parameters: first, `decayed` elements long, those that take weight decay; up to `trained`
        all others that are trained; then the frozen ones.
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

    def __init__(
        self,
        model: Layer,
        input_shape: Shape,
        *,
        dtype: Any = np.float32,
        seed: int = 0,
        frozen: Sequence[str] = (),
        device: str = "cpu",
    ):
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise TypeError(f"Weights: dtype must be float32 or float64, got {np.dtype(dtype)}")
        self.model = model
        self.input_shape = tuple(input_shape)
        params = Places(model, self.input_shape).params
        self.frozen = matching(frozen, list(params), "frozen")
        places = Places(model, self.input_shape, self.frozen)
        self.root, averages = places.root, places.averages
        self.output_shape = self.root.output_shape

        trained = [name for name in params if name not in self.frozen]
        decay = [name for name in trained if params[name].decay]
        shapes = {name: param.shape for name, param in params.items()}
        self.layout = Layout(shapes, dtype, (decay, trained))
        self.decayed, self.trained = self.layout.ends
        self.device = backend.device(device)
        self.flat = self.layout.buffer(self.device)
        self.params = self.layout.views(self.flat)
        for number, (name, param) in enumerate(params.items()):
            devices.write(self.params[name], param.start(param.shape, seed, random.STARTS + number))

        self.averages_layout = Layout({name: average.shape for name, average in averages.items()}, dtype)
        self.averages_flat = self.averages_layout.buffer(self.device)
        self.averages = self.averages_layout.views(self.averages_flat)
        for name, average in averages.items():
            devices.write(self.averages[name], average.start)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all its arrays."""
        dtype: np.dtype[Any] = self.layout.dtype
        return dtype

    def snapshot(self) -> dict[str, Array]:
        """All parameters and running averages, copied to the host."""
        return {name: np.array(devices.read(array)) for name, array in (self.params | self.averages).items()}

    def copy(self) -> Weights:
        """The same values in buffers of their own."""
        new = copy.copy(self)
        new.flat, new.averages_flat = (of.buffer(self.device) for of in (self.layout, self.averages_layout))
        devices.write(new.flat, self.flat)
        devices.write(new.averages_flat, self.averages_flat)
        new.params, new.averages = new.layout.views(new.flat), new.averages_layout.views(new.averages_flat)
        return new

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Take all parameters and running averages from a mapping like `snapshot`'s.

        Raises
        ------
        ValueError
            For names that are missing or unknown, or arrays of another shape; nothing is taken then.
        """
        own = {name: array.shape for name, array in (self.params | self.averages).items()}
        check_shapes(arrays, own, "Weights.load")
        for name, array in (self.params | self.averages).items():
            devices.write(array, arrays[name])


def matching(patterns: Sequence[str], names: Sequence[str], where: str) -> frozenset[str]:
    """The names that match any of the patterns, each of which must match one; errors name `where`."""
    if isinstance(patterns, str):
        raise TypeError(f"{where}: got the text {patterns!r}, wanted a sequence of patterns, [{patterns!r}]")
    found: set[str] = set()
    for pattern in patterns:
        called = [name for name in names if fnmatchcase(name, pattern)]
        if not called:
            raise ValueError(f"{where}: no parameter is called {pattern!r}; there are {', '.join(names)}")
        found.update(called)
    return frozenset(found)


def check_shapes(arrays: Mapping[str, Array], own: Mapping[str, Shape], where: str) -> None:
    """Raise unless these are arrays of a model's own names and shapes, with a list of all that differs."""
    wrong = [f"missing {name}" for name in own if name not in arrays]
    wrong += [f"unknown {name}" for name in sorted(arrays) if name not in own]
    wrong += [
        f"{name} has shape {arrays[name].shape}, wanted {shape}"
        for name, shape in own.items()
        if name in arrays and arrays[name].shape != shape
    ]
    if wrong:
        raise ValueError(f"{where}: these are the weights of another model: {'; '.join(wrong)}")
