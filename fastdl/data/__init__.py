"""Data: files and how they are read, splits, batches, and what is done to inputs before training."""

from .batches import batches
from .digits import load_digits
from .encode import CLASSES, Encoder, UnknownCategoryWarning
from .idx import load_idx
from .npy import load_npy, load_npz
from .preprocess import Standardize
from .rows import Rows
from .split import split
from .table import Table, read_csv

__all__ = [
    "CLASSES",
    "Encoder",
    "Rows",
    "Standardize",
    "Table",
    "UnknownCategoryWarning",
    "batches",
    "load_digits",
    "load_idx",
    "load_npy",
    "load_npz",
    "read_csv",
    "split",
]
