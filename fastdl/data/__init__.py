"""Data: sets that come along, splits, and what is done to inputs before training."""

from .batches import batches
from .digits import load_digits
from .preprocess import Standardize
from .rows import Rows
from .split import split

__all__ = ["Rows", "Standardize", "batches", "load_digits", "split"]
