"""Optimizer updates of one flat span of parameters."""

import numpy as np
import pytest

from fastdl import ops
from fastdl.bench import Cost, inputs

SCALARS = {
    "momentum": (1e-3, 0.9),
    "adagrad": (1e-3,),
    "rmsprop": (1e-3,),
}


def bench_sgd(compare_op, shape):
    params, grads = inputs.update(shape)
    scalars, status = np.array(ops.sgd_scalars(1e-3)), np.zeros(1, np.int64)

    def call():
        ops.sgd_update(params, grads, scalars=scalars, status=status)

    compare_op("sgd update", shape, Cost(read=2 * params.nbytes, written=params.nbytes), call)


@pytest.mark.parametrize("name", SCALARS)
def bench_one_moment(compare_op, shape, name):
    params, grads = inputs.update(shape)
    m, status, update = np.abs(grads), np.zeros(1, np.int64), getattr(ops, f"{name}_update")
    scalars = np.array(getattr(ops, f"{name}_scalars")(*SCALARS[name]))

    def call():
        update(params, grads, m, scalars=scalars, status=status)

    compare_op(f"{name} update", shape, Cost(read=3 * params.nbytes, written=2 * params.nbytes), call)


@pytest.mark.parametrize("part", ["", "50 tensors", "penalties"])
def bench_adam(compare_op, shape, part):
    params, grads = inputs.update(shape)
    m, v = np.zeros_like(params), np.zeros_like(params)  # as at the start; random from the first step on
    penalties = {"weight_decay": 1e-2, "l1": 1e-5} if part == "penalties" else {}
    scalars, status = np.array(ops.adam_scalars(1, 1e-3, **penalties)), np.zeros(1, np.int64)

    def call():
        ops.adam_update(params, grads, m, v, scalars=scalars, status=status)

    cost = Cost(read=4 * params.nbytes, written=3 * params.nbytes)
    results = None if penalties else [params, m, v]
    compare_op(f"adam update {part}".rstrip(), shape, cost, call, results, part)
