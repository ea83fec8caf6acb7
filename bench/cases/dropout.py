"""Dropout: the mask is drawn and kept in the forward pass, and read in the backward pass."""

import numpy as np

from fastdl import ops
from fastdl.bench import Cost, inputs, shapes, unset
from fastdl.bench.case import of_ops


def cases(shape, to):
    """Forward, whose random words are no flops, and backward."""
    x, dy = map(to, inputs.dropout(shape))
    out, mask, draw = to(unset(x.shape)), to(unset(x.shape, np.uint8)), to(np.array([1, 0, 1, 0]))

    def forward():
        ops.dropout(x, rate=shapes.RATE, draw=draw, out=out, mask=mask)

    cost = Cost(x.size, x.nbytes, x.nbytes + mask.nbytes)
    yield of_ops("dropout", shape, cost, forward, [out], "forward")
    dx, drawn = to(unset(dy.shape)), to(ops.dropout_mask(dy.shape, rate=shapes.RATE))

    def backward():
        ops.dropout_backward(dy, drawn, rate=shapes.RATE, out=dx)

    cost = Cost(dy.size, dy.nbytes + drawn.nbytes, dy.nbytes)
    yield of_ops("dropout backward", shape, cost, backward, [dx], "backward")
