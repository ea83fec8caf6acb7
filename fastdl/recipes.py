"""Whole runs, from a file of data to a trained network: what the commands do, for use from Python."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import backend, checkpoint, data, initializers, losses, metrics, nn, optim, schedules
from .callbacks import (
    AverageWeights,
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    ReduceOnPlateau,
    TerminateOnNaN,
    diverged,
)
from .config import CLIPS, Config
from .ensemble import Bagging
from .feed import steps_of_epoch
from .files import write_atomic
from .gradient_check import GradientCheck
from .history import History
from .learning_rate import find_learning_rate
from .preparation import Preparation, Prepared, fingerprint, prepare
from .trainer import Trainer
from .typing import Array

CHECKPOINT, MODEL = "checkpoint.safetensors", "model.safetensors"
SECONDS = 10.0  # between checkpoints, at least
Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Run:
    """A network, what it was made of, and what it came to."""

    config: Config
    how: Preparation
    trainer: Trainer | Bagging
    history: History = dataclasses.field(default_factory=History)
    dev: dict[str, float] = dataclasses.field(default_factory=dict)
    test: dict[str, float] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    diverged: bool = False
    """Whether the loss was no number any more, and there was no best epoch to go back to."""
    texts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Of the file that it was loaded from."""

    def save(self, out: Path) -> None:
        """Write config.toml, history.csv and model.safetensors to a folder that exists."""
        texts, arrays = kept(self.config, self.how)
        write_atomic(out / "config.toml", self.config.to_toml().encode())
        self.trainer.history.to_csv(out / "history.csv")
        self.trainer.save(out / MODEL, texts=texts, arrays=arrays)

    def evaluate(self, x: Any, y: Array) -> dict[str, float]:
        """Loss and metrics; of a regression the error in the target's own units as well."""
        outputs = self.trainer.predict(x)
        found = self.trainer.measure(outputs, y)
        if self.how.task == "regression":
            found["rmse"] = float(
                np.sqrt(metrics.mse(self.how.decode(outputs), y * self.how.deviation + self.how.mean))
            )
        return found


def initializer(config: Config) -> initializers.Initializer:
    """Where a run's weights start."""
    keys = {"scale": config.start_scale, "mode": config.start_mode, "distribution": config.start_distribution}
    given: dict[str, Any] = {name: value for name, value in keys.items() if value is not None}
    if config.start == "normal":
        return initializers.Normal(**given)
    if config.start == "variance_scaling":
        return initializers.VarianceScaling(**given)
    return initializers.by_name(config.start)


def network(config: Config, outputs: int, row: Sequence[int]) -> nn.Sequential:
    """Hidden layers of linear, batch norm, activation and dropout, then a linear one for the outputs.

    Before batch norm a bias would have no effect, since the mean takes it away.
    """
    start = initializer(config)
    layers: list[nn.Layer] = [nn.Flatten()] if len(row) > 1 else []
    if config.input_dropout:
        layers.append(_dropout(config, config.input_dropout))
    fused = config.activation == "relu" if config.batch_norm else config.activation in nn.linear.ACTIVATIONS
    for width, rate in zip(config.layers, _rates(config), strict=True):
        within = config.activation if fused and not config.batch_norm else None
        layers.append(nn.Linear(width, bias=not config.batch_norm, activation=within, start=start))
        if config.batch_norm:
            layers.append(nn.BatchNorm(activation="relu" if fused else None))
        if not fused:
            layers.append(ACTIVATIONS[config.activation]())
        if rate:
            layers.append(_dropout(config, rate))
    return nn.Sequential(*layers, nn.Linear(outputs, start=start))


def _rates(config: Config) -> tuple[float, ...]:
    """The share that each hidden layer drops."""
    rates, count = config.dropout or (0.0,), len(config.layers)
    assert isinstance(rates, tuple)
    return rates if len(rates) == count else rates * count


def _dropout(config: Config, rate: float) -> nn.Dropout:
    return nn.Dropout(rate, inverted=config.inverted_dropout)


ACTIVATIONS: dict[str, type[nn.Activation]] = {
    layer.name: layer for layer in (nn.ReLU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus)
}


def loss(config: Config, task: str) -> losses.Loss:
    """What a run's outputs are compared with their targets by."""
    made: dict[str, losses.Loss]
    if task == "regression":
        made = {"auto": losses.MSE(), "mse": losses.MSE(), "l1": losses.L1(), "huber": losses.Huber()}
    elif task == "labels":
        made = {"auto": losses.BinaryCrossEntropy(), "cross_entropy": losses.BinaryCrossEntropy()}
    else:
        of_classes = losses.SoftmaxCrossEntropy(
            smoothing=config.smoothing, class_weights=config.class_weights or None, soft=config.mixup > 0
        )
        made = {"auto": of_classes, "cross_entropy": of_classes}
    for name in ("class_weights", "smoothing"):
        if getattr(config, name) and task != "classification":
            raise ValueError(f"{name} is for classification, and this is {task}; leave it out")
    if config.loss not in made:
        raise ValueError(f"loss is {config.loss!r}, wanted one of {', '.join(made)} for {task}")
    return made[config.loss]


def schedule(config: Config, steps: int) -> schedules.Schedule:
    """How a run's learning rate goes, with so many steps an epoch."""
    lr, warmup, total = float(config.learning_rate), config.warmup * steps, config.epochs * steps
    if config.schedule == "one_cycle":
        return schedules.OneCycle(lr, total, rise=config.warmup / config.epochs or 0.3)
    made: dict[str, Callable[[], schedules.Schedule]] = {
        "constant": lambda: schedules.Constant(lr),
        "piecewise": lambda: _piecewise(config, lr, steps),
        "step": lambda: schedules.StepDecay(lr, config.period * steps, config.decay),
        "cosine": lambda: schedules.Cosine(lr, total - warmup),
        "triangular": lambda: schedules.Triangular(lr, config.period * steps, low=lr / 10),
        "inverse_time": lambda: schedules.InverseTime(lr, config.decay, steps),
        "exponential": lambda: schedules.Exponential(lr, config.decay, steps),
        "inverse_sqrt": lambda: schedules.InverseSqrt(lr, steps),
    }
    after = made[config.schedule]()
    return schedules.Warmup(lr, warmup) >> after if warmup else after


def _piecewise(config: Config, lr: float, steps: int) -> schedules.Schedule:
    """By hand; what comes before the first piece begins with the end of the warm-up."""
    begin, factor = config.warmup, 1.0
    made: schedules.Schedule | None = None
    for epoch, next_factor in config.factors_by_epoch():
        piece = schedules.Constant(factor * lr, (epoch - begin) * steps)
        made = piece if made is None else made >> piece
        begin, factor = epoch, next_factor
    assert made is not None
    return made >> schedules.Constant(factor * lr)


def optimizer(config: Config, steps: int) -> optim.Optimizer:
    """How a run's parameters follow from gradients, with so many steps an epoch."""
    names = "weight_decay", "l1", "penalty_over_rows", *CLIPS
    shared: dict[str, Any] = {name: getattr(config, name) for name in names} | {"rates": config.factors()}
    rate = schedule(config, steps)
    made: dict[str, Callable[[], optim.Optimizer]] = {
        "sgd": lambda: optim.SGD(rate, **shared),
        "momentum": lambda: optim.SGD(rate, momentum=config.momentum, **shared),
        "nesterov": lambda: optim.SGD(rate, momentum=config.momentum, nesterov=True, **shared),
        "adagrad": lambda: optim.AdaGrad(rate, **shared),
        "rmsprop": lambda: optim.RMSProp(rate, **shared),
        "adam": lambda: optim.Adam(rate, **shared),
        "adamw": lambda: optim.AdamW(rate, **shared),
    }
    return made[config.optimizer]()


def batch_size(config: Config, rows: int) -> int:
    """How many of so many training rows are a batch."""
    return config.batch_size if isinstance(config.batch_size, int) else data.auto_batch_size(rows)


def settled(config: Config, task: str) -> Config:
    """The configuration with what depends on the task filled in."""
    dropout = config.dropout
    if dropout is None:
        dropout = 0.0 if task == "regression" else 0.5
    return dataclasses.replace(config, dropout=dropout)


def kept(config: Config, how: Preparation) -> tuple[dict[str, str], dict[str, Array]]:
    """What a run's files hold beside the training's own state."""
    texts, arrays = how.kept()
    return {**texts, "config": config.to_toml(), "data": fingerprint(config)}, arrays


def train(config: Config, *, out: Path | None = None, resume: Path | None = None, say: Say = lambda line: None) -> Run:
    """Train as a configuration tells.

    Parameters
    ----------
    config : Config
    out : Path, optional
        A folder that exists, for checkpoints on the way.
    resume : Path, optional
        The checkpoint of an earlier run of this configuration, to go on from. (Not of several members.)
    say : function of a line of text, optional
        Told what is done.

    Returns
    -------
    Run
    """
    began = time.perf_counter()
    if resume is not None:
        if config.members > 1:
            raise ValueError("resume: a run of several members is not gone on with; train it anew")
        texts = checkpoint.load(resume)[1]
        check_data(config, texts)
        if config.learning_rate == "auto":
            found = Config.from_toml(texts["config"], f"{resume}: config")
            config = dataclasses.replace(config, learning_rate=found.learning_rate)
    prepared = prepare(config)
    how, config = prepared.how, settled(config, prepared.how.task)
    say(_about(config, prepared))
    if config.data != "digits":
        say(how.describe())
    if config.weight:
        say(f"weights: a row counts in training as its cell of column {config.weight!r} says")
    say(_about_network(config, how))
    if backend.must_compile():
        say("compiling kernels, which are kept for later runs")
    if config.learning_rate == "auto":
        config = _with_rate(config, prepared, say)
        if out is not None:  # for a run that goes on with this one
            write_atomic(out / "config.toml", config.to_toml().encode())
    run = _untrained(config, how, len(prepared.train[0]))
    options: dict[str, Any] = {
        "validation": prepared.dev,
        "batch_size": batch_size(config, len(prepared.train[0])),
        "accumulate": config.accumulate,
        "augment": prepared.augment,
        "sample_weight": prepared.weight,
        "measure_training": config.measure_training,
    }
    if isinstance(run.trainer, Bagging):
        watch = functools.partial(_callbacks, config, how, None)
        history = run.trainer.fit(*prepared.train, epochs=config.epochs, callbacks=watch, **options)
        return _measured(run, prepared, history, began)
    if resume is not None:
        run.trainer.load(resume)
    left = config.epochs - run.trainer.epochs
    if left <= 0 and resume is not None and resume.with_name(MODEL).exists():
        run.trainer.load(resume.with_name(MODEL))  # which may hold the best epoch's weights, not the last's
    history, watched = History(), _callbacks(config, how, out)
    if left > 0:
        history = run.trainer.fit(*prepared.train, epochs=left, callbacks=watched, **options)
    if diverged(watched):
        return dataclasses.replace(run, history=history, diverged=True)
    return _measured(run, prepared, history, began)


def _measured(run: Run, prepared: Prepared, history: History, began: float) -> Run:
    dev, test = run.evaluate(*prepared.dev), run.evaluate(*prepared.test)
    return dataclasses.replace(run, history=history, dev=dev, test=test, seconds=time.perf_counter() - began)


def check_gradients(config: Config, samples: int | None = None, *, say: Say = lambda line: None) -> GradientCheck:
    """Compare the gradients of a run's network, as it starts, with differences of its loss, on its first batch.

    Parameters
    ----------
    config : Config
    samples : int, optional
        How many elements of the parameters are looked at; all without it.
    say : function of a line of text, optional
        Told what is done.

    Returns
    -------
    GradientCheck
    """
    prepared = prepare(config)
    config = settled(config, prepared.how.task)
    say(_about(config, prepared))
    rows = len(prepared.train[0])
    trainer = _trainer(dataclasses.replace(config, learning_rate=1.0), prepared.how, rows)  # whatever the rate is
    if config.weight_decay or config.l1:
        say("penalties are left out, since the optimizer adds their gradients, not backward")
    options: dict[str, Any] = {"augment": prepared.augment, "sample_weight": prepared.weight, "seed": config.seed}
    x, y, *counts = next(data.batches(*prepared.train, batch_size(config, rows), **options))
    return trainer.check_gradients(x, y, samples=samples, sample_weight=counts[0] if counts else None)


def check_data(config: Config, texts: Mapping[str, str]) -> None:
    """Raise if the data are not those that a run's file was made from."""
    if texts.get("data") != fingerprint(config):
        raise ValueError(f"{config.data} is not the file that the run was trained on; put that back")


def load(path: Path) -> Run:
    """The run in a folder, or in one of its files, ready to predict.

    Raises
    ------
    ValueError, OSError
        If there is none, or it is damaged.
    """
    if path.is_dir():
        found = [path / name for name in (MODEL, CHECKPOINT) if (path / name).exists()]
        if not found:
            raise ValueError(f"{path} holds no {MODEL}; name the folder of a run")
        path = found[0]
    arrays, texts = checkpoint.load(path)
    if "config" not in texts:
        raise ValueError(f"{path} was not written by fastdl train")
    config, how = Config.from_toml(texts["config"], f"{path}: config"), Preparation.of(texts, arrays)
    run = _untrained(dataclasses.replace(config, device="auto"), how, 1)
    if isinstance(run.trainer, Bagging):
        run.trainer.load(path)
    else:
        run.trainer.load(path, only_weights=True)
    return dataclasses.replace(run, texts=texts)


def _untrained(config: Config, how: Preparation, rows: int) -> Run:
    if config.members == 1:
        return Run(config, how, _trainer(config, how, rows))

    def make(seed: int) -> Trainer:
        return _trainer(dataclasses.replace(config, seed=seed), how, rows)

    return Run(config, how, Bagging(make, config.members, seed=config.seed, n_jobs=config.jobs))


def _trainer(config: Config, how: Preparation, rows: int) -> Trainer:
    steps = steps_of_epoch(rows, batch_size(config, rows), leaves_one_out=config.batch_norm and bool(config.layers))
    model = network(config, how.outputs, how.shape)
    trainer = Trainer(
        model,
        loss(config, how.task),
        optimizer(config, steps),
        device=config.device,
        seed=config.seed,
        deterministic=config.deterministic,
    )
    trainer.freeze(*config.freeze)
    return trainer


def _with_rate(config: Config, prepared: Prepared, say: Say) -> Config:
    """The configuration with the learning rate that a range test proposes."""
    trainer = _trainer(dataclasses.replace(config, learning_rate=1.0), prepared.how, len(prepared.train[0]))
    found = find_learning_rate(
        trainer,
        *prepared.train,
        batch_size=batch_size(config, len(prepared.train[0])),
        accumulate=config.accumulate,
        augment=prepared.augment,
        sample_weight=prepared.weight,
    )
    say(
        f"learning rate {found.proposed:g}: a tenth of that of the lowest loss in a range test of {len(found.rates)} "
        f"steps, from {found.rates[0]:.2g} to {found.rates[-1]:.2g}"
    )
    return dataclasses.replace(config, learning_rate=found.proposed)


def _callbacks(config: Config, how: Preparation, out: Path | None) -> list[Callback]:
    found: list[Callback] = [TerminateOnNaN()]
    if config.average_weights:
        found.append(AverageWeights(config.average_weights))
    if config.plateau:
        found.append(ReduceOnPlateau("val_loss", config.plateau))
    if config.patience:
        found.append(EarlyStopping("val_loss", config.patience))
    if out is not None:
        texts, arrays = kept(config, how)
        found.append(ModelCheckpoint(out / CHECKPOINT, seconds=SECONDS, texts=texts, arrays=arrays))
    return found


def _about_network(config: Config, how: Preparation) -> str:
    """What is trained, with what was chosen for want of a word from the user."""
    widths = "-".join(map(str, (math.prod(how.shape), *config.layers, how.outputs)))
    rates = dict.fromkeys(_rates(config))  # one, if all are the same
    dropout = f"dropout {', '.join(f'{rate:g}' for rate in (rates if len(rates) == 1 else _rates(config)))}"
    within = [*(["batch norm"] if config.batch_norm else []), config.activation, *([dropout] if any(rates) else [])]
    return f"network: {widths}{', ' + ', '.join(within) if config.layers else ''}; {config.optimizer}"


def _about(config: Config, prepared: Prepared) -> str:
    sizes = [len(part[0]) for part in prepared[:3]]
    if config.data == "digits":
        what = f"digits: {sum(sizes):,} images of 8 x 8 pixels, 10 classes"
    else:
        row = prepared.how.shape
        told = f"{row[0]} inputs" if len(row) == 1 else f"{' x '.join(map(str, row))} inputs"
        what = f"{config.data}: {sum(sizes):,} rows of {told}"
    return f"{what}; {sizes[0]:,} to train, {sizes[1]:,} dev, {sizes[2]:,} test"
