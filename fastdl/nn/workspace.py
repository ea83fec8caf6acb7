"""What one thread needs to run a model: buffers, gradients, and a frame for every place of a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arena import aligned
from ..recorder import launch, seal
from .layer import Array

if TYPE_CHECKING:
    from .weights import Place, Weights

SCALARS = 16  # numbers of an optimizer at most
FLOATS_AT = 48  # bytes: where the floats of a Control begin, behind its six integers


class Control:
    """All that changes from one step to the next, in one small buffer that kernels read.

    Attributes
    ----------
    draw : (4,) int64
        Seed's low and high word, step, and first row of this part of the batch: for random numbers.
    start : (1,) int64
        Where in the epoch's order the batch begins.
    status : (1,) int64
        0, or 1 + the row of a bad label: then nothing may change parameters or averages.
    loss : (1,) float64
        The sum of scaled losses so far.
    scale : (1,) float64
        1 / rows of the whole batch.
    scalars : (16,) float64
        What the optimizer's kernel reads.
    """

    def __init__(self) -> None:
        self.raw = aligned((FLOATS_AT + 8 * (2 + SCALARS),), np.uint8)
        self.bytes = self.raw.data
        integers, floats = self.raw[:FLOATS_AT].view(np.int64), self.raw[FLOATS_AT:].view(np.float64)
        self.draw, self.start, self.status = integers[:4], integers[4:5], integers[5:6]
        self.loss, self.scale, self.scalars = floats[:1], floats[1:2], floats[2:]


class Frame:
    """What one use of a layer has at hand in one workspace.

    A buffer is made when it is first asked for, with room for the workspace's rows, and is the same
    ever after. While a step is recorded all arrays are sealed: their values cannot be read.

    Attributes
    ----------
    saved : dict
        What forward keeps for backward.
    wants_dx : bool
        Whether the gradient of the input is wanted.
    stream : int
        Of random numbers, this place's own.
    children : tuple of Frame
    """

    def __init__(self, workspace: Workspace, place: Place | None):
        self._workspace = workspace
        self._prefix = f"{place.owner}." if place and place.owner else ""
        self._room: dict[str, Array] = {}
        self.path = place.path if place else ""
        self.saved: dict[str, Any] = {}
        self.wants_dx = place.wants_dx if place else False
        self.stream = place.stream if place else 0
        self.children = tuple(Frame(workspace, child) for child in place.children) if place else ()

    def param(self, name: str) -> Array:
        """A parameter of this layer."""
        return self._own(self._workspace.weights.params, name)

    def grad(self, name: str) -> Array:
        """The gradient of a parameter, to be written; see `accumulate`."""
        return self._own(self._workspace.grads, name)

    def average(self, name: str) -> Array:
        """A running average of this layer, for prediction."""
        return self._own(self._workspace.weights.averages, name)

    def of_batch(self, name: str) -> Array:
        """What goes into a running average after this batch, to be written in training."""
        return self._own(self._workspace.batch, name)

    def _own(self, arrays: dict[str, Array], name: str) -> Array:
        return seal(arrays[self._prefix + name])  # type: ignore[no-any-return]

    def accumulate(self, name: str) -> bool:
        """Whether this parameter's gradient must be added to: False the first time in a pass.

        It is True where a weight is used twice, and for all but the first part of a batch that
        comes in parts.
        """
        key = self._prefix + name
        again = key in self._workspace.written
        self._workspace.written.add(key)
        return again

    def array(self, name: str, *shape: int, dtype: Any = None) -> Array:
        """Buffer `name`, of this shape; float like the weights unless a dtype is given."""
        if name not in self._room:
            self._room[name] = aligned(shape, dtype or self._workspace.weights.dtype)
        return seal(self._room[name])  # type: ignore[no-any-return]

    def rows(self, name: str, *shape: int, dtype: Any = None) -> Array:
        """The rows of buffer `name` that this batch takes: (rows, *shape)."""
        workspace = self._workspace
        return self.array(name, workspace.capacity, *shape, dtype=dtype)[: workspace.rows]

    def call(self, function: Callable[..., None], *arrays: Array) -> None:
        """Call a function of one's own on arrays, so that a recorded step calls it again.

        It must write its results into the arrays, and depend on nothing else that changes.
        """
        launch(getattr(function, "__name__", "call"), function, *arrays, outputs=arrays, capturable=False)

    @property
    def draw(self) -> Array:
        """Seed, step and first row: what `ops.dropout` takes as `draw`."""
        return seal(self._workspace.control.draw)  # type: ignore[no-any-return]

    @property
    def control(self) -> Control:
        """All that changes from one step to the next."""
        return self._workspace.control

    def poison(self) -> None:
        """Fill every buffer with NaN or 0, here and within: what is read must first be written."""
        for buffer in self._room.values():
            buffer.fill(np.nan if buffer.dtype.kind == "f" else 0)
        for child in self.children:
            child.poison()


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
    rows : int
        Of the batch at hand.
    frame : Frame
        The whole model's; `input` is that of the batch's rows and targets, `loss` the loss's.
    grads_flat, grads
        Gradients, laid out like the parameters.
    batch_flat, batch
        Statistics of the batch, laid out like the running averages.
    """

    def __init__(self, weights: Weights, capacity: int, *, train: bool = True):
        if capacity < 1:
            raise ValueError(f"Workspace: got room for {capacity} rows, wanted at least 1")
        self.weights = weights
        self.capacity = capacity
        self.rows = 0
        self.control = Control()
        self.written: set[str] = set()
        if train:
            self.grads_flat = weights.layout.buffer()
            self.grads = weights.layout.views(self.grads_flat)
            self.batch_flat = weights.averages_layout.buffer()
            self.batch = weights.averages_layout.views(self.batch_flat)
        self.frame = Frame(self, weights.root)
        self.input = Frame(self, None)
        self.loss = Frame(self, None)

    def begin(self, rows: int, first: bool = True) -> None:
        """Make all frames hand out this many rows, of a new batch or of a further part of one."""
        if rows > self.capacity:
            raise ValueError(
                f"this workspace has room for {self.capacity} rows, got {rows}; make it with batch_size={rows}"
            )
        self.rows = rows
        self.written = set() if first else set(self.weights.params)
