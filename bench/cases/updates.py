"""Optimizer updates of one flat span of parameters."""

from functools import partial

import numpy as np

from fastdl import ops
from fastdl.bench import Cost, inputs
from fastdl.bench.case import of_ops

ONE_MOMENT = {"momentum": ((1e-3, 0.9), 4), "adagrad": ((1e-3,), 6), "rmsprop": ((1e-3,), 8)}  # scalars, flops each


def cases(shape, to):
    """Each update; Adam also with penalties, and beside peers that have the parameters in 50 tensors."""
    params, grads = map(to, inputs.update(shape))
    n, nbytes, status = params.size, params.nbytes, to(np.zeros(1, np.int64))

    def case(name, found, flops, *moments, results=(), part="", of=""):
        update = getattr(ops, f"{name}_update")
        call = partial(update, params, grads, *moments, scalars=to(np.array(found)), status=status)
        cost = Cost(flops * n, (2 + len(moments)) * nbytes, (1 + len(moments)) * nbytes, in_place=True)
        return of_ops(f"{name} update {of}".rstrip(), shape, cost, call, results, part)

    yield case("sgd", ops.sgd_scalars(1e-3), 2)
    for name, (given, flops) in ONE_MOMENT.items():
        yield case(name, getattr(ops, f"{name}_scalars")(*given), flops, abs(grads))
    for of, given in {"": {}, "50 tensors": {}, "penalties": {"weight_decay": 1e-2, "l1": 1e-5}}.items():
        params, _ = map(to, inputs.update(shape))
        m, v = to(np.zeros(n, np.float32)), to(np.zeros(n, np.float32))  # random from the first step on
        results = () if given else (params, m, v)
        yield case(
            "adam", ops.adam_scalars(1, 1e-3, **given), 12, m, v, results=results, part=f"adam {of}".rstrip(), of=of
        )
