"""Softmax cross-entropy: value and gradient, which are one pass here and two for PyTorch."""

import numpy as np

from fastdl import ops
from fastdl.bench import Cost, inputs, unset


def bench_both(compare_op, shape):
    logits, labels = inputs.cross_entropy(shape)
    dlogits, losses = unset(logits.shape), unset(labels.shape)
    scale, total, status = np.full(1, 1 / shape.rows), np.zeros(1), np.zeros(1, np.int64)

    def call():
        ops.softmax_cross_entropy(logits, labels, scale=scale, total=total, status=status, out=dlogits, losses=losses)

    cost = Cost(read=logits.nbytes + labels.nbytes, written=dlogits.nbytes + losses.nbytes)
    compare_op("softmax cross-entropy + backward", shape, cost, call, [total, dlogits])
