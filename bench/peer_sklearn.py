"""A training step of scikit-learn's MLPClassifier: `partial_fit` of one batch with Adam."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier

from fastdl.bench import inputs, shapes


def about() -> dict[str, Any]:
    """Version and threads: NumPy's BLAS takes the cores that it may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"version": sklearn.__version__, "threads": cores}


def training(s: shapes.Network, device: str) -> Callable[[], tuple[float]]:
    """A step: rows by their numbers, forward, loss, backward and Adam."""
    x, labels, order = inputs.training(s)
    classes = np.arange(s.widths[-1])
    model = MLPClassifier(s.widths[1:-1], solver="adam", alpha=0.0, batch_size=s.batch, random_state=0)
    model.partial_fit(x[: s.batch], labels[: s.batch], classes=classes)
    # Begun anew from the parameters that all start from, in the arrays that its optimizer holds.
    for at, block in enumerate(inputs.parameters(s)):
        model.coefs_[at][...] = block["weight"]
        model.intercepts_[at][...] = block["bias"]
    optimizer = model._optimizer
    optimizer.t = 0
    for moment in (*optimizer.ms, *optimizer.vs):
        moment[...] = 0
    starts = itertools.cycle(range(0, s.data_rows - s.batch + 1, s.batch))

    def call() -> tuple[float]:
        start = next(starts)
        rows = order[start : start + s.batch]
        model.partial_fit(x[rows], labels[rows])
        return (float(model.loss_),)

    return call


WORK = {(shapes.Network, ""): training}
