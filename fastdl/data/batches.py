"""Temporary."""

from __future__ import annotations

from typing import Any

from .. import random


def batches(x: Any, y: Any, batch_size: int, *, seed: int = 0, epoch: int = 0, shuffle: bool = True) -> Any:
    order = random.permutation(len(x), seed=seed, step=epoch)
    for at in range(0, len(x), batch_size):
        n = order[at : at + batch_size]
        yield x[n], y[n]
