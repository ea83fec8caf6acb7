"""The global norm of all gradients."""

from functools import partial

import numpy as np

from fastdl import ops
from fastdl.bench import Cost, inputs
from fastdl.bench.case import of_ops


def cases(shape, to):
    """The norm, and the factor that clips."""
    x = to(inputs.norm(shape))
    work, out, factor = map(to, (np.zeros(ops.global_norm_work_size(x.size)), np.zeros(1), np.zeros(1)))
    call = partial(ops.global_norm, x, limit=1.0, work=work, out=out, factor=factor)
    yield of_ops("global norm", shape, Cost(2 * x.size, x.nbytes), call, [out])
