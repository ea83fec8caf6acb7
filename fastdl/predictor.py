"""Prediction, recorded once for a number of rows and then replayed."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import numpy as np

from . import backend, devices, ops
from .arena import aligned
from .nn import Frame, Weights
from .nn.folding import folded
from .nn.frame import Shared
from .nn.place import Place, Places
from .recorder import Tape, record
from .typing import Array


class Predictor:
    """A model's outputs for up to so many rows at a time, as a bare list of kernel calls.

    Dropout is off; a batch norm y = gamma (x W - mean) / sqrt(var + eps) + beta, var and mean being running
    averages, is folded into the linear layer before it: W' = W gamma / sqrt(var + eps), b' = beta - mean gamma /
    sqrt(var + eps); and an activation that follows is computed in the product's pass.

    The first call with a number of rows runs through the checked ops and is recorded; later ones replay it. It
    is for one thread: others make their own on the same weights.

    Parameters
    ----------
    weights : Weights
    rows : int
        The most of a call.
    deterministic : bool
        Whether a CPU's results have the same bits for every number of threads; see `TrainStep`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl as fd
    >>> model = fd.nn.Sequential(fd.nn.Linear(3), fd.nn.BatchNorm(), fd.nn.ReLU())
    >>> predict = fd.Predictor(fd.nn.Weights(model, (2,)), rows=8)
    >>> predict(np.ones((5, 2), np.float32)).shape
    (5, 3)
    """

    def __init__(self, weights: Weights, rows: int, *, deterministic: bool = False):
        if rows < 1:
            raise ValueError(f"Predictor: got room for {rows} rows, wanted at least 1")
        self.weights, self.rows, self._deterministic = weights, rows, deterministic
        self._model, norms = folded(weights.root)
        root = Places(self._model, weights.input_shape).root
        self._pairs: list[tuple[Place, Place, Array, Array, Array]] = []
        params: dict[str, Array] = {}
        for old, new in zip(weights.root.walk(), root.walk(), strict=True):
            if new.layer in norms:
                weight = aligned((*old.shape, *new.output_shape), weights.dtype, weights.device)
                bias, zeros = (aligned(new.output_shape, weights.dtype, weights.device) for _ in range(2))
                self._pairs.append((old, norms[new.layer], weight, bias, zeros))
                params.update(zip(new.param_names, (weight, bias), strict=True))
            elif new.owner == new.path and new.param_names:
                params.update(
                    {mine: weights.params[its] for mine, its in zip(new.param_names, old.param_names, strict=True)}
                )
        trained: frozenset[str] = frozenset()
        self._shared = Shared(weights.dtype, weights.device, rows, params, weights.averages, {}, trained, {})
        self._frame, self._input = Frame.of(root, self._shared), Frame(self._shared)
        self._on_cpu = weights.device == "cpu"
        self._recorded: dict[tuple[Any, ...], tuple[Array, Tape, Array]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Fold batch norms anew: to be called when the weights have changed."""
        params, averages = self.weights.params, self.weights.averages
        for linear, norm, weight, bias, zeros in self._pairs:
            gamma, beta = (params[name] for name in norm.param_names)
            mean, variance = (averages[f"{norm.path}.{name}"] for name in ("mean", "variance"))
            of_linear = [params[name] for name in linear.param_names]
            shift = (of_linear[1] if len(of_linear) > 1 else zeros).reshape(1, -1)
            eps: float = norm.layer.eps  # type: ignore[attr-defined]
            # The batch norm of the weights' own rows, without what it adds; and of the bias, with it.
            ops.batch_norm_predict(of_linear[0], gamma, zeros, zeros, variance, eps=eps, out=weight)
            ops.batch_norm_predict(shift, gamma, beta, mean, variance, eps=eps, out=bias.reshape(1, -1))

    def __call__(self, x: Array) -> Array:
        """The model's output for every row of x (n, ...), as a new array where x is."""
        return devices.like(self.run(x), x)

    def run(self, x: Array) -> Array:
        """The same in the predictor's own buffer, on its device, which the next call overwrites."""
        n, on_cpu = len(x), self._on_cpu
        if x.shape[1:] != self.weights.input_shape or x.dtype.kind not in "fiub" or not 0 < n <= self.rows:
            raise ValueError(
                f"Predictor: got {x.shape} {x.dtype}, wanted 1 to {self.rows} rows of real numbers of shape "
                f"{self.weights.input_shape}"
            )
        key = n, backend.active() if on_cpu else "cuda", os.getpid()  # a child of fork has no threads
        if key not in self._recorded:
            return self._first(key, x)
        given, tape, out = self._recorded[key]
        devices.write(given, x)
        if on_cpu:
            with backend.one_blas_thread():
                tape.replay()
        else:
            tape.replay()
        return out

    def _first(self, key: tuple[Any, ...], x: Array) -> Array:
        """The first call with a number of rows: through the checked ops, recorded, and proved."""
        self._shared.rows = len(x)
        given = self._input.rows("x", *self.weights.input_shape)
        devices.write(given, x)
        with contextlib.ExitStack() as within:
            if self._on_cpu:
                within.enter_context(backend.one_blas_thread())
            if self._deterministic:
                within.enter_context(backend.deterministic())
            out = self._forward()
            wanted = np.array(devices.read(out))
            with record() as tape:
                self._forward()
            self._frame.poison()
            devices.write(given, x)
            tape.replay()
        if devices.read(out).tobytes() != wanted.tobytes():
            raise RuntimeError(
                "Predictor: a replay differs from the call itself, so a layer works outside fastdl's ops (NumPy calls, "
                "branches on values); use ops or frame.call(function, *arrays) in it"
            )
        self._recorded[key] = given, tape, out
        return out

    def _forward(self) -> Array:
        return self._model.forward(self._input.rows("x", *self.weights.input_shape), self._frame, train=False)
