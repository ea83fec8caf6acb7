"""What a run of `fastdl train` is made of, and written to its folder as a record."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Config:
    """All that decides a run's result.

    Examples
    --------
    >>> from fastdl.config import Config
    >>> print(Config(layers=(64, 32)).to_toml().splitlines()[3])
    layers = [64, 32]
    """

    seed: int = 0
    epochs: int = 100
    batch_size: int = 64
    layers: tuple[int, ...] = (128,)
    dropout: float = 0.5
    learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        for name, value in (("epochs", self.epochs), ("batch_size", self.batch_size)):
            if value < 1:
                raise ValueError(f"{name} is {value}, wanted at least 1")
        if self.batch_size == 1:
            raise ValueError("batch_size is 1, wanted at least 2, since batch norm needs the deviation of a batch")
        if min(self.layers, default=1) < 1:
            raise ValueError(f"layers are {self.layers}, wanted widths of at least 1")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed is {self.seed}, wanted 0 to 2^64 - 1")

    def to_toml(self) -> str:
        """The configuration as TOML, whose plain values are those of JSON."""
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in asdict(self).items())
