"""What was measured in each epoch, as a plain table."""

from __future__ import annotations

import csv
import io
import os

from .files import write_atomic


class History:
    """A row of figures an epoch.

    Attributes
    ----------
    rows : list of dict
        Each with `epoch` (from 1), `loss` (the mean over the epoch's batches by their rows, dropout on), `penalty`
        (what L1 and L2 add to it, by the weights as they are then), `train_loss` and the metrics of what
        was trained on (only with `measure_training`), `val_loss` and those of the validation set,
        `val_accuracy` say (only if there is one), `learning_rate` and `gradient_norm` (of the last step, before
        clipping), and `rows_per_second` (of training).
    interrupted : bool
        Whether Ctrl-C ended the training.

    Examples
    --------
    >>> from fastdl import History
    >>> history = History()
    >>> history.rows.append({"epoch": 1, "loss": 0.5})
    >>> history["loss"]
    [0.5]
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.interrupted = False

    def __getitem__(self, column: str) -> list[float]:
        return [row[column] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table, with a line of names first; numbers in full precision."""
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        if names:
            writer = csv.DictWriter(text, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        write_atomic(path, text.getvalue().encode())
