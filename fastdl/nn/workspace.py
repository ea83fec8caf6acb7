"""What one thread needs to run a model: buffers, gradients, and a frame for every place of a layer."""

from __future__ import annotations

import numpy as np

from .frame import Frame, Shared
from .weights import Weights


class Workspace:
    """Room for one thread to run a model on up to `capacity` rows at a time.

    Parameters
    ----------
    weights : Weights
    capacity : int
    train : bool
        False makes room for prediction alone: no gradients.

    Attributes
    ----------
    control : Control
    frame : Frame
        The whole model's; `input` is that of the batch's rows and targets, `loss` the loss's,
        `update` that of the optimizer.
    grads_flat
        Gradients, laid out like the parameters.
    batch_flat
        Statistics of the batch, laid out like the running averages.
    """

    def __init__(self, weights: Weights, capacity: int, *, train: bool = True):
        if capacity < 1:
            raise ValueError(f"Workspace: got room for {capacity} rows, wanted at least 1")
        self.weights = weights
        layout, averages = weights.layout, weights.averages_layout
        self.grads_flat = layout.buffer(weights.device) if train else np.empty(0)
        self.batch_flat = averages.buffer(weights.device) if train else np.empty(0)
        self.shared = Shared(
            weights.dtype,
            weights.device,
            capacity,
            weights.params,
            weights.averages,
            layout.views(self.grads_flat) if train else {},
            frozenset(weights.params) - weights.frozen,
            averages.views(self.batch_flat) if train else {},
        )
        self.control = self.shared.control
        self.frame = Frame.of(weights.root, self.shared)
        self.input = Frame(self.shared)
        self.loss = Frame(self.shared)
        self.update = Frame(self.shared)

    def begin(self, rows: int, first: bool = True) -> None:
        """Make all frames hand out this many rows, of a new batch or of a further part of one."""
        shared = self.shared
        if rows > shared.capacity:
            raise ValueError(
                f"this workspace has room for {shared.capacity} rows, got {rows}; make it with batch_size={rows}"
            )
        shared.rows = rows
        shared.written = set() if first else set(self.weights.params)
