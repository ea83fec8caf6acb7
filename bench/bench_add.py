"""The sum of two arrays."""

from functools import partial

from fastdl import ops
from fastdl.bench import Cost, inputs, unset


def bench_add(compare_op, shape):
    a, b = inputs.activation(shape)
    compare_op("add", shape, Cost(read=2 * a.nbytes, written=a.nbytes), partial(ops.add, a, b, out=unset(a.shape)))
