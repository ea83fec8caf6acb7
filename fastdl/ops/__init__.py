"""Checked operations on arrays: arrays in, arrays out.

Every op checks its arguments before a byte is written, resolves them to one kernel, and launches
it. `out=` arguments are written and returned; without them new arrays are made. All floating arrays
of a call are float32, or all float64. Arrays that are not contiguous are copied once.
"""

from .activation import ACTIVATIONS, FROM_INPUT, activation, activation_backward
from .add import add
from .batch_norm import (
    BatchNormWork,
    BatchStatistics,
    batch_norm,
    batch_norm_backward,
    batch_norm_predict,
    update_averages,
)
from .clip import clip
from .dropout import dropout, dropout_backward, dropout_mask, dropout_predict
from .gather import gather
from .losses import LOSSES, loss, loss_work_size
from .matmul import (
    EPILOGUES,
    matmul,
    matmul_backward_input,
    matmul_backward_weights,
    matmul_row_work_size,
    matmul_work_size,
)
from .norm import global_norm, global_norm_work_size
from .softmax import softmax, softmax_backward
from .softmax_cross_entropy import softmax_cross_entropy
from .updates import (
    adagrad_scalars,
    adagrad_update,
    adam_scalars,
    adam_update,
    momentum_scalars,
    momentum_update,
    rmsprop_scalars,
    rmsprop_update,
    scaled_rate,
    sgd_scalars,
    sgd_update,
)

__all__ = [
    "ACTIVATIONS",
    "EPILOGUES",
    "FROM_INPUT",
    "LOSSES",
    "BatchNormWork",
    "BatchStatistics",
    "activation",
    "activation_backward",
    "adagrad_scalars",
    "adagrad_update",
    "adam_scalars",
    "adam_update",
    "add",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_predict",
    "clip",
    "dropout",
    "dropout_backward",
    "dropout_mask",
    "dropout_predict",
    "gather",
    "global_norm",
    "global_norm_work_size",
    "loss",
    "loss_work_size",
    "matmul",
    "matmul_backward_input",
    "matmul_backward_weights",
    "matmul_row_work_size",
    "matmul_work_size",
    "momentum_scalars",
    "momentum_update",
    "rmsprop_scalars",
    "rmsprop_update",
    "scaled_rate",
    "sgd_scalars",
    "sgd_update",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "update_averages",
]
