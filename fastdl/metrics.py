"""How good predictions are."""

from __future__ import annotations

from .typing import Array


def accuracy(outputs: Array, labels: Array) -> float:
    """The share of rows whose largest output is that of their label.

    Parameters
    ----------
    outputs : (n, classes)
        Logits or probabilities.
    labels : (n,) integers

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import metrics
    >>> metrics.accuracy(np.array([[0.1, 2.0], [1.0, 0.0]]), np.array([1, 1]))
    0.5
    """
    if outputs.ndim != 2 or labels.shape != outputs.shape[:1]:
        raise ValueError(
            f"accuracy: outputs have shape {outputs.shape} and labels {labels.shape}, wanted (n, classes) and (n,)"
        )
    return float((outputs.argmax(axis=1) == labels).mean())
