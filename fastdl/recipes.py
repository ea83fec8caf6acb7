"""Whole runs, from a file of data to a trained network: what the commands do, for use from Python."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from . import checkpoint, data, losses, nn, optim
from .config import Config
from .files import write_atomic
from .trainer import History, Trainer


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run came to."""

    config: Config
    standardize: data.Standardize
    trainer: Trainer
    history: History
    dev: dict[str, float]
    test: dict[str, float]
    seconds: float

    def save(self, out: Path) -> None:
        """Write config.toml, history.csv, weights.safetensors and standardize.safetensors to a folder that exists."""
        write_atomic(out / "config.toml", self.config.to_toml().encode())
        self.history.to_csv(out / "history.csv")
        self.trainer.save(out / "weights.safetensors")
        checkpoint.save(out / "standardize.safetensors", vars(self.standardize))


def network(layers: tuple[int, ...], dropout: float, outputs: int) -> nn.Sequential:
    """Hidden layers of linear, batch norm, ReLU and dropout, then a linear one for the logits.

    Before batch norm a bias would have no effect, since the mean takes it away.
    """
    hidden: list[nn.Layer] = []
    for width in layers:
        hidden += [nn.Linear(width, bias=False), nn.BatchNorm(activation="relu"), nn.Dropout(dropout)]
    return nn.Sequential(*hidden, nn.Linear(outputs))


def train_digits(config: Config, say: Callable[[str], None] = lambda line: None) -> Run:
    """Train on the handwritten digits that come with the package.

    Parameters
    ----------
    config : Config
    say : function of a line of text, optional
        Told what is done.

    Returns
    -------
    Run
    """
    began = time.perf_counter()
    x, y = data.load_digits()
    train, dev, test = data.split(x, y, stratify=True, seed=config.seed)
    standardize = data.Standardize.fit(train[0])
    train, dev, test = ((standardize(rows), labels) for rows, labels in (train, dev, test))
    say(
        f"digits: {len(x):,} images of 8 x 8 pixels, 10 classes; "
        f"{len(train[0]):,} to train, {len(dev[0])} dev, {len(test[0])} test"
    )
    model = network(config.layers, config.dropout, outputs=10)
    trainer = Trainer(model, losses.SoftmaxCrossEntropy(), optim.Adam(config.learning_rate), seed=config.seed)
    history = trainer.fit(*train, validation=dev, epochs=config.epochs, batch_size=config.batch_size)
    measured = trainer.evaluate(*dev), trainer.evaluate(*test)
    return Run(config, standardize, trainer, history, *measured, time.perf_counter() - began)
