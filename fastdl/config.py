"""What a run of `fastdl train` is made of: the one source of its flags, its TOML file and `--set`."""

from __future__ import annotations

import difflib
import json
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

CHOICES: dict[str, tuple[str, ...]] = {
    "task": ("auto", "classification", "regression"),
    "missing": ("error", "mean"),
    "scaling": ("standardize", "minmax", "none"),
    "layout": ("hw", "chw", "hwc"),
    "activation": ("relu", "leaky_relu", "sigmoid", "tanh", "elu", "gelu", "silu", "softplus"),
    "start": ("he_normal", "xavier_normal", "glorot_normal", "glorot_uniform", "normal", "variance_scaling", "zeros"),
    "start_mode": ("fan_in", "fan_out", "fan_avg"),
    "start_distribution": ("normal", "truncated_normal", "uniform"),
    "loss": ("auto", "cross_entropy", "mse", "l1", "huber"),
    "optimizer": ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"),
    "schedule": (
        "constant",
        "piecewise",
        "step",
        "cosine",
        "one_cycle",
        "triangular",
        "inverse_time",
        "exponential",
        "inverse_sqrt",
    ),
    "device": ("auto", "cpu", "cuda"),
}
CLIPS = "clip_norm", "clip_norm_each", "clip_value"
# Keys that mean something with these choices of another alone.
MEANT_FOR: dict[str, tuple[str, tuple[str, ...]]] = {
    "start_scale": ("start", ("normal", "variance_scaling")),
    "start_mode": ("start", ("variance_scaling",)),
    "start_distribution": ("start", ("variance_scaling",)),
    "momentum": ("optimizer", ("momentum", "nesterov")),
    "pieces": ("schedule", ("piecewise",)),
    "decay": ("schedule", ("step", "inverse_time", "exponential")),
    "period": ("schedule", ("step", "triangular")),
}
AT_LEAST_1 = "epochs", "batch_size", "accumulate", "members"
LEAST = dict.fromkeys(AT_LEAST_1, 1) | {"period": 2, "warmup": 0, "plateau": 0, "patience": 0, "shift": 0}
OF_ALL_EPOCHS = "cosine", "one_cycle"  # schedules that are another with more epochs
GROUPS = {  # of flags, by the first key of each
    "data": "data",
    "flip": "augmentation, of what is trained on alone",
    "seed": "passes over the data",
    "layers": "network",
    "loss": "loss",
    "optimizer": "optimizer",
    "learning_rate": "learning rate",
    "average_weights": "averages, penalties and clipping",
    "rates": "layers that learn slower, or not at all",
    "measure_training": "watching",
    "members": "ensembles and machines",
}
TYPES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _told(default: Any, what: str) -> Any:
    return field(default=default, metadata={"help": what})


@dataclass(frozen=True)
class Config:
    """All that decides a run's result.

    Examples
    --------
    >>> from fastdl.config import Config
    >>> Config.of({"layers": [64, 32], "epochs": 5}, "run.toml").layers
    (64, 32)
    """

    data: str = _told("digits", "digits, or a file: .csv, .tsv, .npz, .npy, or IDX (MNIST's format, .gz too)")
    target: str | None = _told(None, "what is to be learnt: a CSV's column, an array of an .npz, or a file of targets")
    task: str = _told("auto", "auto reads it off the target")
    delimiter: str = _told(",", "what stands between a CSV's columns; a .tsv has tabs")
    drop: tuple[str, ...] = _told((), "columns that are left out")
    missing: str = _told("error", "what a missing cell is: an error, or the mean of its column")
    group: str | None = _told(None, "a column whose equal values never stand in two parts")
    weight: str | None = _told(None, "a column of what each row counts in training")
    squash: float | None = _told(None, "tanh(x / this) of the inputs before they are scaled, for those of a wide range")
    scaling: str = _told(
        "standardize", "inputs to mean 0 and deviation 1, to 0 to 1, or not; as the training part tells"
    )
    layout: str = _told("hw", "of images: height, width, and where the channels are")
    flip: bool = _told(False, "mirror half of the images, left and right, anew in every epoch")
    shift: int = _told(0, "move images by so many pixels at most, anew in every epoch")
    rotate: float = _told(0.0, "turn images by so many degrees at most, anew in every epoch")
    noise: float = _told(0.0, "deviation of the noise on scaled inputs, anew in every epoch")
    mixup: float = _told(0.0, "mix rows, and their targets, in shares drawn from Beta(this, this); 0 does not")
    seed: int = _told(0, "of everything random")
    epochs: int = _told(100, "passes over the data")
    batch_size: int | str = _told(64, "rows a step; auto is all below 2,000, else 128")
    accumulate: int = _told(1, "parts that a batch is worked on in")
    layers: tuple[int, ...] = _told((128,), "widths of the hidden layers")
    activation: str = _told("relu", "of the hidden layers")
    batch_norm: bool = _told(True, "batch norm in every hidden layer")
    dropout: float | tuple[float, ...] | None = _told(
        None, "share of units dropped, of all hidden layers or of each: 0.5 for classes, 0 for numbers"
    )
    input_dropout: float = _told(0.0, "share of inputs dropped")
    inverted_dropout: bool = _told(True, "scale what dropout leaves in training, not, as the older form, in prediction")
    start: str = _told("he_normal", "weights at the start")
    start_scale: float | None = _told(None, "of normal its deviation, of variance_scaling its scale, else 1")
    start_mode: str | None = _told(None, "of variance_scaling, else fan_in")
    start_distribution: str | None = _told(None, "of variance_scaling, else normal")
    loss: str = _told("auto", "auto is cross-entropy for classes, the squared error for numbers")
    smoothing: float = _told(0.0, "label smoothing; of the dev loss too")
    class_weights: tuple[float, ...] = _told(
        (), "what a row of each class counts, in the order of the classes' names; in the dev loss too"
    )
    optimizer: str = _told("adam", "how parameters follow from gradients")
    momentum: float = _told(0.9, "of momentum and nesterov")
    learning_rate: float | str = _told(3e-3, "at its highest; auto finds it by a range test")
    schedule: str = _told("constant", "how the rate goes")
    pieces: tuple[str, ...] = _told((), "of piecewise, factors of the rate from an epoch on: 50=0.1 75=0.01")
    decay: float = _told(
        0.95,
        "factor of the rate: of step every PERIOD epochs, of exponential every epoch; of inverse_time the rate is "
        "RATE / (1 + DECAY EPOCH)",
    )
    period: int = _told(10, "epochs from one drop of step to the next, or in which triangular goes up and down")
    warmup: int = _told(0, "epochs over which the rate rises; of one_cycle the first part, else 3/10 of all")
    plateau: int = _told(0, "lower the rate tenfold after so many epochs without a lower dev loss; 0 never")
    average_weights: float = _told(
        0.0, "keep and use a moving average of the weights: 0.99 over about 100 steps; 0 none"
    )
    weight_decay: float = _told(0.0, "L2 on weights; under adamw decoupled")
    l1: float = _told(0.0, "L1 on weights")
    penalty_over_rows: bool = _told(False, "divide weight_decay and l1 by the rows of a batch, as course notes do")
    clip_norm: float | None = _told(None, "the largest norm of all gradients together")
    clip_norm_each: float | None = _told(None, "instead, the largest norm of each parameter's gradient")
    clip_value: float | None = _told(None, "instead, the largest element of the gradients")
    rates: tuple[str, ...] = _told(
        (), "factors of the learning rate, by parameters' names, the first that fits: 0.*=0.1"
    )
    freeze: tuple[str, ...] = _told((), "parameters that stay as they start, by their names: 0.*")
    measure_training: bool = _told(False, "measure the training part too after every epoch, with dropout off")
    patience: int = _told(0, "stop after so many epochs without a lower dev loss; 0 never")
    members: int = _told(1, "networks, each trained on a bootstrap sample; they predict by the mean")
    jobs: int = _told(1, "members trained at a time, each in a process of its own; -1 for as many as cores")
    device: str = _told("auto", "where to train")
    deterministic: bool = _told(False, "the same bits for any number of threads, a few per cent slower")

    def __post_init__(self) -> None:
        if isinstance(self.dropout, (int, float)):
            object.__setattr__(self, "dropout", (float(self.dropout),))
        for name, least in LEAST.items():
            if getattr(self, name) != "auto" and getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted at least {least}")
        if self.batch_norm and isinstance(self.batch_size, int) and self.batch_size < 2 * self.accumulate:
            parts = (
                f" in {self.accumulate} parts, wanted at least 2 rows each"
                if self.accumulate > 1
                else ", wanted at least 2"
            )
            raise ValueError(
                f"batch_size is {self.batch_size}{parts}, since batch norm needs the deviation of a batch; "
                "or batch_norm=false"
            )
        if len(self.delimiter) != 1 or not self.delimiter.isascii():
            raise ValueError(f"delimiter is {self.delimiter!r}, wanted one character")
        if min(self.layers, default=1) < 1:
            raise ValueError(f"layers are {self.layers}, wanted widths of at least 1")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed is {self.seed}, wanted 0 to 2^64 - 1")
        for name in ("dropout", "input_dropout", "smoothing", "momentum", "average_weights"):
            value = getattr(self, name)
            for share in value if isinstance(value, tuple) else (value,):
                if share is not None and not 0 <= share < 1:
                    raise ValueError(f"{name} is {share}, wanted at least 0 and below 1")
        for name in ("learning_rate", "weight_decay", "l1", "decay", "rotate", "noise", "mixup"):
            value = getattr(self, name)
            if value != "auto" and not 0 <= value < float("inf"):
                raise ValueError(f"{name} is {value}, wanted 0 or more")
        if not all(0 <= weight < float("inf") for weight in self.class_weights):
            raise ValueError(f"class_weights are {self.class_weights}, wanted numbers of 0 or more, one a class")
        if self.accumulate > 1 and (self.class_weights or self.weight):
            raise ValueError(f"accumulate is {self.accumulate}, but weights of classes or rows need whole batches")
        if self.mixup and self.weight:
            raise ValueError("mixup mixes rows whatever they count; leave it out, or weight")
        for name in ("weight", "group"):
            if getattr(self, name) and getattr(self, name) == self.target:
                raise ValueError(f"{name} and target are the same column, {self.target!r}")
        if self.schedule in ("step", "exponential") and not 0 < self.decay <= 1:
            raise ValueError(f"decay is {self.decay}, wanted above 0 and at most 1 for the {self.schedule} schedule")
        if 0 < self.patience <= self.plateau:
            raise ValueError(
                f"plateau is {self.plateau} and patience {self.patience}: the training would end before the rate "
                "falls; wanted a smaller plateau"
            )
        clips = [name for name in CLIPS if getattr(self, name) is not None]
        for name in (*clips, *(["squash"] if self.squash is not None else [])):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}, wanted a number above 0")
        if len(clips) > 1:
            raise ValueError(f"got {' and '.join(clips)}, wanted one way of clipping")
        if self.rotate > 180:
            raise ValueError(f"rotate is {self.rotate}, wanted degrees, 0 to 180")
        if self.jobs < 1 and self.jobs != -1:
            raise ValueError(f"jobs is {self.jobs}, wanted at least 1, or -1 for as many as there are cores")
        shares = self.dropout if isinstance(self.dropout, tuple) else ()
        if len(shares) not in (0, 1, len(self.layers)):
            raise ValueError(
                f"dropout has {len(shares)} rates for {len(self.layers)} hidden layers, wanted one for all, or one "
                "for each"
            )
        if not self.inverted_dropout and not self.input_dropout and self.dropout is not None and not any(shares):
            raise ValueError("inverted_dropout is false, but nothing is dropped; set dropout or input_dropout")
        if self.penalty_over_rows and not (self.weight_decay or self.l1):
            raise ValueError("penalty_over_rows is true, but there is no penalty; give it one, weight_decay=1e-4 say")
        self.factors()
        for name, value in asdict(self).items():
            for text in value if isinstance(value, (tuple, list)) else (value,):
                if isinstance(text, str) and not _writable(text):
                    raise ValueError(f"{name} is {text!r}, which is no text of UTF-8 and cannot be kept in a file")
        if self.warmup >= self.epochs and self.warmup:
            raise ValueError(f"warmup is {self.warmup} epochs of {self.epochs}, wanted fewer")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in (*choices, getattr(Config, name)):
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, wanted {_nearest(getattr(self, name), choices)}"
                    f"one of {', '.join(choices)}"
                )
        for name, (other, choices) in MEANT_FOR.items():
            if getattr(self, name) != getattr(Config, name) and getattr(self, other) not in choices:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, but {other} is {getattr(self, other)!r}, which has none; "
                    f"leave it out, or set {other} to {' or '.join(choices)}"
                )
        if self.start == "normal" and self.start_scale is None:
            raise ValueError("start is 'normal', which has no deviation of its own; give it one, start_scale=0.01 say")
        if self.start_scale is not None and not 0 < self.start_scale < float("inf"):
            raise ValueError(f"start_scale is {self.start_scale}, wanted above 0; to start at 0 set start to zeros")
        if self.schedule == "piecewise":
            self._check_pieces()

    def _check_pieces(self) -> None:
        epochs = [epoch for epoch, _ in self.factors_by_epoch()]
        if not epochs:
            raise ValueError("schedule is 'piecewise', which has no pieces of its own; give it some, pieces=['50=0.1']")
        if epochs != sorted({*epochs}) or epochs[0] <= self.warmup:
            after = f" after the {self.warmup} of the warm-up" if self.warmup else ", the first at least 1"
            raise ValueError(f"pieces begin at the epochs {epochs}, wanted each later than the last{after}")

    def factors_by_epoch(self) -> list[tuple[int, float]]:
        """From which epoch on, counted from 0, the learning rate is multiplied by what."""
        found = []
        for name, factor in _assignments("pieces", self.pieces, "an epoch and a factor: 50=0.1"):
            if not name.isdecimal():
                raise ValueError(f"pieces hold '{name}=...', wanted an epoch and a factor: 50=0.1")
            found.append((int(name), factor))
        return found

    def factors(self) -> dict[str, float]:
        """Factors of the learning rate, by patterns of parameters' names."""
        found = _assignments("rates", self.rates, "a name, or pattern of names, and a factor: 0.*=0.1")
        if twice := [name for number, (name, _) in enumerate(found) if name in dict(found[:number])]:
            raise ValueError(f"rates name {twice[0]!r} twice, wanted one factor for each pattern")
        return dict(found)

    @property
    def moves_images(self) -> bool:
        """Whether what one pixel holds comes to stand in another, so that all must be scaled alike."""
        return bool(self.flip or self.shift or self.rotate)

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str, base: Config | None = None) -> Config:
        """A configuration from plain values, those of `base` or defaults for the rest; errors name `where`."""
        return replace(base or cls(), **converted(values, where))

    @classmethod
    def from_toml(cls, text: str, where: str) -> Config:
        """A configuration from the text of a TOML file."""
        return cls(**from_toml(text, where))

    def to_toml(self) -> str:
        """The configuration as TOML, whose plain values are those of JSON; what is None is left out."""
        lines = [f"{name} = {_as_toml(value)}\n" for name, value in asdict(self).items() if value is not None]
        return "".join(lines)


def from_toml(text: str, where: str) -> dict[str, Any]:
    """Keys and values of the text of a TOML file."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{where}: {error}") from None
    return converted(values, where)


def converted(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Plain values by keys, in the types that `Config` wants; errors name `where`."""
    known, found = typing.get_type_hints(Config), {}
    for key, value in values.items():
        if key not in known:
            raise ValueError(
                f"{where}: there is no key {key!r}; did you mean {_nearest(key, tuple(known), alone=True)}? "
                f"(keys: {', '.join(known)})"
            )
        found[key] = _converted(where, key, value, known[key])
    return found


def _assignments(name: str, texts: tuple[str, ...], wanted: str) -> list[tuple[str, float]]:
    """What "name=factor" says, of several."""
    found = []
    for text in texts:
        left, equals, factor = text.rpartition("=")
        try:
            found.append((left, float(factor)))
        except ValueError:
            equals = ""
        if not (equals and left and 0 <= found[-1][1] < float("inf")):
            raise ValueError(f"{name} hold {text!r}, wanted {wanted}")
    return found


def _writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_toml(value: Any) -> str:
    """A value as JSON writes it, which TOML reads, but for one character."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")


def assigned(text: str) -> tuple[str, Any]:
    """Key and value of "key=value", the value being TOML's or, where it is none, a text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set {text}: wanted key=value")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def help_of(name: str) -> str:
    """What a key means, its choices and its default, in a line."""
    (found,) = (f for f in fields(Config) if f.name == name)
    told = str(found.metadata["help"])
    if name in CHOICES:
        told += f" ({', '.join(CHOICES[name])})"
    if found.default is None or found.default == ():
        return told
    default = " ".join(map(str, found.default)) if isinstance(found.default, tuple) else found.default
    return f"{told} [{str(default).lower() if isinstance(default, bool) else default}]"


def kind_of(name: str) -> tuple[type, bool]:
    """The type of a key's value, or of each of several, and whether there are several."""
    return _kind(typing.get_type_hints(Config)[name])


def takes_auto(name: str) -> bool:
    """Whether a key's value may be "auto" in the place of a number."""
    return _takes_auto(typing.get_type_hints(Config)[name])


def _takes_auto(hint: Any) -> bool:
    return isinstance(hint, types.UnionType) and typing.get_args(hint)[1] is str


def _kind(hint: Any) -> tuple[type, bool]:
    if isinstance(hint, types.UnionType):
        kinds = [part for part in typing.get_args(hint) if part is not type(None)]
        hint = kinds[0] if str in kinds else kinds[-1]  # before "| str" for auto; of one or several, several
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    return hint, False


def _converted(where: str, key: str, value: Any, hint: Any) -> Any:
    kind, several = _kind(hint)
    wanted = TYPES[kind] + " or a list of them" * several + ", or auto" * _takes_auto(hint)
    if _takes_auto(hint) and value == "auto":
        return value
    values = value if several and isinstance(value, (list, tuple)) else [value]
    found = []
    for each in values:
        if kind is float and isinstance(each, int) and not isinstance(each, bool):
            each = float(each)
        if type(each) is not kind:
            raise ValueError(f"{where}: {key} is {value!r}, wanted {wanted}")
        found.append(each)
    return tuple(found) if several else found[0]


def _nearest(name: Any, names: tuple[str, ...], alone: bool = False) -> str:
    near = difflib.get_close_matches(str(name), names, 1, cutoff=0.0 if alone else 0.6)
    return f"{near[0]!r}" if alone else f"{near[0]!r}, " if near else ""
