"""The handwritten digits that come with the package; digits.md beside this file tells of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..typing import Array


def load_digits(dtype: Any = np.float32) -> tuple[Array, Array]:
    """1,797 handwritten digits of 8 x 8 pixels, by thirteen people.

    Parameters
    ----------
    dtype : float32 or float64

    Returns
    -------
    x : (1797, 64) array
        Pixels, 0 to 16, row by row.
    y : (1797,) int64 array
        The digits, 0 to 9.

    References
    ----------
    Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
    1998, https://doi.org/10.24432/C50P49 (CC BY 4.0).

    Examples
    --------
    >>> from fastdl.data import load_digits
    >>> x, y = load_digits()
    >>> x.shape, y[:5]
    ((1797, 64), array([0, 1, 2, 3, 4]))
    """
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    return images.reshape(len(images), -1).astype(dtype), labels.astype(np.int64)
