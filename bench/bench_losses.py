"""Losses element by element: value and gradient in one pass."""

from functools import partial

import numpy as np
import pytest

from fastdl import ops
from fastdl.bench import Cost, inputs, unset


@pytest.mark.parametrize("name", ops.LOSSES)
def bench_both(compare_op, shape, name):
    outputs, targets = inputs.loss(shape)
    scale, total, work = np.full(1, 1 / shape.rows), np.zeros(1), np.zeros(ops.loss_work_size(outputs.shape))
    out = unset(outputs.shape)
    call = partial(ops.loss, outputs, targets, name, scale=scale, total=total, work=work, out=out)
    results = [total, out] if name == "mse" else None
    compare_op(f"{name} + backward", shape, Cost(read=2 * out.nbytes, written=out.nbytes), call, results)
