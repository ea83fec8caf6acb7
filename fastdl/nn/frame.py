"""What a layer has at hand where it is used: parameters, gradients, buffers, and what changes each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import backend, devices
from ..arena import aligned
from ..kernels.control.cuda import SUM, WORDS, tick
from ..recorder import launch, seal, unseal
from ..typing import Array

if TYPE_CHECKING:
    from .place import Place


class Control:
    """All that changes from one step to the next, in one small buffer that kernels read.

    Its layout is that of `kernels/control`. On a CPU the host writes into it; on a GPU into a record of
    its own, which `publish` then hands over.

    Attributes
    ----------
    bytes : memoryview
        Where the host writes.
    draw : (4,) int64
        Seed's low and high word, step, and first row of this part of the batch: for random numbers.
    start : (1,) int64
        Where in the epoch's order the batch begins.
    status : (1,) int64
        0, or 1 + the row of a bad label: then nothing may change parameters or averages.
    count : (1,) int64
        On a GPU: how many batches took effect.
    sum : (1,) float64
        On a GPU: rows times loss, of all batches before.
    loss : (1,) float64
        The sum of scaled losses so far.
    scale : (1,) float64
        1 / rows of the whole batch.
    scalars : (16,) float64
        What the optimizer's kernel reads.
    """

    def __init__(self, device: str) -> None:
        self.words = aligned((WORDS,), np.int64, device)
        integers, floats = self.words[:SUM], self.words[SUM:].view(np.float64)
        self.draw, self.start, self.status, self.count = integers[:4], integers[4:5], integers[5:6], integers[6:]
        self.sum, self.loss, self.scale, self.scalars = floats[:1], floats[1:2], floats[2:3], floats[3:]
        record: Any = self.words if device == "cpu" else np.zeros(WORDS + 2, np.int64)
        self.bytes = memoryview(record).cast("B")
        self.publish: Callable[..., None] = _nothing if device == "cpu" else tick.resolve((record, self.words))


def _nothing() -> None:
    """On a CPU the host has written into the very words."""


@dataclass
class Shared:
    """What all frames of one workspace have in common. The mappings go by full names, "0.weight"."""

    dtype: Any
    device: str
    capacity: int
    """Rows that every buffer has room for."""
    params: dict[str, Array]
    averages: dict[str, Array]
    grads: dict[str, Array]
    trained: frozenset[str]
    """Names of the parameters that are not frozen."""
    batch: dict[str, Array]
    """This batch's statistics, under the names of the averages that they go into."""
    rows: int = 0
    """Of the batch at hand."""
    written: set[str] = field(default_factory=set)
    """Parameters whose gradient has been written in this pass."""
    control: Control = field(init=False)

    def __post_init__(self) -> None:
        self.control = Control(self.device)


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
    weights : (rows,) array, optional
        In a loss's frame: what each row of the batch counts; None where all count alike.
    """

    def __init__(
        self,
        shared: Shared,
        path: str = "",
        owner: str = "",
        stream: int = 0,
        wants_dx: bool = False,
        children: tuple[Frame, ...] = (),
    ):
        self._shared = shared
        self._path, self._owner = path, owner
        self._room: dict[str, Array] = {}
        self.stream, self.wants_dx, self.children = stream, wants_dx, children
        self.saved: dict[str, Any] = {}
        self.weights: Array | None = None

    @classmethod
    def of(cls, place: Place, shared: Shared) -> Frame:
        """The frame of a place, with those of all places within it."""
        children = tuple(cls.of(child, shared) for child in place.children)
        return cls(shared, place.path, place.owner, place.stream, place.wants_dx, children)

    def param(self, name: str) -> Array:
        """A parameter of this layer."""
        return _named(self._shared.params, self._owner, name)

    def grad(self, name: str) -> Array:
        """The gradient of a parameter, to be written; see `accumulate`."""
        return _named(self._shared.grads, self._owner, name)

    def trains(self, name: str) -> bool:
        """Whether a parameter is trained; the gradient of one that is frozen need not be written."""
        return _join(self._owner, name) in self._shared.trained

    def average(self, name: str) -> Array:
        """A running average of this place, for prediction."""
        return _named(self._shared.averages, self._path, name)

    def of_batch(self, name: str) -> Array:
        """What goes into a running average after this batch, to be written in training."""
        return _named(self._shared.batch, self._path, name)

    def accumulate(self, name: str) -> bool:
        """Whether this parameter's gradient must be added to: False the first time in a pass.

        It is True where a weight is used twice, and for all but the first part of a batch that
        comes in parts.
        """
        key = _join(self._owner, name)
        again = key in self._shared.written
        self._shared.written.add(key)
        return again

    def array(self, name: str, *shape: int, dtype: Any = None) -> Array:
        """Buffer `name`, of this shape; float like the weights unless a dtype is given."""
        wanted = np.dtype(dtype or self._shared.dtype)
        buffer = self._room.get(name)
        if buffer is None:
            buffer = self._room[name] = aligned(shape, wanted, self._shared.device)
        elif buffer.shape != shape or buffer.dtype != wanted:
            raise ValueError(
                f"frame: buffer {name!r} has shape {buffer.shape} and dtype {buffer.dtype}, but {shape} and {wanted} "
                "were asked for; give each buffer of a layer a name of its own"
            )
        return seal(buffer)  # type: ignore[no-any-return]

    def rows(self, name: str, *shape: int, dtype: Any = None) -> Array:
        """The rows of buffer `name` that this batch takes: (rows, *shape)."""
        return self.array(name, self._shared.capacity, *shape, dtype=dtype)[: self._shared.rows]

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function of one's own on arrays and numbers, so that a recorded step calls it again.

        It must write its results into the arrays, and depend on nothing else that changes.
        """
        arrays = tuple(a for a in arguments if backend.is_array(unseal(a)))
        launch(getattr(function, "__name__", "call"), function, *arguments, outputs=arrays, capturable=False)

    @property
    def capacity(self) -> int:
        """The most rows of a batch, for which every buffer has room."""
        return self._shared.capacity

    @property
    def draw(self) -> Array:
        """Seed, step and first row: what `ops.dropout` takes as `draw`."""
        return seal(self._shared.control.draw)  # type: ignore[no-any-return]

    @property
    def scale(self) -> Array:
        """1 / rows of the whole batch: what each row's loss is multiplied by, as (1,) float64."""
        return seal(self._shared.control.scale)  # type: ignore[no-any-return]

    @property
    def total(self) -> Array:
        """The loss so far, as (1,) float64: what the scaled losses are added to."""
        return seal(self._shared.control.loss)  # type: ignore[no-any-return]

    @property
    def status(self) -> Array:
        """The word that a bad label sets, as (1,) int64."""
        return seal(self._shared.control.status)  # type: ignore[no-any-return]

    def forget(self) -> None:
        """Let go of what forward has kept, here and within."""
        self.saved.clear()
        for child in self.children:
            child.forget()

    def poison(self) -> None:
        """Fill every buffer with NaN or 0, here and within: what is read must first be written."""
        for buffer in self._room.values():
            devices.fill(buffer, np.nan if buffer.dtype.kind == "f" else 0)
        for child in self.children:
            child.poison()


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _named(arrays: dict[str, Array], path: str, name: str) -> Array:
    return seal(arrays[_join(path, name)])  # type: ignore[no-any-return]
