"""Softmax over the classes of every row, and its gradient."""

from functools import partial

from fastdl import ops
from fastdl.bench import Cost, inputs, unset
from fastdl.bench.case import of_ops


def cases(shape, to):
    """Forward and backward."""
    x, dy = map(to, inputs.softmax(shape))
    y, out = ops.softmax(x), to(unset(x.shape))
    forward = Cost(5 * x.size, x.nbytes, x.nbytes)
    yield of_ops("softmax", shape, forward, partial(ops.softmax, x, out=out), [out], "softmax")
    backward = Cost(4 * x.size, 2 * x.nbytes, x.nbytes)
    yield of_ops(
        "softmax backward", shape, backward, partial(ops.softmax_backward, dy, y, out=out), [out], "softmax backward"
    )
