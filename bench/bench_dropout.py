"""Dropout: the mask is drawn and kept in the forward pass, and read in the backward pass."""

import numpy as np

from fastdl import ops
from fastdl.bench import Cost, inputs, shapes, unset


def bench_forward(compare_op, shape):
    x, _ = inputs.dropout(shape)
    out, mask, draw = unset(x.shape), unset(x.shape, np.uint8), np.array([1, 0, 1, 0])

    def call():
        ops.dropout(x, rate=shapes.RATE, draw=draw, out=out, mask=mask)

    compare_op("dropout", shape, Cost(read=x.nbytes, written=x.nbytes + mask.nbytes), call, [out])


def bench_backward(compare_op, shape):
    _, dy = inputs.dropout(shape)
    dx, mask = unset(dy.shape), ops.dropout_mask(dy.shape, rate=shapes.RATE)

    def call():
        ops.dropout_backward(dy, mask, rate=shapes.RATE, out=dx)

    compare_op("dropout backward", shape, Cost(read=dy.nbytes + mask.nbytes, written=dy.nbytes), call)
