"""The sum of two arrays."""

from functools import partial

from fastdl import ops
from fastdl.bench import Cost, inputs, unset
from fastdl.bench.case import of_ops


def cases(shape, to):
    """a + b."""
    a, b = map(to, inputs.activation(shape))
    out = to(unset(a.shape))
    yield of_ops("add", shape, Cost(a.size, 2 * a.nbytes, a.nbytes), partial(ops.add, a, b, out=out), [out], "add")
