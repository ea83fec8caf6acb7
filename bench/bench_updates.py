"""Optimizer updates of one flat span of parameters."""

import numpy as np

from fastdl import ops
from fastdl.bench import Cost, inputs


def bench_sgd(compare_op, shape):
    params, grads = inputs.update(shape)
    scalars, status = np.array([1e-3, 0.0]), np.zeros(1, np.int64)

    def call():
        ops.sgd_update(params, grads, scalars=scalars, status=status)

    compare_op("sgd update", shape, Cost(read=2 * params.nbytes, written=params.nbytes), call)


def bench_adam(compare_op, shape):
    params, grads = inputs.update(shape)
    m, v = np.zeros_like(params), np.zeros_like(params)  # as at the start; random from the first step on
    scalars, status = np.array(ops.adam_scalars(1, 1e-3, (0.9, 0.999), 1e-8, 0.0)), np.zeros(1, np.int64)

    def call():
        ops.adam_update(params, grads, m, v, scalars=scalars, status=status)

    cost = Cost(read=4 * params.nbytes, written=3 * params.nbytes)
    compare_op("adam update", shape, cost, call, [params, m, v])
