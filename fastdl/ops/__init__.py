"""Checked operations on arrays: arrays in, arrays out.

Every op checks its arguments before a byte is written, resolves them to one kernel, and launches
it. `out=` arguments are written and returned; without them new arrays are made. All floating arrays
of a call are float32, or all float64. Arrays that are not contiguous are copied once.
"""

from .activation import ACTIVATIONS, activation, activation_backward
from .batch_norm import (
    BatchNormWork,
    BatchStatistics,
    batch_norm,
    batch_norm_backward,
    batch_norm_predict,
    update_averages,
)
from .dropout import dropout, dropout_backward, dropout_mask
from .gather import gather
from .matmul import matmul, matmul_backward_input, matmul_backward_weights
from .softmax_cross_entropy import softmax_cross_entropy
from .updates import adam_scalars, adam_update, sgd_update

__all__ = [
    "ACTIVATIONS",
    "BatchNormWork",
    "BatchStatistics",
    "activation",
    "activation_backward",
    "adam_scalars",
    "adam_update",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_predict",
    "dropout",
    "dropout_backward",
    "dropout_mask",
    "gather",
    "matmul",
    "matmul_backward_input",
    "matmul_backward_weights",
    "sgd_update",
    "softmax_cross_entropy",
    "update_averages",
]
