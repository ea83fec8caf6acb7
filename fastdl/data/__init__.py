"""Data: sets that come along, splits, and what is done to inputs before training."""

from .digits import load_digits
from .preprocess import Standardize
from .split import split

__all__ = ["Standardize", "load_digits", "split"]
