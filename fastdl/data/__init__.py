"""Data: files and how they are read, splits, batches, and what is done to inputs before training and in it."""

from . import augment
from .batches import auto_batch_size, batches
from .digits import load_digits
from .encode import CLASSES, Encoder, UnknownCategoryWarning
from .idx import load_idx
from .npy import load_npy, load_npz
from .preprocess import Chain, MinMax, Squash, Standardize
from .rows import Rows
from .split import split
from .table import Table, read_csv

__all__ = [
    "CLASSES",
    "Chain",
    "Encoder",
    "MinMax",
    "Rows",
    "Squash",
    "Standardize",
    "Table",
    "UnknownCategoryWarning",
    "augment",
    "auto_batch_size",
    "batches",
    "load_digits",
    "load_idx",
    "load_npy",
    "load_npz",
    "read_csv",
    "split",
]
