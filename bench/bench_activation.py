"""Activations and their gradients, element by element."""

from functools import partial

import pytest

from fastdl import ops
from fastdl.bench import Cost, inputs, unset


@pytest.mark.parametrize("name", ops.ACTIVATIONS)
def bench_forward(compare_op, shape, name):
    x, _ = inputs.activation(shape)
    call = partial(ops.activation, x, name, out=unset(x.shape))
    compare_op(name, shape, Cost(read=x.nbytes, written=x.nbytes), call)


@pytest.mark.parametrize("name", ops.ACTIVATIONS)
def bench_backward(compare_op, shape, name):
    x, dy = inputs.activation(shape)
    call = partial(ops.activation_backward, dy, name, y=ops.activation(x, name), x=x, out=unset(x.shape))
    compare_op(f"{name} backward", shape, Cost(read=2 * x.nbytes, written=x.nbytes), call)
