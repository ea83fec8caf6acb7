"""All that a training has come to, and the file that holds it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from . import checkpoint
from .typing import Array, Shape

TEXT = "training"  # the entry of a file that holds all but the arrays
OWN = ("moments.", "callbacks.")  # what names of arrays beside the model's begin with


@dataclass
class EpochBegun:
    """What has been done of the epoch at hand."""

    of: int | None = None
    """Rows of the data set; None where batches are handed over."""
    place: int = 0
    """How many of its rows have come."""
    rows: int = 0
    """How many of them were trained on: a batch of one may be left out."""
    batches: int = 0
    """How many batches they made."""
    total: float = 0.0
    """The sum of their losses."""
    norm: float = 0.0
    """Of the last step's gradients."""


@dataclass
class State:
    """Weights, and what a training needs beside them to go on to the bit."""

    weights: dict[str, Array]
    """Parameters and running averages."""
    input_shape: Shape
    seed: int
    optimizer: str | None
    """The name of its class; None before its first step."""
    steps: int
    """Made with this optimizer."""
    drawn: int
    """Made with any: random numbers are told apart by it."""
    moments: list[dict[str, Array]]
    """The optimizer's, by the names of parameters."""
    epochs: int
    begun: EpochBegun
    frozen: tuple[str, ...]
    history: list[dict[str, float]]
    callbacks: dict[str, dict[str, Any]]
    """What each of them noted, numbers and arrays."""
    rate_factor: float = 1.0
    """What the learning rate is multiplied by."""
    about: dict[str, str] = field(default_factory=dict)
    """For people: what the model and the optimizer are."""

    def save(self, path: str | os.PathLike[str], texts: Mapping[str, str], arrays: Mapping[str, Array]) -> None:
        """Write it to a file, with texts and arrays of others beside."""
        for name in arrays:
            if "/" not in name or name.startswith(OWN):
                raise ValueError(
                    f"Trainer.save: an array cannot be called {name!r} beside the model's; call it 'own/{name}'"
                )
        if taken := {*self.about, TEXT} & texts.keys():
            raise ValueError(f"Trainer.save: a text cannot be called {taken.pop()!r}, as one of the model's is")
        held = {f"moments.{n}/{name}": array for n, views in enumerate(self.moments) for name, array in views.items()}
        noted: dict[str, dict[str, Any]] = {}
        for key, state in self.callbacks.items():
            held |= {f"{key}/{name}": array for name, array in state.items() if isinstance(array, np.ndarray)}
            noted[key] = {name: value for name, value in state.items() if not isinstance(value, np.ndarray)}
        plain = {
            "input_shape": self.input_shape,
            "seed": self.seed,
            "optimizer": self.optimizer,
            "steps": self.steps,
            "drawn": self.drawn,
            "moments": len(self.moments),
            "epochs": self.epochs,
            "begun": asdict(self.begun),
            "frozen": self.frozen,
            "history": self.history,
            "callbacks": noted,
            "rate_factor": self.rate_factor,
        }
        training = json.dumps(plain, default=float)  # callbacks may put NumPy's numbers into the history
        checkpoint.save(path, {**self.weights, **held, **arrays}, {**texts, **self.about, TEXT: training})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> State:
        """Read it from a file that `save` wrote."""
        arrays, texts = checkpoint.load(path)
        if TEXT not in texts:
            raise ValueError(f"Trainer.load: {path} was not written by Trainer.save")
        plain = json.loads(texts[TEXT])
        moments = [_under(f"moments.{number}/", arrays) for number in range(plain.pop("moments"))]
        callbacks = {key: noted | _under(f"{key}/", arrays) for key, noted in plain.pop("callbacks").items()}
        begun, shape, frozen = (plain.pop(name) for name in ("begun", "input_shape", "frozen"))
        return cls(
            weights={name: array for name, array in arrays.items() if "/" not in name},
            input_shape=tuple(shape),
            moments=moments,
            begun=EpochBegun(**begun),
            frozen=tuple(frozen),
            callbacks=callbacks,
            about={name: text for name, text in texts.items() if name != TEXT},
            **plain,
        )


def _under(begin: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays whose names begin so, by what follows."""
    return {name.removeprefix(begin): array for name, array in arrays.items() if name.startswith(begin)}
