"""A batch's rows, by their numbers in a shuffled order."""

import numpy as np

from fastdl import ops
from fastdl.bench import Cost, inputs, unset
from fastdl.bench.case import of_ops


def cases(shape, to):
    """The first rows of the order."""
    data, order = map(to, inputs.gather(shape))
    out, start = to(unset((shape.rows, shape.columns))), to(np.zeros(1, np.int64))

    def call():
        ops.gather(data, order, start=start, rows=shape.rows, out=out)

    yield of_ops("gather", shape, Cost(0, out.nbytes + 8 * shape.rows, out.nbytes), call, [out])
