"""From columns to arrays: what is learnt of the training rows' columns, and kept for all later ones."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ..typing import Array
from .decimals import number
from .table import Table, no_column

CATEGORIES = 100  # of a column of texts, at most
CLASSES = 20  # distinct whole numbers, at most, that are taken for classes unasked
LARGEST = float(np.finfo(np.float32).max)


class UnknownCategoryWarning(UserWarning):
    """A text that no training row has in its column; its features are all zeros."""


@dataclass(frozen=True)
class Column:
    """An input column: the categories, sorted, of one of texts, or the mean of one of numbers."""

    name: str
    categories: tuple[str, ...] | None
    mean: float


@dataclass(frozen=True)
class Encoder:
    """What turns a Table into arrays, learnt from the training rows alone; `Encoder.fit` makes one.

    Attributes
    ----------
    target : str
        The column to be predicted.
    task : {"classification", "regression"}
    classes : tuple of str
        In numeric order where the target is numbers, else sorted; none for regression.
    target_mean, target_deviation : float
        Of a regression's target; 0 and 1 for classification.
    numeric : bool
        Whether the target is numbers.
    missing : {"error", "mean"}
    columns : tuple of Column
        The inputs; one of numbers makes a feature, one of texts a feature for each category.

    Examples
    --------
    >>> import pathlib, numpy as np
    >>> from fastdl.data import Encoder, Table
    >>> leaves, trees = np.array(["oval", "lobed"]), np.array(["ash", "oak"])
    >>> columns = {"height": np.array([1.2, 3.0]), "leaf": leaves, "tree": trees}
    >>> table = Table(columns, pathlib.Path("trees.csv"), np.array([2, 3]))
    >>> encoder = Encoder.fit(table, "tree")
    >>> encoder.inputs(table), encoder.targets(table)
    (array([[1.2, 0. , 1. ],
           [3. , 1. , 0. ]]), array([0, 1]))
    >>> encoder.describe()
    "target 'tree' (texts): classification into 2 classes, ash, oak; for regression it must be numbers"
    >>> encoder.decode(np.array([[0.1, 0.9]]))
    array(['oak'], dtype='<U3')
    """

    target: str
    task: str
    classes: tuple[str, ...]
    target_mean: float
    target_deviation: float
    numeric: bool
    missing: str
    columns: tuple[Column, ...]

    @classmethod
    def fit(
        cls,
        table: Table,
        target: str,
        *,
        task: str = "auto",
        classes: Sequence[str] = (),
        drop: Sequence[str] = (),
        missing: str = "error",
    ) -> Encoder:
        """Learn categories, means and classes.

        Parameters
        ----------
        table : Table
            The training rows alone.
        target : str
            Name of the column to be predicted.
        task : {"auto", "classification", "regression"}
            By itself, texts and at most 20 distinct whole numbers are classes.
        classes : sequence of str, optional
            Names of all classes, where some may have no row here.
        drop : sequence of str
            Columns that are no inputs.
        missing : {"error", "mean"}
            With "mean" a missing number becomes its column's mean, and a missing text all zeros; a
            missing target is always an error.

        Raises
        ------
        ValueError
            With the remedy: if a column does not exist, has a missing cell, no cell that is not
            missing, or more than 100 categories; if the target has one value only; and for a task
            that is not possible.
        """
        where = f"Encoder.fit: {table.path}"
        for name, given, wanted in (
            ("task", task, ("auto", "classification", "regression")),
            ("missing", missing, ("error", "mean")),
        ):
            if given not in wanted:
                raise ValueError(f"Encoder.fit: {name} is {given!r}, wanted {' or '.join(map(repr, wanted))}")
        for name in (target, *([drop] if isinstance(drop, str) else drop)):
            if name not in table.columns:
                raise ValueError(f"{where} has {no_column(name, table.columns)}")
        names = [name for name in table.columns if name != target and name not in drop]
        if len(table) == 0 or not names:
            raise ValueError(f"{where} has {len(table)} rows and {len(names)} input columns, wanted at least 1 of each")
        remedy = (
            "take such rows out with table.take, or, if it is an input, fit with missing='mean' or leave the column "
            "out with drop="
        )
        _check_missing(table, [target] if missing == "mean" else [*names, target], where, remedy)
        task, found, mean, deviation = _target(table, target, task, where)
        classes = tuple(classes) if task == "classification" and set(found) <= set(classes) else found
        columns = tuple(_column(table, name, where) for name in names)
        return cls(target, task, classes, mean, deviation, _numbers(table[target]), missing, columns)

    def inputs(self, table: Table) -> Array:
        """The features, float64 of shape (n, features), not standardised; other columns are ignored.

        In float64, since a time in seconds, say, would lose its digits before it is standardised.

        Raises
        ------
        ValueError
            Naming the column, if one is not there or of another kind than in training; with its line,
            if a cell is missing and must not be, or is beyond float32.
        """
        where = f"Encoder.inputs: {table.path}"
        found = {
            column.name: self._like(table, column.name, column.categories is None, where) for column in self.columns
        }
        if self.missing == "error":
            remedy = "or train again with missing='mean'"
            _check_missing(Table(found, table.path, table.lines), list(found), where, remedy)
        features: list[Array] = []
        unknown: list[tuple[int, str, str]] = []  # the first line of each text, the column and the text
        for column in self.columns:
            values = found[column.name]
            if column.categories is None:
                _check_range(values, column.name, table, where)
                features.append(np.where(np.isnan(values), column.mean, values)[:, None])
                continue
            categories = np.array(column.categories)
            features.append((values[:, None] == categories).astype(np.float64))
            texts, first = np.unique(values, return_index=True)
            strange = ~np.isin(texts, categories) & (texts != "")
            unknown += [
                (int(table.lines[row]), column.name, str(text))
                for text, row in zip(texts[strange], first[strange], strict=True)
            ]
        if unknown:
            line, name, text = min(unknown)
            others = f", the first of {len(unknown)} such texts," if len(unknown) > 1 else ""
            warnings.warn(
                f"{where}, line {line}, column {name!r}: {text!r}{others} is in no training row; "
                "its features are all zeros",
                UnknownCategoryWarning,
                stacklevel=2,
            )
        return np.concatenate(features, axis=1)

    def targets(self, table: Table) -> Array:
        """The target: numbers of classes, (n,) int64, or for regression standardised values, (n, 1) float32.

        Raises
        ------
        ValueError
            If the column is not there or of another kind than in training; naming the line, if a cell
            is missing or of a class that no training row has.
        """
        where = f"Encoder.targets: {table.path}"
        values = self._like(table, self.target, self.numeric, where)
        _check_missing(
            Table({self.target: values}, table.path, table.lines), [self.target], where, "or leave the row out"
        )
        if self.task == "regression":
            return ((values - self.target_mean) / self.target_deviation).astype(np.float32)[:, None]
        known = np.array([float(name) for name in self.classes]) if self.numeric else np.array(self.classes)
        numbers = np.minimum(np.searchsorted(known, values), len(known) - 1)
        strange = np.flatnonzero(known[numbers] != values)
        if strange.size:
            row = strange[0]
            raise ValueError(
                f"{where}, line {table.lines[row]}, column {self.target!r}: {values[row].item()!r} is no class of the "
                f"training rows, which are {_some(self.classes)}; train with rows of it, or take it out"
            )
        return numbers.astype(np.int64)

    def decode(self, outputs: Array) -> Array:
        """What outputs of a model mean: names of the classes with the largest, or values in the file's units.

        Parameters
        ----------
        outputs : (n, classes), or for regression (n, 1)

        Returns
        -------
        (n,) array of str, or for regression (n, 1) float64
        """
        outputs = np.asarray(outputs)
        width = len(self.classes) or 1
        if outputs.ndim != 2 or outputs.shape[1] != width:
            raise ValueError(f"Encoder.decode: outputs have shape {outputs.shape}, wanted (n, {width})")
        if self.task == "regression":
            return outputs.astype(np.float64) * self.target_deviation + self.target_mean
        named: Array = np.array(self.classes)[outputs.argmax(axis=1)]
        return named

    def describe(self) -> str:
        """One line: what was read off the target, and how to overrule it."""
        text = f"target {self.target!r} ({'numbers' if self.numeric else 'texts'}): {self.task} "
        if self.task == "regression":
            return (
                f"{text}of its distance from the mean, {self.target_mean:.6g}, in units of the deviation, "
                f"{self.target_deviation:.6g}; task='classification' makes each value a class"
            )
        text += f"into {len(self.classes)} classes, {_some(self.classes)}; "
        return text + ("task='regression' predicts the number" if self.numeric else "for regression it must be numbers")

    def to_json(self) -> str:
        """All of it as JSON, from which `from_json` makes it again, to the bit."""
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Encoder:
        """The encoder that `to_json` was called on.

        Raises
        ------
        ValueError
            If the text is not what `to_json` writes.
        """
        try:
            fields = json.loads(text)
            columns = tuple(
                Column(c["name"], None if c["categories"] is None else tuple(c["categories"]), c["mean"])
                for c in fields["columns"]
            )
            encoder = cls(**{**fields, "classes": tuple(fields["classes"]), "columns": columns})
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"Encoder.from_json: the text was not written by to_json: {error!r}") from None
        wrong = encoder._wrong() or ("it has other fields" if json.loads(encoder.to_json()) != fields else "")
        if wrong:
            raise ValueError(f"Encoder.from_json: the text was not written by to_json: {wrong}")
        return encoder

    def _wrong(self) -> str:
        """What cannot be, of fields that may hold anything; else nothing."""
        texts = [self.target, *self.classes, *(c.name for c in self.columns)]
        texts += [category for c in self.columns for category in c.categories or ()]
        numbers = [self.target_mean, self.target_deviation, *(c.mean for c in self.columns)]
        if not all(isinstance(text, str) for text in texts):
            return "a name is no text"
        if not all(isinstance(number, float) and math.isfinite(number) for number in numbers):
            return "a mean or deviation is no finite float"
        if (self.task, bool(self.classes)) not in (("classification", True), ("regression", False)):
            return f"task {self.task!r} with {len(self.classes)} classes"
        if not isinstance(self.numeric, bool) or self.missing not in ("error", "mean") or self.target_deviation <= 0:
            return "numeric, missing or target_deviation is out of range"
        if not self.columns or any(c.categories == () for c in self.columns):
            return "there are no features"
        values = [number(name) for name in self.classes] if self.numeric else list(self.classes)
        if None in values or values != sorted(set(values)) or len(values) == 1:  # type: ignore[type-var]
            return "the classes are not in order"
        return ""

    def _like(self, table: Table, name: str, numbers: bool, where: str) -> Array:
        """A column, of the kind that it had in training."""
        if name not in table.columns:
            raise ValueError(f"{where} has {no_column(name, table.columns)}")
        values = table.columns[name]
        if _numbers(values) and not numbers and np.isnan(values).all():
            return np.zeros(len(values), "U1")  # all missing, so that its kind cannot be seen
        if _numbers(values) != numbers:
            kinds = ("texts", "numbers")
            raise ValueError(
                f"{where}: column {name!r} holds {kinds[_numbers(values)]}, wanted {kinds[numbers]}, as in training"
            )
        return values


def _numbers(values: Array) -> bool:
    return bool(values.dtype.kind == "f")


def _missing(values: Array) -> Array:
    return np.isnan(values) if _numbers(values) else values == ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")


def _check_missing(table: Table, names: Sequence[str], where: str, remedy: str) -> None:
    """Raise if a cell of these columns is missing."""
    gone = np.stack([_missing(table[name]) for name in names], axis=1)
    if gone.any():
        row, column = (int(i) for i in np.argwhere(gone)[0])
        among = f", the first of {gone.sum():,}" if gone.sum() > 1 else ""
        raise ValueError(
            f"{where}, line {table.lines[row]}, column {names[column]!r}: a cell is missing{among}; "
            f"fill it in, {remedy}"
        )


def _check_range(values: Array, name: str, table: Table, where: str) -> None:
    far = np.flatnonzero(np.abs(values) > LARGEST)
    if far.size:
        raise ValueError(
            f"{where}, line {table.lines[far[0]]}, column {name!r}: {values[far[0]]:g} is beyond float32; "
            f"mend it, or leave the column out with drop=[{name!r}]"
        )


def _target(table: Table, name: str, task: str, where: str) -> tuple[str, tuple[str, ...], float, float]:
    """Task, names of classes, mean and deviation."""
    column = table[name]
    values = np.unique(column)
    numbers = _numbers(column)
    if numbers and not np.isfinite(values).all():
        row = np.flatnonzero(~np.isfinite(column))[0]
        raise ValueError(f"{where}, line {table.lines[row]}, column {name!r}: the target is infinite; mend it")
    if len(values) == 1:
        raise ValueError(
            f"{where}: column {name!r} is {values[0].item()!r} in all {len(table):,} rows, wanted at least 2 values; "
            "choose another target, or rows in which it varies"
        )
    whole = numbers and bool((values == np.floor(values)).all())
    if task == "auto":
        task = "classification" if not numbers or (whole and len(values) <= CLASSES) else "regression"
    if task == "classification":
        names = tuple(str(int(v)) if numbers and v == int(v) else str(v) for v in values.tolist())
        if len(names) > max(CLASSES, len(table) // 2):
            kind = (
                "numbers" if numbers else "texts; if they were meant as numbers, write them with a decimal point alone"
            )
            raise ValueError(
                f"{where}: column {name!r} holds {len(names):,} different {kind}, in {len(table):,} rows; wanted "
                "classes of at least two rows on average"
            )
        return task, names, 0.0, 1.0
    if not numbers:
        raise ValueError(f"{where}: column {name!r} holds texts, wanted numbers for task='regression'")
    with np.errstate(over="ignore"):
        mean, deviation = float(column.mean()), float(column.std()) or 1.0  # 0 where squares vanish
    if not np.isfinite(deviation):
        raise ValueError(
            f"{where}: column {name!r} has values up to {np.abs(column).max():g}, whose deviation "
            "float64 does not hold; write the column in larger units"
        )
    return task, (), mean, deviation


def _column(table: Table, name: str, where: str) -> Column:
    values = table[name]
    present = values[~_missing(values)]
    if not present.size:
        raise ValueError(
            f"{where}: column {name!r} is missing in all {len(values):,} rows; leave it out with drop=[{name!r}]"
        )
    if _numbers(values):
        _check_range(values, name, table, where)
        return Column(name, None, float(present.mean()))
    categories = np.unique(present).tolist()
    if len(categories) > CATEGORIES:
        raise ValueError(
            f"{where}: column {name!r} has {len(categories):,} different texts, wanted at most {CATEGORIES}, "
            f"since each becomes a feature; leave it out with drop=[{name!r}]"
        )
    return Column(name, tuple(categories), 0.0)
