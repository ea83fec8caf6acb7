"""Clipping by value."""

from functools import partial

from fastdl import ops
from fastdl.bench import Cost, inputs, unset
from fastdl.bench.case import of_ops


def cases(shape, to):
    """Elements between -1 and 1."""
    x = to(inputs.activation(shape)[0])
    out = to(unset(x.shape))
    yield of_ops("clip", shape, Cost(2 * x.size, x.nbytes, x.nbytes), partial(ops.clip, x, 1.0, out=out), [out], "clip")
