"""Ensembles: several models that predict together."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import backend, checkpoint, checks, data, devices, random
from .callbacks import Callback, diverged
from .feed import read_by_batch
from .history import History
from .progress import Progress
from .step import check_weights
from .trainer import Trainer
from .typing import Array, Shape

__all__ = ["Bagging", "bootstrap"]

TEXT = "bagging"  # the entry of a file that holds all but the arrays


def bootstrap(rows: int, *, seed: int = 0, sample: int = 0) -> Array:
    """A bootstrap sample: so many numbers of rows, each drawn from all rows.

    It leaves a row out with probability (1 - 1 / rows)^rows, about 1 / e.

    Parameters
    ----------
    rows, seed : int
    sample : int
        Which sample of this seed.

    Returns
    -------
    (rows,) int64 array.

    Examples
    --------
    >>> from fastdl.ensemble import bootstrap
    >>> bootstrap(8)
    array([6, 0, 4, 2, 5, 7, 2, 0])
    """
    drawn = random.uniform(rows, seed=seed, stream=random.BOOTSTRAP, step=sample)
    return (drawn * rows).astype(np.int64)


class Member(NamedTuple):
    """What a member came to: all that is handed back by another process, or kept in a file."""

    weights: dict[str, Array]
    """Parameters and running averages."""
    history: list[dict[str, float]]
    interrupted: bool = False


class Bagging:
    """Bootstrap aggregating: models that are each trained on a bootstrap sample predict by their mean.

    p(x) = 1/n sum_k p_k(x), with p_k the probabilities of member k, of a regression its outputs.

    Member k = 0, 1, ... is `make(seed + k)`, trained on `bootstrap(rows, seed=seed, sample=k)`: on nothing
    else, so that it has the same bits wherever it is trained.

    Parameters
    ----------
    make : function of a seed
        Returns a new `Trainer` of that seed.
    members : int
    seed : int
    n_jobs : int
        Members trained at a time, each in a process of its own that has its share of the threads; -1 for
        as many as there are cores. Other than 1 it needs joblib (extra `parallel`), and within
        `joblib.parallel_config("dask")` it takes the workers of a Dask cluster.

    Attributes
    ----------
    trainers : list of Trainer
        The members, ready to predict; none before `fit` or `load`.
    history : History
        Of all members, one after the other, with a column `member`, from 1.

    References
    ----------
    Breiman, Bagging predictors, Machine Learning 24, 1996.

    Examples
    --------
    >>> import fastdl as fd
    >>> from fastdl import nn
    >>> x, y = fd.data.load_digits()
    >>> train, test = fd.data.split(x / 16, y, parts=(0.2, 0.8), stratify=True)
    >>> model = nn.Sequential(nn.Linear(16, activation="tanh"), nn.Linear(10))
    >>> def make(seed):
    ...     return fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam(0.01), seed=seed)
    >>> bagging = fd.ensemble.Bagging(make, members=5)
    >>> history = bagging.fit(*train, epochs=10, batch_size=32, progress=False)
    >>> alone = [trainer.evaluate(*test)["accuracy"] for trainer in bagging.trainers]
    >>> bagging.evaluate(*test)["accuracy"] > sum(alone) / 5
    True
    """

    def __init__(self, make: Callable[[int], Trainer], members: int = 10, *, seed: int = 0, n_jobs: int = 1):
        checks.word("Bagging", "seed", seed, 64)
        if members < 1:
            raise ValueError(f"Bagging: members is {members}, wanted at least 1")
        if n_jobs == 0:
            raise ValueError("Bagging: n_jobs is 0, wanted at least 1, or -1 for as many as there are cores")
        self.members, self.seed, self.n_jobs = members, seed, n_jobs
        self._make = make
        self.trainers: list[Trainer] = []
        self.history = History()

    # ------------------------------------------------------------ training

    def fit(
        self,
        x: Any,
        y: Any,
        *,
        callbacks: Callable[[], Sequence[Callback]] = tuple,
        progress: bool = True,
        **options: Any,
    ) -> History:
        """Train new members, each on a bootstrap sample of these rows.

        Meanwhile products have the same bits for every number of threads, as with `deterministic=True`, so
        that results do not depend on `n_jobs`.

        Parameters
        ----------
        x, y : (n, ...)
            Arrays, such as are mapped from a file, or `data.Rows`.
        callbacks : function without arguments
            Makes the callbacks of a member, `lambda: [EarlyStopping()]`: each needs its own.
        progress : bool
            Show a line for each member.
        **options
            `validation`, `epochs`, `batch_size` and the others of `Trainer.fit`, for every member.

        Returns
        -------
        History
            Of all members: see `history`.

        Raises
        ------
        RuntimeError
            If a training diverges, so that weights are not finite.
        KeyboardInterrupt
            For Ctrl-C. In either case the members of an earlier call stay.
        """
        for name, value in (("x", x), ("y", y)):
            if not backend.is_array(value) and not isinstance(value, data.Rows):
                raise TypeError(
                    f"Bagging.fit: {name} must be a numpy.ndarray, got {type(value).__qualname__}; "
                    f"pass np.asarray({name})"
                )
        if len(x) != len(y):
            raise ValueError(f"Bagging.fit: x has {len(x)} rows and y {len(y)}, wanted as many")
        if options.get("sample_weight") is not None:
            check_weights(self._make(self.seed).loss, options["sample_weight"], len(x))
        if not callable(callbacks):
            raise TypeError(
                f"Bagging.fit: callbacks must be a function that makes them, since each member needs its own, "
                f"lambda: [EarlyStopping()] say, got {callbacks!r}"
            )
        show = Progress(0, self.members, unit="member") if progress else None
        members: list[Member] = []
        try:
            for member in self._train(x, y, callbacks, options):
                if member.interrupted:
                    raise KeyboardInterrupt
                members.append(member)
                if show and member.history:
                    show(len(members), member.history[-1])
        finally:
            if show:
                show.close()
        self._take(members, self.seed, tuple(x.shape[1:]))
        return self.history

    def _train(
        self, x: Any, y: Any, callbacks: Callable[[], Sequence[Callback]], options: dict[str, Any]
    ) -> Iterable[Member]:
        """The members in their order, as they are done."""
        # On their way joblib maps large arrays to files; those need not be read by batch.
        by_batch = read_by_batch(x), read_by_batch(y)
        tasks = [
            (self._make, self.seed, number, (x, y), by_batch, callbacks, options) for number in range(self.members)
        ]
        if self.n_jobs == 1:
            return (_train_member(*task) for task in tasks)
        try:
            from joblib import Parallel, delayed
        except ImportError as error:
            raise RuntimeError(
                f"Bagging: n_jobs={self.n_jobs} needs joblib; install the extra, "
                "pip install 'fastdl-kernels[parallel]', or pass n_jobs=1"
            ) from error
        found: Iterable[Member] = Parallel(n_jobs=self.n_jobs, return_as="generator")(
            delayed(_train_member)(*task) for task in tasks
        )
        return found

    def _take(self, members: Sequence[Member], seed: int, shape: Shape) -> None:
        """Make trainers of what members came to, and put them in the place of those that are there."""
        trainers, history = [], History()
        for number, member in enumerate(members):
            trainer = self._make(_member_seed(seed, number))
            if wrong := {array.dtype for array in member.weights.values()} - {trainer.dtype}:
                raise ValueError(f"Bagging: the weights are {wrong.pop()}, wanted Trainer(dtype={trainer.dtype})")
            trainer.build(shape).load(member.weights)
            trainer.history.rows, trainer.epochs = list(member.history), len(member.history)
            trainers.append(trainer)
            history.rows += [{"member": number + 1, **row} for row in member.history]
        self.trainers, self.history = trainers, history

    # ------------------------------------------------------------ prediction

    def predict(self, x: Any) -> Array:
        """What all members say together of every row.

        Parameters
        ----------
        x : (n, ...)
            As in `Trainer.predict`.

        Returns
        -------
        (n, ...) array
            Under cross-entropy, of classes or labels, the logits of the mean of the probabilities; else the
            mean of the outputs.
        """
        trainers = self._trained()
        return trainers[0].loss.average([trainer.predict(x) for trainer in trainers])

    def predict_proba(self, x: Any) -> Array:
        """The mean of the members' probabilities of every class, or of every label, for every row.

        Parameters
        ----------
        x : (n, ...)

        Returns
        -------
        (n, classes) array; losses without probabilities raise TypeError.
        """
        return self.probabilities(self.predict(x))

    def evaluate(self, x: Any, y: Array) -> dict[str, float]:
        """Loss and metrics of what all members say together.

        Parameters
        ----------
        x, y : (n, ...)
        """
        return self.measure(devices.read(self.predict(x)), np.asarray(devices.read(y[: len(y)])))

    def probabilities(self, outputs: Array) -> Array:
        """What outputs that `predict` gave say of the classes, or labels, as probabilities."""
        return self._trained()[0].probabilities(outputs)

    def measure(self, outputs: Array, targets: Array) -> dict[str, float]:
        """Loss and metrics of outputs that `predict` gave, against their targets."""
        return self._trained()[0].measure(outputs, targets)

    def _trained(self) -> list[Trainer]:
        if not self.trainers:
            raise RuntimeError("Bagging: there are no members yet; call fit(x, y), or load(path) first")
        return self.trainers

    # ------------------------------------------------------------ files

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        texts: Mapping[str, str] | None = None,
        arrays: Mapping[str, Array] | None = None,
    ) -> None:
        """Write all members to one safetensors file, which is there whole or not at all.

        Parameters
        ----------
        path : path
        texts, arrays : mappings, optional
            What belongs to the models beside them: see `Trainer.save`.
        """
        trainers = self._trained()
        plain = {
            "seed": self.seed,
            "input_shape": trainers[0].weights.input_shape,
            "histories": [trainer.history.rows for trainer in trainers],
        }
        held = {
            f"members.{number}/{name}": array
            for number, trainer in enumerate(trainers)
            for name, array in trainer.weights.snapshot().items()
        }
        text = json.dumps(plain, default=float)  # callbacks may put NumPy's numbers into the history
        checkpoint.save(path, {**(arrays or {}), **held}, {**(texts or {}), TEXT: text})

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take the members of a file that `save` wrote, as many as it holds.

        Raises
        ------
        ValueError
            For a damaged file, or one of another model, with a list of what differs; nothing is changed then.
        """
        arrays, texts = checkpoint.load(path)
        if TEXT not in texts:
            raise ValueError(f"Bagging.load: {path} was not written by Bagging.save")
        plain = json.loads(texts[TEXT])
        members = []
        for number, history in enumerate(plain["histories"]):
            own = f"members.{number}/"
            weights = {name.removeprefix(own): array for name, array in arrays.items() if name.startswith(own)}
            members.append(Member(weights, history))
        self._take(members, plain["seed"], tuple(plain["input_shape"]))
        self.members, self.seed = len(members), plain["seed"]


def _member_seed(seed: int, number: int) -> int:
    return (seed + number) % 2**64


def _chosen(rows: Any, by_batch: bool, numbers: Array) -> Any:
    return data.Rows(rows, numbers) if by_batch else rows[numbers]


def _train_member(
    make: Callable[[int], Trainer],
    seed: int,
    number: int,
    rows: tuple[Any, Any],
    by_batch: tuple[bool, bool],
    callbacks: Callable[[], Sequence[Callback]],
    options: dict[str, Any],
) -> Member:
    """Train one member, here or in another process."""
    trainer = make(_member_seed(seed, number))
    chosen = bootstrap(len(rows[0]), seed=seed, sample=number)
    x, y = map(_chosen, rows, by_batch, (chosen, chosen))
    if options.get("sample_weight") is not None:
        options = {**options, "sample_weight": options["sample_weight"][chosen]}
    watched = callbacks()
    with backend.deterministic():
        history = trainer.fit(x, y, callbacks=watched, progress=False, **options)
    weights = trainer.weights.snapshot()
    if diverged(watched) or not all(np.isfinite(array).all() for array in weights.values()):
        raise RuntimeError(
            f"Bagging: the training of member {number + 1} diverged, so that its weights are not to be used; a lower "
            "learning rate or clip_norm may help"
        )
    return Member(weights, history.rows, history.interrupted)
