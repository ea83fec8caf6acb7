"""One training step: run once through the checked ops, then recorded, proved and replayed."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from . import backend, checks, devices, ops
from .arena import aligned
from .data import Rows
from .kernels.control.cuda import LOSS, STATUS, SUM, WORDS
from .losses import Loss
from .nn import Layer, Weights, Workspace
from .optim import Optimizer
from .recorder import Tape, record, seal
from .typing import Array
from .update import Stretch, stretches, update

AVERAGES_DECAY = 0.9
_INTEGERS = struct.Struct("5q")
_LAST = struct.Struct("dq")


def check_rows(
    model: Layer,
    loss: Loss,
    x: Array,
    target: Array,
    *,
    row: tuple[int, ...] | None = None,
    names: tuple[str, str] = ("x", "target"),
) -> None:
    """Raise unless these are rows and targets that the model and the loss can take.

    `row` is the shape that rows must have, where it is known; `names` are those that errors give.
    """
    for name, value in zip(names, (x, target), strict=True):
        if not backend.is_array(value) and not isinstance(value, Rows):
            raise TypeError(
                f"training: {name} must be a numpy.ndarray, got {type(value).__qualname__}; pass np.asarray({name})"
            )
        if value.ndim == 0 or len(value) == 0:
            raise ValueError(f"training: {name} has shape {value.shape}, wanted at least one row")
    x_name, target_name = names
    if x.dtype.kind not in "fiub":
        raise TypeError(f"training: {x_name} must hold real numbers, got {x.dtype}; pass {x_name}.astype(np.float32)")
    row = x.shape[1:] if row is None else row
    target_row, target_dtype = loss.target(model.output_shape(row))
    if target.ndim == 2 and not target_row:
        raise ValueError(
            f"training: {target_name} has shape {target.shape}, wanted the number of a class for each row; of one-hot "
            f"rows pass {target_name}.argmax(axis=1), of a column {target_name}[:, 0]"
        )
    wanted = (len(x), *row), (len(x), *target_row)
    if x.shape != wanted[0] or target.shape != wanted[1]:
        raise ValueError(
            f"training: {x_name} has shape {x.shape} and {target_name} {target.shape}, "
            f"wanted {wanted[0]} and {wanted[1]}"
        )
    if target_dtype is None and target.dtype.kind not in "fiub":
        raise TypeError(f"training: {target_name} must hold real numbers, got {target.dtype}")
    if target_dtype is not None and target.dtype.kind not in "iu":
        numbers = f"{target_name}.astype(np.int64)"
        if target.dtype.kind in "USTO":
            numbers = f"np.unique({target_name}, return_inverse=True)[1]"
        raise TypeError(
            f"training: {target_name} must hold integers, numbers of classes, got {target.dtype}; pass {numbers}"
        )


def check_weights(loss: Loss, weights: Array, rows: int) -> None:
    """Raise unless these are weights of so many rows, and the loss heeds them."""
    if not loss.takes_row_weights:
        raise ValueError(
            f"training: {type(loss).__name__} takes no sample_weight; let its gradient weigh the rows by "
            "frame.weights, and say so with takes_row_weights = True"
        )
    if not backend.is_array(weights) or weights.shape != (rows,) or weights.dtype.kind not in "fiub":
        got = f"{weights.shape} {weights.dtype}" if backend.is_array(weights) else type(weights).__qualname__
        raise ValueError(f"training: sample_weight is {got}, wanted numbers of shape ({rows},), one a row")
    host = devices.read(weights)
    bad = np.flatnonzero(~(np.isfinite(host) & (host >= 0)))
    if bad.size:
        raise ValueError(f"training: sample_weight of row {bad[0]} is {host[bad[0]]}, wanted a number of 0 or more")


class TrainStep:
    """Forward, loss, backward and update of a batch, as a list of kernel calls.

    The first step with a number of rows runs through the checked ops and is recorded; the recording
    is proved, by running it again from the same state with NaN in every buffer and comparing bit by
    bit; later steps replay it. Nothing is allocated then.

    Parameters
    ----------
    model : Layer
    loss : Loss
    optimizer : Optimizer
    batch_size : int
        The most rows of a step.
    device : {"cpu", "cuda", "auto"}
    seed : int
        Of the weights at the start, and of dropout.
    dtype : float32 or float64, optional
        Of the weights' where they are given, else float32.
    weights : Weights, optional
        Of this model, to train on instead of new ones.
    record : bool
        False runs every step through the checked ops, where NumPy code between them is allowed.
    deterministic : bool
        Whether steps on a CPU have the same bits for every number of threads, at a few per cent of their
        speed. For one number of threads, and on a GPU, they have them anyway.

    Attributes
    ----------
    weights : Weights
        They exist from the first batch on, which tells the shape of a row.
    moments : list of array
        The optimizer's state, laid out like the parameters.
    count : int
        Steps made with this optimizer.
    drawn : int
        Steps made with any, by which masks of dropout are told apart. A loop of one's own that keeps this,
        `count`, `rate_factor`, `moments` and the weights goes on from them to the bit.
    rate_factor : float
        What the optimizer's learning rate is multiplied by, from the next step on.

    Warns
    -----
    SquashedLogitsWarning
        Where the model ends in a sigmoid or softmax, and the loss takes logits; not with weights that are given.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl as fd
    >>> model = fd.nn.Sequential(fd.nn.Linear(8, activation="relu"), fd.nn.Linear(2))
    >>> step = fd.TrainStep(model, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam(0.01), batch_size=4)
    >>> x, y = np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1])
    >>> losses = [step(x, y) for _ in range(100)]
    >>> losses[0] > 0.5 > 0.1 > losses[-1]
    True
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        *,
        batch_size: int,
        device: str = "auto",
        seed: int = 0,
        dtype: Any = None,
        weights: Weights | None = None,
        record: bool = True,
        deterministic: bool = False,
    ):
        checks.word("TrainStep", "seed", seed, 64)
        for name, given in (("model", model), ("loss", loss), ("optimizer", optimizer)):
            if isinstance(given, type):
                raise TypeError(f"TrainStep: {name} is the class {given.__name__}; write {given.__name__}(...)")
        if weights is None:  # else a Trainer has said so, or they have been trained
            loss.check_model(model)
        self._model, self._loss, self._optimizer = model, loss, optimizer
        self.batch_size, self.seed = batch_size, seed
        self.dtype = np.dtype(dtype or (weights.dtype if weights else np.float32))
        self.device = backend.device(device)
        self.rate_factor = 1.0
        self.count = 0
        self.drawn = 0  # steps by which random numbers are told apart
        self._record, self._deterministic = record, deterministic
        self._next = 0, 0  # of a batch that comes in parts: the next part's first row, and the rows of all
        self._unsummed = 0  # rows of the last batch, if its loss has not been added to the sum on the GPU
        self._told = 0  # batches that a GPU was given since its count was 0
        self._tapes: dict[tuple[Any, ...], Tape] = {}
        self._data: Array | None = None
        self._targets: Array | None = None
        self._row_weights: Array | None = None
        self._weighted = False  # whether the step at hand has weights of rows
        self._order: Array | None = None
        self.workspace: Workspace | None = None
        self.moments: list[Array] = []
        self._stretches: list[Stretch] = []
        if weights is not None:
            if weights.model is not model or weights.dtype != self.dtype or weights.device != self.device:
                raise ValueError(
                    f"TrainStep: the weights given are {weights.dtype}, on {weights.device!r}, and of "
                    f"{weights.model!r}, wanted {self.dtype}, {self.device!r} and the very model that is trained, "
                    f"{model!r}"
                )
            self._build(weights)

    def _build(self, weights: Weights) -> None:
        if not weights.trained:
            what = "all its parameters are frozen" if weights.params else "it has no parameters"
            raise ValueError(f"TrainStep: there is nothing to train in this model: {what}")
        self._target_shape, self._target_dtype = self._loss.target(weights.output_shape)
        self._stretches = stretches(weights, self._optimizer)
        self.moments = [weights.layout.buffer(self.device) for _ in range(self._optimizer.moments)]
        self.workspace = Workspace(weights, self.batch_size)  # last, since it tells that all is there

    @property
    def optimizer(self) -> Optimizer:
        """What changes the parameters; a TrainStep is made for one, whose kernel it has recorded."""
        return self._optimizer

    @property
    def rate_factor(self) -> float:
        """What the learning rate is multiplied by."""
        return self._rate_factor

    @rate_factor.setter
    def rate_factor(self, factor: float) -> None:
        self._rate_factor, self._scaled = float(factor), self._optimizer.scaled(factor)

    @property
    def weights(self) -> Weights:
        """Parameters and running averages; they exist from the first batch on."""
        if self.workspace is None:
            raise RuntimeError("TrainStep: there are no weights before the first batch, or bind(x, target)")
        return self.workspace.weights

    # ------------------------------------------------------------ what a user calls

    def __call__(
        self,
        x: Array,
        target: Array,
        *,
        sample_weight: Array | None = None,
        first_row: int = 0,
        rows: int | None = None,
    ) -> float:
        """Make a step on the rows given, and return their mean loss before it.

        Parameters
        ----------
        x : (n, ...)
        target : (n, ...)
            For cross-entropy the numbers of classes.
        sample_weight : (n,), optional
            What each row counts, 0 or more: the loss is the mean over their sum. Not for a batch in parts.
        first_row, rows : int, optional
            For a batch in parts, whose gradients are summed: the number of this part's first row,
            and how many rows the whole batch has. The parts come one after the other; parameters
            change with the last.

        Returns
        -------
        float
            The loss of the batch so far.

        Raises
        ------
        ValueError
            For a bad label, naming its row; the parameters are as before then, and the batch must
            be given again from its first row.

        Notes
        -----
        Ctrl-C may come between two kernels of a step, and leave it half done; `Trainer` puts it off
        until the step is whole.
        """
        workspace = self._check(x, target, sample_weight)
        n = len(x)
        self._weighted = sample_weight is not None
        workspace.begin(n, first=first_row == 0)
        given = (x, target) if sample_weight is None else (x, target, sample_weight)
        for array, rows_given in zip(self._input_rows(workspace), given, strict=True):
            devices.write(array, rows_given)
        self._make(workspace, n, 0, first_row, n if rows is None else rows, bound=False)
        return self.loss

    def bind(self, x: Array, target: Array, sample_weight: Array | None = None) -> None:
        """Take a data set whose rows `run` then gathers inside the step, and what each of them counts.

        It is copied only where its dtype or layout is not the step's, so it must not change meanwhile.
        `order` is 0, 1, 2, ... until `set_order` changes it.
        """
        self._check(x, target, sample_weight)
        self._data = self._taken(x, self.dtype)
        self._targets = self._taken(target, self._target_dtype or self.dtype)
        self._row_weights = None if sample_weight is None else self._taken(sample_weight, self.dtype)
        self._order = aligned((x.shape[0],), np.int64, self.device)
        devices.write(self._order, np.arange(x.shape[0]))
        self._tapes.clear()  # they may hold the arrays of another data set

    def _taken(self, rows: Array, dtype: Any) -> Array:
        """Rows of a data set as the step reads them."""
        if backend.on_cuda(rows):
            return devices.asarray(rows.astype(dtype, order="C", copy=False), self.device)
        return devices.asarray(np.require(rows, dtype, ["C", "A"]), self.device)

    @property
    def rows_bound(self) -> int:
        """How many rows the bound data set has; 0 if none is."""
        return 0 if self._order is None else len(self._order)

    @property
    def bytes_bound(self) -> int:
        """How many bytes it takes."""
        bound = self._data, self._targets, self._row_weights, self._order
        return sum(int(array.nbytes) for array in bound if array is not None)

    def set_order(self, order: Array) -> None:
        """The order in which `run` takes the rows: as many numbers of rows as the data set has, in integers."""
        if self._order is None or self._data is None:
            raise RuntimeError("TrainStep.set_order: no data set is bound; call bind(x, target) first")
        order = np.asarray(devices.read(order))
        wanted = f"wanted {len(self._order)} integers from 0 to {len(self._data) - 1}"
        if order.shape != self._order.shape or order.dtype.kind not in "iu":
            raise ValueError(f"TrainStep.set_order: {wanted}, got shape {order.shape} and dtype {order.dtype}")
        if order.min() < 0 or order.max() >= len(self._data):
            raise ValueError(f"TrainStep.set_order: {wanted}, got {order.min()} to {order.max()}")
        devices.write(self._order, order)  # in place: tapes hold its address

    def run(
        self, start: int, n: int, *, first_row: int = 0, rows: int | None = None, wait: bool = True
    ) -> float | None:
        """Make a step on rows order[start : start + n] of the bound data set; return their mean loss.

        `first_row` and `rows` tell of a batch in parts, as in a call on rows that are handed over.
        Without `wait` a GPU is only told to make the step, and None is returned: `loss` and `sum` then
        wait for it, and raise if a label was bad.
        """
        if self._order is None or self.workspace is None:
            raise RuntimeError("TrainStep.run: no data set is bound; call bind(x, target) first")
        if start < 0 or n < 1 or start + n > len(self._order):
            raise IndexError(f"TrainStep.run: rows {start} to {start + n} of {len(self._order)} were asked for")
        self._weighted = self._row_weights is not None
        self._make(self.workspace, n, start, first_row, n if rows is None else rows, bound=True)
        return self.loss if wait else None

    @property
    def loss(self) -> float:
        """The mean loss of the last batch, or of its parts so far. On a GPU this waits for it."""
        assert self.workspace is not None
        if self.device == "cpu":
            return float(self.workspace.control.loss[0])
        return float(self._read(self.workspace)[LOSS])

    @property
    def sum(self) -> float:
        """On a GPU, where nobody waits for every step: rows times loss, added up over all batches since it was set."""
        assert self.workspace is not None
        words = self._read(self.workspace)
        return float(words[SUM] + (self._unsummed * words[LOSS] if self._unsummed else 0.0))

    @sum.setter
    def sum(self, value: float) -> None:
        assert self.workspace is not None
        devices.write(self.workspace.control.sum, value)
        self._unsummed = 0

    def _read(self, workspace: Workspace) -> Array:
        """The words of the control, from the GPU, as float64; raises if a label was bad."""
        words = devices.read(workspace.control.words)
        if words[STATUS]:
            self._raise_bad_label(workspace, int(words[STATUS]) - 1)
        return words.view(np.float64)

    def _check(self, x: Array, target: Array, sample_weight: Array | None) -> Workspace:
        """Raise for rows that do not fit the model or each other; make the weights if there are none."""
        row = self.workspace.weights.input_shape if self.workspace else None
        check_rows(self._model, self._loss, x, target, row=row)
        if sample_weight is not None:
            check_weights(self._loss, sample_weight, len(x))
        if self.workspace is None:
            self._build(Weights(self._model, x.shape[1:], dtype=self.dtype, seed=self.seed, device=self.device))
        assert self.workspace is not None
        return self.workspace

    # ------------------------------------------------------------ one step

    def _make(self, workspace: Workspace, n: int, start: int, first_row: int, total: int, bound: bool) -> None:
        if first_row < 0 or first_row + n > total:
            raise ValueError(f"TrainStep: rows {first_row} to {first_row + n} of a batch of {total} were given")
        if first_row and (first_row, total) != self._next:
            raise ValueError(
                f"TrainStep: got a part from row {first_row} of a batch of {total}, but "
                + (f"row {self._next[0]} of {self._next[1]} comes next" if self._next[1] else "no batch has been begun")
                + "; give the batch again from its first row"
            )
        if self._weighted and n < total:
            raise ValueError(
                f"TrainStep: got {n} rows of a batch of {total} with sample_weight, whose mean is over the weights of "
                "the whole batch; give it whole"
            )
        first, last = first_row == 0, first_row + n == total
        self._next = 0, 0  # unless all goes well
        self._tick(workspace, start, first_row, total)
        # A child of fork must not replay its parent's parallel kernels, hence the process's number.
        on_cpu = self.device == "cpu"
        key = n, first, last, bound, self._weighted, backend.active() if on_cpu else "cuda", os.getpid()
        tape = self._tapes.get(key)
        with backend.one_blas_thread() if on_cpu else contextlib.nullcontext():
            if tape is not None:
                with backend.share_of_cores() if on_cpu else contextlib.nullcontext():
                    tape.replay()
            else:
                before = self._state(workspace)
                try:
                    with backend.deterministic() if self._deterministic else contextlib.nullcontext():
                        if self._record and on_cpu and backend.active() == "numba":
                            self._compile(workspace, n, first, last, bound)
                        self._body(workspace, n, first, last, bound)
                        if self._record and not devices.read(workspace.control.status)[0]:
                            self._tapes[key] = self._recorded(workspace, n, first, last, bound, before)
                except BaseException:
                    self._restore(workspace, before)
                    raise
        if self.device == "cpu" and workspace.control.status[0]:
            row = int(workspace.control.status[0]) - 1
            label = self._input_rows(workspace)[1][row]
            if bound and self._order is not None:
                row = int(self._order[start + row])
            self._raise_bad_label(workspace, row, label)
        if last:
            self._unsummed = total
            self._told += 1
        else:
            self._next = first_row + n, total
        self.count += last
        self.drawn += last

    def _tick(self, workspace: Workspace, start: int, first_row: int, total: int) -> None:
        """Write what this step needs to know, computed in float64, into the one small array."""
        control, seed = workspace.control, self.seed
        loss = control.loss[0] if first_row and self.device == "cpu" else 0.0
        _INTEGERS.pack_into(
            control.bytes, 0, seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, self.drawn + 1, first_row, start
        )
        scalars = self._scaled.for_rows(total).scalars(self.count + 1)
        struct.pack_into(f"{2 + len(scalars)}d", control.bytes, 8 * LOSS, loss, 1 / total, *scalars)
        if self.device == "cuda":
            _LAST.pack_into(control.bytes, 8 * WORDS, self._unsummed, first_row > 0)
            self._unsummed = 0
            control.publish()

    def _input_rows(self, workspace: Workspace) -> tuple[Array, ...]:
        """The batch's rows and targets in this workspace, and what each row counts unless all do alike."""
        frame = workspace.input
        x = frame.rows("x", *workspace.weights.input_shape)
        target = frame.rows("target", *self._target_shape, dtype=self._target_dtype)
        return (x, target, frame.rows("weight")) if self._weighted else (x, target)

    def _body(self, workspace: Workspace, n: int, first: bool, last: bool, bound: bool) -> None:
        """The step as calls of ops: run, or recorded."""
        weights, control = workspace.weights, workspace.control
        workspace.begin(n, first)
        x, target, *counts = rows = self._input_rows(workspace)
        workspace.loss.weights = counts[0] if counts else None
        status = seal(control.status)
        if bound:
            assert self._order is not None
            sources = self._data, self._targets, self._row_weights
            for source, taken in zip(sources, rows, strict=False):  # without weights there are but two
                assert source is not None
                ops.gather(source, self._order, start=seal(control.start), rows=n, out=taken)
        output = self._model.forward(x, workspace.frame, train=True)
        self._model.backward(self._loss.gradient(output, target, workspace.loss), workspace.frame)
        if weights.averages_flat.size:
            ops.update_averages(
                seal(weights.averages_flat),
                seal(workspace.batch_flat),
                decay=AVERAGES_DECAY,
                status=status,
            )
        if last:
            update(self._optimizer, self._stretches, workspace, self.moments, status)

    def _raise_bad_label(self, workspace: Workspace, row: int, label: Any = None) -> NoReturn:
        """Raise for a row's label; on a GPU, which may be steps ahead, for a row of one of its batches."""
        control = workspace.control
        if self.device == "cuda":  # of the batches that it was told of, some took no effect
            lost = self._told - int(devices.read(control.count)[0])
            self.count -= lost
            self.drawn -= lost
            self._told = self._unsummed = 0
            for word in (control.count, control.sum, control.loss):
                devices.write(word, 0)
        devices.write(control.status, 0)
        self._next = 0, 0
        classes, what = workspace.weights.output_shape[0], "this step changed no parameter"
        if label is None:
            what = "since that step no parameter changed"
            row, label = self._bad_label(classes) or (row, None)
        of = f"row {row} is {label}" if label is not None else f"row {row} of a batch is another number"
        raise ValueError(f"TrainStep: the label of {of}, wanted 0 to {classes - 1}; {what}")

    def _bad_label(self, classes: int) -> tuple[int, Any] | None:
        """The first row of the bound data set whose label no class has, and the label."""
        if self._targets is None:
            return None
        targets = devices.read(self._targets)
        bad = np.flatnonzero(((targets < 0) | (targets >= classes)) & (targets != getattr(self._loss, "ignored", None)))
        return (int(bad[0]), targets[bad[0]]) if bad.size else None

    # ------------------------------------------------------------ recording

    def _changing(self, workspace: Workspace) -> list[Array]:
        """All that a step changes, its own buffers aside."""
        weights, grads = workspace.weights, workspace.grads_flat[: workspace.weights.trained]
        of_batch = [grads, workspace.batch_flat, workspace.control.words]
        return [weights.flat, weights.averages_flat, *self.moments, *of_batch]

    def _state(self, workspace: Workspace) -> list[Array]:
        return [devices.copy(array) for array in self._changing(workspace)]

    def _restore(self, workspace: Workspace, state: list[Array]) -> None:
        for array, saved in zip(self._changing(workspace), state, strict=True):
            devices.write(array, saved)

    def _poison_buffers(self, workspace: Workspace) -> None:
        for frame in (workspace.frame, workspace.loss, workspace.input, workspace.update):
            frame.poison()
        _fill_with_nan(workspace.shared.batch)

    def _compile(self, workspace: Workspace, n: int, first: bool, last: bool, bound: bool) -> None:
        """Compile together what the step's first run would compile one by one."""
        with record() as tape:
            self._body(workspace, n, first, last, bound)
        tape.resolve()

    def _recorded(
        self, workspace: Workspace, n: int, first: bool, last: bool, bound: bool, before: list[Array]
    ) -> Tape:
        """The tape of the step just made, proved on that step.

        Every array is full of NaN while it is recorded, so that a value read past the seal is a wrong
        one; and so are the buffers before the proof, but for those of rows that were handed over.
        """
        after, given = self._state(workspace), [devices.copy(array) for array in self._input_rows(workspace)]
        weights, views = workspace.weights, workspace.weights.layout.views
        _fill_with_nan(weights.params, weights.averages, workspace.shared.grads, *map(views, self.moments))
        self._poison_buffers(workspace)
        with record() as tape:
            self._body(workspace, n, first, last, bound)
        self._restore(workspace, before)
        self._poison_buffers(workspace)
        if first:  # later parts add to the gradients
            _fill_with_nan(workspace.shared.grads)
        if not bound:
            for array, rows in zip(self._input_rows(workspace), given, strict=True):
                devices.write(array, rows)
        tape.replay()
        states = zip(after, self._changing(workspace), strict=True)
        same = all(devices.read(a).tobytes() == devices.read(b).tobytes() for a, b in states)
        self._restore(workspace, after)
        if not same:
            raise RuntimeError(
                "TrainStep: a replay of this step differs from the step itself, so a layer or loss works outside "
                "fastdl's ops (NumPy calls, branches on values); use ops or frame.call(function, *arrays) in it, or "
                "TrainStep(record=False)"
            )
        return tape


def _fill_with_nan(*groups: Mapping[str, Array]) -> None:
    """Fill named views with NaN: not the gaps between them, which stay 0 for ever."""
    for views in groups:
        for array in views.values():
            devices.fill(array, np.nan)
