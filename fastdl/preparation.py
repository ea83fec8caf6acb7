"""From a file to what a network is trained on, and from its outputs back to what the file holds."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import data
from .config import Config
from .data.augment import Flip, Mixup, Noise, Rotate, Shift, Transformation
from .feed import read_by_batch
from .typing import Array

PARTS = 0.7, 0.15, 0.15
CLASSES = data.CLASSES  # distinct whole numbers, at most, that are taken for classes unasked
TASKS = "classification", "labels", "regression"
SCALINGS: dict[str, Any] = {"standardize": data.Standardize, "minmax": data.MinMax}
STEPS: dict[str, Any] = {"squash": data.Squash, **SCALINGS}  # in the order in which they come


class Source(NamedTuple):
    """What a file holds: a table, or rows and, where they are known, their targets."""

    table: data.Table | None
    x: Any = None
    y: Any = None


class Prepared(NamedTuple):
    """The parts of a data set, as (x, y), and how they were prepared."""

    train: tuple[Any, Array]
    dev: tuple[Any, Array]
    test: tuple[Any, Array]
    how: Preparation
    augment: tuple[Transformation, ...]
    """What is done to the rows of `train` while they are trained on."""
    weight: Array | None = None
    """What each of them counts."""


@dataclass(frozen=True, eq=False)
class Preparation:
    """What was learnt from the training part alone, and is done to all later rows in the same way.

    Attributes
    ----------
    task : {"classification", "labels", "regression"}
        "labels" are several of 0 and 1 a row.
    classes : tuple of str
    shape : tuple of int
        Of a row of inputs.
    scaling : data.Chain
        Of the inputs.
    mean, deviation : float64 arrays (outputs,)
        Of a regression's targets.
    encoder : data.Encoder, optional
        Of a table's columns.
    soft : bool
        Whether targets are the share of every class instead of numbers of classes.
    """

    task: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    scaling: data.Chain
    mean: Array
    deviation: Array
    encoder: data.Encoder | None = None
    soft: bool = False

    @property
    def outputs(self) -> int:
        """How many outputs the network needs."""
        return len(self.classes) if self.task == "classification" else len(self.mean)

    def inputs(self, source: Source) -> Any:
        """The rows of a source, as the network takes them."""
        if self.encoder is not None:
            if source.table is None:
                raise ValueError(
                    "the network was trained on a CSV file, and this is none; pass a CSV of the same columns"
                )
            return self.scaling(self.encoder.inputs(source.table)).astype(np.float32)
        if source.table is not None:
            raise ValueError(
                "the network was trained on arrays, and this is a CSV file; pass an .npz, .npy or IDX file"
            )
        return _prepared(source.x, self.scaling)

    def targets(self, source: Source) -> Array:
        """The targets of a source, as the loss takes them."""
        if self.encoder is not None and source.table is not None:
            return self._shares(self.encoder.targets(source.table))
        if source.y is None:
            raise ValueError("there are no targets; name them with --target")
        return self._of_arrays(np.asarray(source.y))

    def _of_arrays(self, y: Array) -> Array:
        if self.task == "classification":
            values, numbers = np.unique(y.reshape(len(y)), return_inverse=True)
            place = {name: number for number, name in enumerate(self.classes)}
            names = _names(values)
            if strange := [name for name in names if name not in place]:
                raise ValueError(f"class {strange[0]!r} is none of the training's: {', '.join(self.classes)}")
            return self._shares(np.array([place[name] for name in names], np.int64)[numbers])
        y = y.reshape(len(y), -1)
        if y.shape[1] != len(self.mean):
            raise ValueError(f"the targets have {y.shape[1]} columns, wanted {len(self.mean)}, as in training")
        standardized: Array = ((y - self.mean) / self.deviation).astype(np.float32)
        return standardized

    def _shares(self, y: Array) -> Array:
        """Targets as they are, or the shares of classes in them: 1 of its own."""
        return np.eye(self.outputs, dtype=np.float32)[y] if self.soft else y

    def decode(self, outputs: Array) -> Array:
        """Predictions in the file's own terms: names of classes, labels of 0 and 1, or numbers in its units."""
        found: Array
        if self.task == "classification":
            found = np.array(self.classes)[outputs.argmax(axis=1)]
        elif self.task == "labels":
            found = (outputs > 0).astype(np.int64)
        else:
            found = outputs.astype(np.float64) * self.deviation + self.mean
        return found

    def describe(self) -> str:
        """A line on what was read off the target."""
        if self.encoder is not None:
            return self.encoder.describe()
        if self.task == "classification":
            shown = ", ".join(self.classes[:12]) + (", ..." if len(self.classes) > 12 else "")
            return f"target: classification into {len(self.classes)} classes, {shown}"
        if self.task == "labels":
            return f"target: {len(self.mean)} labels a row, each 0 or 1"
        return f"target: regression of {len(self.mean)} number{'s' * (len(self.mean) > 1)}"

    def kept(self) -> tuple[dict[str, str], dict[str, Array]]:
        """Texts and arrays from which `of` makes it again."""
        texts = {"task": self.task, "classes": json.dumps(self.classes), "shape": json.dumps(self.shape)}
        texts["soft"] = json.dumps(self.soft)
        if self.encoder is not None:
            texts["encoder"] = self.encoder.to_json()
        arrays = {"target/mean": self.mean, "target/deviation": self.deviation}
        for step in self.scaling.steps:
            (name,) = (name for name, kind in STEPS.items() if type(step) is kind)
            arrays |= {f"{name}/{field}": np.asarray(value) for field, value in vars(step).items()}
        return texts, arrays

    @classmethod
    def of(cls, texts: Mapping[str, str], arrays: Mapping[str, Array]) -> Preparation:
        """The preparation that `kept` was called on."""
        if texts["task"] not in TASKS:
            raise ValueError(f"task is {texts['task']!r}, wanted one of {', '.join(TASKS)}")
        steps = []
        for name, kind in STEPS.items():
            kept = {field.name: f"{name}/{field.name}" for field in dataclasses.fields(kind)}
            if arrays.keys() >= set(kept.values()):
                steps.append(kind(**{field: arrays[key] for field, key in kept.items()}))
        # Files from before there was a choice hold no shape, and are standardised.
        shape = json.loads(texts["shape"]) if "shape" in texts else arrays["standardize/mean"].shape
        return cls(
            texts["task"],
            tuple(map(str, json.loads(texts["classes"]))),
            tuple(shape),
            data.Chain(tuple(steps)),
            arrays["target/mean"],
            arrays["target/deviation"],
            data.Encoder.from_json(texts["encoder"]) if "encoder" in texts else None,
            json.loads(texts.get("soft", "false")),
        )


def read(path: str, target: str | None = None, delimiter: str = ",") -> Source:
    """What a file holds, by the end of its name: .csv, .tsv, .npz, .npy, or IDX; "digits" are those of the package.

    Raises
    ------
    ValueError, OSError
        For a file that is damaged, of another kind, or not there.
    """
    if path == "digits":
        return Source(None, *data.load_digits())
    name = path.lower()
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder, wanted a file")
    if name.endswith((".csv", ".tsv")):
        return Source(data.read_csv(path, delimiter="\t" if name.endswith(".tsv") else delimiter))
    if name.endswith(".npz"):
        return Source(None, *data.load_npz(path, ("x", target or "y")))
    if name.endswith(".npy"):
        return Source(None, data.load_npy(path), data.load_npy(target) if target else None)
    with Path(path).open("rb") as file:
        begin = file.read(2)
    if begin == b"\x1f\x8b" and not name.endswith(".csv.gz"):
        with gzip.open(path) as file:
            begin = file.read(2)
    if begin == b"\0\0":
        return Source(None, data.load_idx(path), data.load_idx(target) if target else None)
    raise ValueError(
        f"{path} is no .csv, .tsv, .npz, .npy or IDX file, by its name and its first bytes; rename a CSV file to end "
        "in .csv, and unpack it if it is packed"
    )


def prepare(config: Config) -> Prepared:
    """Read a run's data, cut it into parts, and prepare all of them as the training part tells."""
    source = read(config.data, config.target, config.delimiter)
    return _of_table(source.table, config) if source.table is not None else _of_arrays(source, config)


def fingerprint(config: Config) -> str:
    """What tells a run's files from others."""
    paths = [config.data, *([config.target] if config.target and Path(config.target).is_file() else [])]
    return "; ".join(map(_fingerprint, paths))


def _fingerprint(path: str) -> str:
    """A file's length, and the hash of its beginning and end."""
    if path == "digits":
        return "digits"
    size, piece = os.path.getsize(path), 1 << 20  # noqa: PTH202
    with Path(path).open("rb") as file:
        digest = hashlib.sha256(file.read(piece))
        file.seek(max(0, size - piece))
        digest.update(file.read(piece))
    return f"{size} bytes, {digest.hexdigest()}"


def _of_table(table: data.Table, config: Config) -> Prepared:
    if config.target is None:
        raise ValueError(f"--target names the column that is to be learnt, one of {', '.join(table.columns)}")
    drop = (*config.drop, *filter(None, (config.group, config.weight)))
    options: dict[str, Any] = {"drop": drop, "missing": config.missing}
    whole = data.Encoder.fit(table, config.target, task=config.task, **options)
    groups = table[config.group] if config.group else None
    numbers, classes = np.arange(len(table)), table[config.target]
    stratify = whole.task == "classification" and groups is None
    parts = data.split(numbers, classes, parts=PARTS, stratify=stratify, groups=groups, seed=config.seed)
    tables = [table.take(rows) for rows, _ in parts]
    encoder = data.Encoder.fit(tables[0], config.target, task=whole.task, classes=whole.classes, **options)
    inputs = [encoder.inputs(part) for part in tables]
    scaling = _scaling(inputs[0], config)
    mean, deviation = np.array([encoder.target_mean]), np.array([encoder.target_deviation])
    soft = encoder.task == "classification" and config.mixup > 0
    how = Preparation(encoder.task, encoder.classes, inputs[0].shape[1:], scaling, mean, deviation, encoder, soft)
    train, dev, test = (
        (scaling(x).astype(np.float32), how.targets(Source(part))) for x, part in zip(inputs, tables, strict=True)
    )
    weight = None if config.weight is None else _weights(tables[0], config.weight)
    return Prepared(train, dev, test, how, _augmentation(config, how), weight)


def _weights(table: data.Table, column: str) -> Array:
    """What each row of a table counts."""
    counts = table[column]
    bad = np.flatnonzero(~(counts >= 0)) if counts.dtype.kind == "f" else np.zeros(1, np.int64)
    if bad.size or not np.isfinite(counts).all():
        at = bad[0] if bad.size else np.flatnonzero(~np.isfinite(counts))[0]
        raise ValueError(
            f"{table.path}, line {table.lines[at]}: the weight in column {column!r} is {counts[at]}, wanted a number "
            "of 0 or more"
        )
    if not counts.any():
        raise ValueError(f"{table.path}: every training row has the weight 0 in column {column!r}")
    return counts


def _of_arrays(source: Source, config: Config) -> Prepared:
    x, y = source.x, None if source.y is None else np.asarray(source.y)
    if y is None:
        raise ValueError(f"{config.data} holds rows alone; name the file of their targets with --target")
    if len(y) != len(x):
        raise ValueError(f"{config.data} holds {len(x)} rows, and there are {len(y)} targets, wanted as many")
    of_columns = "drop", "group", "weight", "missing"
    if given := [name for name in of_columns if getattr(config, name) != getattr(Config, name)]:
        told = " and ".join(given)
        raise ValueError(
            f"{told}: {'this is' if len(given) == 1 else 'these are'} about the columns of a CSV file, and "
            f"{config.data} is none; leave {'it' if len(given) == 1 else 'them'} out"
            + ("; from Python, Trainer.fit takes sample_weight with arrays" if config.weight else "")
        )
    if x.ndim < 2:
        raise ValueError(f"{config.data} holds rows of shape (), wanted vectors or images: (n, inputs), say")
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    task, classes = _task(y, config.task)
    stratify = task == "classification"
    if not read_by_batch(x):
        _finite("inputs", x)
    parts = data.split(x, y, parts=PARTS, stratify=stratify, seed=config.seed)
    scaling = _scaling(parts[0][0], config)
    learnt = parts[0][1].reshape(len(parts[0][1]), -1)
    mean, deviation = np.zeros(learnt.shape[1]), np.ones(learnt.shape[1])
    if task == "regression":
        mean, deviation = learnt.mean(axis=0, dtype=np.float64), learnt.std(axis=0, dtype=np.float64)
        deviation[deviation == 0] = 1
    soft = task == "classification" and config.mixup > 0
    how = Preparation(task, classes, x.shape[1:], scaling, mean, deviation, soft=soft)
    train, dev, test = ((_prepared(rows, scaling), how._of_arrays(targets)) for rows, targets in parts)
    return Prepared(train, dev, test, how, _augmentation(config, how))


def _augmentation(config: Config, how: Preparation) -> tuple[Transformation, ...]:
    """What is done to the training rows while they are trained on."""
    found: list[Transformation] = []
    if config.moves_images:
        flat = (8, 8) if config.data == "digits" else None
        if len(flat or how.shape) != len(config.layout):
            raise ValueError(
                f"flip, shift and rotate are for images, and a row has the shape {how.shape}, wanted the axes "
                f"{config.layout!r}; set layout, or leave them out"
            )
        of: dict[str, Any] = {"layout": config.layout, "shape": flat}
        fill = float(how.scaling(np.zeros((1, *how.shape))).flat[0])  # what a pixel of 0 becomes, anywhere
        found += [Flip(**of)] if config.flip else []
        found += [Shift(config.shift, fill, **of)] if config.shift else []
        found += [Rotate(config.rotate, fill, **of)] if config.rotate else []
    found += [Noise(config.noise)] if config.noise else []
    found += [Mixup(config.mixup)] if config.mixup else []
    return tuple(found)


def _scaling(x: Any, config: Config) -> data.Chain:
    """What is done to inputs, learnt from these rows."""
    squash = () if config.squash is None else (data.Squash(config.squash),)
    if config.scaling == "none":
        return data.Chain(squash)
    scaling = SCALINGS[config.scaling].fit(data.Rows(x, prepare=data.Chain(squash)))
    return data.Chain((*squash, scaling.pooled() if config.moves_images else scaling))


def _prepared(x: Any, scaling: data.Chain) -> Any:
    """Rows in memory scaled at once, others as they are taken; in float32 but for float64."""
    if isinstance(x, (np.memmap, data.Rows)):
        return data.Rows(x, prepare=scaling)
    return scaling(x)


def _task(y: Array, wanted: str) -> tuple[str, tuple[str, ...]]:
    """What the targets of arrays are, and the names of classes."""
    if y.dtype.kind not in "iufbU" or y.ndim not in (1, 2):
        raise ValueError(f"the targets are {y.dtype} of shape {y.shape}, wanted numbers or texts, (n,) or (n, k)")
    if y.dtype.kind == "f":
        _finite("targets", y)
    if (y == y[:1]).all():
        raise ValueError(f"the targets are the same in all {len(y):,} rows, wanted at least 2 values")
    if y.ndim == 2:
        if wanted == "classification":
            raise ValueError(f"the targets have shape {y.shape}, wanted one class a row, (n,)")
        if wanted == "auto" and np.isin(y, (0, 1)).all():
            return "labels", ()
        return "regression", ()
    values = np.unique(y)
    whole = y.dtype.kind in "iubU" or bool((values == np.floor(values)).all())
    if wanted == "auto":
        wanted = "classification" if y.dtype.kind in "bU" or (whole and len(values) <= CLASSES) else "regression"
    if wanted == "regression":
        if y.dtype.kind == "U":
            raise ValueError("the targets are texts, wanted numbers for task=regression")
        return wanted, ()
    return wanted, _names(values)


def _finite(what: str, rows: Array) -> None:
    bad = np.argwhere(~np.isfinite(rows))
    if bad.size:
        rows_of = np.unique(bad[:, 0])
        among = f", the first of {len(rows_of):,}" if len(rows_of) > 1 else ""
        raise ValueError(f"the {what} hold NaN or infinity, in row {rows_of[0]}{among}; take such rows out")


def _names(values: Array) -> tuple[str, ...]:
    """Names of classes: whole numbers without a point."""
    return tuple(str(int(v)) if values.dtype.kind in "iubf" and v == int(v) else str(v) for v in values.tolist())
