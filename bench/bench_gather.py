"""A batch's rows, by their numbers in a shuffled order."""

import numpy as np

from fastdl import ops
from fastdl.bench import Cost, inputs, unset


def bench_gather(compare_op, shape):
    data, order = inputs.gather(shape)
    out, start = unset((shape.rows, shape.columns)), np.zeros(1, np.int64)

    def call():
        ops.gather(data, order, start=start, rows=shape.rows, out=out)

    compare_op("gather", shape, Cost(read=out.nbytes + 8 * shape.rows, written=out.nbytes), call)
