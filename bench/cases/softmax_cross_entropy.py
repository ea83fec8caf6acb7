"""Softmax cross-entropy: value and gradient, which are one pass here and two for PyTorch."""

import numpy as np

from fastdl import ops
from fastdl.bench import Cost, inputs, unset
from fastdl.bench.case import of_ops

FLOPS = 5  # an element: the largest, the difference, the exponential, the sum and the quotient


def cases(shape, to):
    """Value and gradient."""
    logits, labels = map(to, inputs.cross_entropy(shape))
    dlogits, losses = to(unset(logits.shape)), to(unset(labels.shape))
    scale, total, status = map(to, (np.full(1, 1 / shape.rows), np.zeros(1), np.zeros(1, np.int64)))

    def call():
        ops.softmax_cross_entropy(logits, labels, scale=scale, total=total, status=status, out=dlogits, losses=losses)

    cost = Cost(FLOPS * logits.size, logits.nbytes + labels.nbytes, dlogits.nbytes + losses.nbytes)
    yield of_ops("softmax cross-entropy + backward", shape, cost, call, [total, dlogits])
