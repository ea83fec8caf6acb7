"""How good predictions are: functions of a model's outputs and the targets.

Outputs are logits or probabilities, one a class, against numbers of classes (n,); logits of several
labels that may each hold or not, against 0 and 1, (n, labels); or numbers against numbers.
A row that holds NaN predicts nothing, and so is never right.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from . import checks
from .typing import Array

Metric = Callable[[Array, Array], float]


def accuracy(outputs: Array, targets: Array) -> float:
    """The share of predictions that are right.

    Of classes a row predicts the one of the largest output, and the first of equal ones. Of several
    labels each is a prediction: that it holds where its logit is above 0, its probability above 1/2.

    Parameters
    ----------
    outputs : (n, classes), or (n, labels) logits
    targets : (n,) integers, or (n, labels) of 0 and 1

    Returns
    -------
    float
        What is NaN counts as wrong.

    Raises
    ------
    ValueError
        For shapes that do not fit, and targets that are no class, or neither 0 nor 1, naming the row.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import metrics
    >>> metrics.accuracy(np.array([[0.1, 2.0], [1.0, 0.0]]), np.array([1, 1]))
    0.5
    >>> metrics.accuracy(np.array([[0.1, -2.0], [1.0, 3.0]]), np.array([[1, 0], [0, 1]]))
    0.75
    """
    return _share_right("accuracy", outputs, targets)


def error(outputs: Array, targets: Array) -> float:
    """The share of predictions that are wrong, the 0-1 loss: 1 - accuracy.

    It is what a classifier is judged by. Its gradient is 0 almost everywhere, so that a cross-entropy is
    trained on in its place.

    Parameters
    ----------
    outputs : (n, classes), or (n, labels) logits
    targets : (n,) integers, or (n, labels) of 0 and 1

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `accuracy` does.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import metrics
    >>> metrics.error(np.array([[0.1, 2.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), np.array([1, 1, 1, 0]))
    0.25
    """
    return 1 - _share_right("error", outputs, targets)


def top_k(outputs: Array, labels: Array, k: int = 5) -> float:
    """The share of rows whose label is among the k classes of the largest outputs.

    A row is right if fewer than k other outputs are as large as its label's, or larger. So equal
    outputs count against it: where all are equal no row is right unless k is the number of classes.

    Parameters
    ----------
    outputs : (n, classes)
    labels : (n,) integers
    k : int
        1 to classes.

    Returns
    -------
    float
        A row that holds NaN counts as wrong.

    Raises
    ------
    ValueError
        For shapes that do not fit, a label that is no class, naming its row, and a k outside 1 to classes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import metrics
    >>> metrics.top_k(np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]), np.array([1, 2]), k=2)
    0.5
    """
    _one_class("top_k", outputs, labels)
    classes = outputs.shape[1]
    if not isinstance(k, (int, np.integer)) or not 1 <= k <= classes:
        raise ValueError(f"top_k: k is {k!r}, wanted an integer, 1 to {classes}, the number of classes")
    own = outputs[np.arange(len(outputs)), labels]
    as_large = (outputs >= own[:, None]).sum(axis=1)  # its own among them
    return float(((as_large <= k) & ~_undecided(outputs)).mean())


def confusion(outputs: Array, labels: Array) -> Array:
    """How many rows of each class are taken for each.

    Parameters
    ----------
    outputs : (n, classes)
    labels : (n,) integers

    Returns
    -------
    (classes, classes) int64 array
        [i, j] counts the rows of class i that predict class j.

    Raises
    ------
    ValueError
        For shapes that do not fit, a label that is no class, and a row that holds NaN, which has no
        place in the table, naming the row.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import metrics
    >>> metrics.confusion(np.array([[0.1, 2.0], [1.0, 0.0], [0.0, 1.0]]), np.array([1, 1, 1]))
    array([[0, 0],
           [1, 2]])
    """
    _one_class("confusion", outputs, labels)
    undecided = _undecided(outputs)
    if undecided.any():
        raise ValueError(
            f"confusion: the outputs of row {int(undecided.argmax())} hold NaN and predict no class; leave such rows "
            "out: outputs[~np.isnan(outputs).any(axis=1)], and the labels likewise"
        )
    classes = outputs.shape[1]
    cells = labels.astype(np.int64) * classes + _predicted(outputs)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def precision(outputs: Array, targets: Array) -> float:
    """Of what is predicted to be of a class the share that is, averaged over classes: TP / (TP + FP).

    The mean is over the classes that are the label or the prediction of any row, each counting the
    same; or over all labels, where a row has several. What is never predicted counts as 0.

    Parameters
    ----------
    outputs : (n, classes), or (n, labels) logits
    targets : (n,) integers, or (n, labels) of 0 and 1

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `accuracy` does.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import metrics
    >>> metrics.precision(np.array([[0.1, 2.0], [1.0, 0.0], [0.0, 1.0]]), np.array([1, 0, 0]))
    0.75
    """
    right, predicted, _ = _counts("precision", outputs, targets)
    return _mean_ratio(right, predicted)


def recall(outputs: Array, targets: Array) -> float:
    """Of what is of a class the share that is found, averaged over classes: TP / (TP + FN).

    The mean is as in `precision`. A class that is predicted, but never the label, counts as 0.

    Parameters
    ----------
    outputs : (n, classes), or (n, labels) logits
    targets : (n,) integers, or (n, labels) of 0 and 1

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `accuracy` does.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import metrics
    >>> metrics.recall(np.array([[0.1, 2.0], [1.0, 0.0], [0.0, 1.0]]), np.array([1, 0, 0]))
    0.75
    """
    right, _, true = _counts("recall", outputs, targets)
    return _mean_ratio(right, true)


def f1(outputs: Array, targets: Array) -> float:
    """The harmonic mean of a class's precision and recall, averaged over classes: 2 TP / (2 TP + FP + FN).

    The mean is as in `precision`. A class of which nothing is found counts as 0.

    Parameters
    ----------
    outputs : (n, classes), or (n, labels) logits
    targets : (n,) integers, or (n, labels) of 0 and 1

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `accuracy` does.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import metrics
    >>> round(metrics.f1(np.array([[0.1, 2.0], [1.0, 0.0], [0.0, 1.0]]), np.array([1, 0, 0])), 4)
    0.6667
    """
    right, predicted, true = _counts("f1", outputs, targets)
    return _mean_ratio(2 * right, predicted + true)


def mse(outputs: Array, targets: Array) -> float:
    """The mean of (output - target)^2 over all elements, in float64.

    Parameters
    ----------
    outputs, targets : (n, ...)

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For shapes that differ, or no element.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import metrics
    >>> metrics.mse(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    2.0
    """
    y, t = _columns("mse", outputs, targets)
    with np.errstate(over="ignore", invalid="ignore"):  # what has diverged shows in the result
        return float(np.square(y - t).mean())


def r2(outputs: Array, targets: Array) -> float:
    """The share of the targets' variance that outputs explain: 1 - sum (t - y)^2 / sum (t - mean t)^2.

    It is 1 at best, 0 for the mean as the answer to everything, and below 0 for what is worse. With
    several outputs a row it is the mean over them.

    Parameters
    ----------
    outputs, targets : (n, ...)

    Returns
    -------
    float
        An output whose target never changes counts as 1 where it is met exactly, and as 0 elsewhere.
        NaN for a single row, as in scikit-learn, since one target has no variance.

    Raises
    ------
    ValueError
        For shapes that differ, or no element.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import metrics
    >>> metrics.r2(np.array([1.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0]))
    0.5
    """
    y, t = _columns("r2", outputs, targets)
    if len(t) == 1:
        return float("nan")
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        missed = np.square(t - y).sum(axis=0)
        spread = np.square(t - t.mean(axis=0)).sum(axis=0)
        scores = 1 - missed / spread
    constant = (t == t[0]).all(axis=0) | (spread == 0)  # the mean of equal numbers may be off by its rounding
    scores = np.where(constant & ~np.isnan(missed), missed == 0, scores)
    return float(scores.mean())


_NAMES: dict[str, Metric] = {
    "accuracy": accuracy,
    "error": error,
    "top_5": functools.partial(top_k, k=5),
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "mse": mse,
    "r2": r2,
}


def by_name(name: str) -> Metric:
    """The metric that a configuration names.

    Parameters
    ----------
    name : {"accuracy", "error", "top_5", "precision", "recall", "f1", "mse", "r2"}

    Raises
    ------
    ValueError
        For another name, with the nearest one and all.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import metrics
    >>> metrics.by_name("mse")(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    2.0
    """
    return checks.look_up("metrics.by_name", name, _NAMES)


def _several_labels(metric: str, outputs: Array, targets: Array) -> bool:
    """Whether a row has several labels, not one class; raises unless it has either."""
    _check_numbers(metric, outputs, targets)
    if targets.ndim != 2:
        if outputs.shape == (*targets.shape, 1):
            raise ValueError(
                f"{metric}: outputs have shape {outputs.shape}, one logit a row that says yes or no, and targets "
                f"{targets.shape}, wanted the same; pass targets.reshape(-1, 1)"
            )
        _one_class(metric, outputs, targets, ", or (n, labels) logits and as many targets of 0 and 1")
        return False
    if targets.shape != outputs.shape:
        raise ValueError(
            f"{metric}: outputs have shape {outputs.shape} and targets {targets.shape}, wanted the same, (n, labels), "
            "for several labels a row; for one class a row pass its number, targets of shape (n,)"
        )
    wrong = (targets != 0) & (targets != 1)
    if wrong.any():
        row, label = (int(at) for at in np.argwhere(wrong)[0])
        raise ValueError(
            f"{metric}: the target of row {row}, label {label} is {targets[row, label]}, wanted 0 or 1; for one class "
            "a row pass its number, targets.argmax(axis=1) say"
        )
    return True


def _one_class(metric: str, outputs: Array, labels: Array, also: str = "") -> None:
    """Raise unless every row has an output a class, and the number of one as its label."""
    _check_numbers(metric, outputs, labels)
    if outputs.ndim != 2 or labels.shape != outputs.shape[:1]:
        raise ValueError(
            f"{metric}: outputs have shape {outputs.shape} and targets {labels.shape}, wanted (n, classes) and (n,)"
            + also
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{metric}: labels have dtype {labels.dtype}, wanted integers; pass labels.astype(np.int64)")
    classes = outputs.shape[1]
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{metric}: the label of row {row} is {labels[row]}, wanted 0 to {classes - 1}, the number of one of the "
            f"{classes} outputs of each row"
        )


def _check_numbers(metric: str, outputs: Array, targets: Array) -> None:
    """Raise unless both are arrays of real numbers, with a row at least."""
    for name, value in (("outputs", outputs), ("targets", targets)):
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
            got = value.dtype if isinstance(value, np.ndarray) else type(value).__qualname__
            raise TypeError(f"{metric}: {name} must be a numpy.ndarray of real numbers, got {got}; convert it first")
        if value.size == 0 or value.ndim == 0:
            raise ValueError(f"{metric}: {name} has shape {value.shape}, wanted at least one row")


def _columns(metric: str, outputs: Array, targets: Array) -> tuple[Array, Array]:
    """Both as (n, outputs of a row) float64."""
    _check_numbers(metric, outputs, targets)
    if outputs.shape != targets.shape:
        same_rows = (len(outputs), outputs.size) == (len(targets), targets.size)
        remedy = f"; pass targets.reshape({outputs.shape})" if same_rows else ""
        raise ValueError(
            f"{metric}: outputs have shape {outputs.shape} and targets {targets.shape}, wanted the same{remedy}"
        )
    n = len(outputs)
    return outputs.reshape(n, -1).astype(np.float64), targets.reshape(n, -1).astype(np.float64)


def _undecided(outputs: Array) -> Array:
    """Which rows hold NaN."""
    return np.asarray(np.isnan(outputs).any(axis=1))


def _predicted(outputs: Array) -> Array:
    """The class that each row predicts, and -1 for a row that holds NaN, whose argmax means nothing."""
    return np.where(_undecided(outputs), -1, outputs.argmax(axis=1))


def _share_right(metric: str, outputs: Array, targets: Array) -> float:
    if _several_labels(metric, outputs, targets):
        return float(np.where(targets == 1, outputs > 0, outputs <= 0).mean())
    return float((_predicted(outputs) == targets).mean())


def _counts(metric: str, outputs: Array, targets: Array) -> tuple[Array, Array, Array]:
    """Of each class that occurs, or of each label, how often it is rightly predicted, predicted, and true."""
    if _several_labels(metric, outputs, targets):
        says, holds = outputs > 0, targets == 1
        return (says & holds).sum(axis=0), says.sum(axis=0), holds.sum(axis=0)
    chosen, labels = _predicted(outputs), targets.astype(np.int64)
    right, predicted, true = (
        np.bincount(numbers, minlength=outputs.shape[1])
        for numbers in (labels[chosen == labels], chosen[chosen >= 0], labels)
    )
    occurs = predicted + true > 0
    return right[occurs], predicted[occurs], true[occurs]


def _mean_ratio(part: Array, whole: Array) -> float:
    """The mean of part / whole, 0 where the whole is 0."""
    return float(np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0).mean())
