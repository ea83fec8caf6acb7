"""Losses element by element: value and gradient in one pass."""

from functools import partial

import numpy as np

from fastdl import ops
from fastdl.bench import Cost, inputs, unset
from fastdl.bench.case import of_ops

FLOPS = {"mse": 5, "l1": 4, "huber": 8, "hinge": 5, "bce": 8}


def cases(shape, to):
    """Each loss with its gradient."""
    outputs, targets = map(to, inputs.loss(shape))
    scale, work = to(np.full(1, 1 / shape.rows)), to(np.zeros(ops.loss_work_size(outputs.shape)))
    out = to(unset(outputs.shape))
    for name in ops.LOSSES:
        total = to(np.zeros(1))
        call = partial(ops.loss, outputs, targets, name, scale=scale, total=total, work=work, out=out)
        cost = Cost(FLOPS[name] * out.size, 2 * out.nbytes, out.nbytes)
        results = [total, out] if name in ("mse", "l1", "huber") else ()
        yield of_ops(f"{name} + backward", shape, cost, call, results, name)
