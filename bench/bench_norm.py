"""The global norm of all gradients."""

from functools import partial

import numpy as np

from fastdl import ops
from fastdl.bench import Cost, inputs


def bench_norm(compare_op, shape):
    x = inputs.norm(shape)
    work, out, factor = np.zeros(ops.global_norm_work_size(x.size)), np.zeros(1), np.zeros(1)
    call = partial(ops.global_norm, x, limit=1.0, work=work, out=out, factor=factor)
    compare_op("global norm", shape, Cost(read=x.nbytes), call)
