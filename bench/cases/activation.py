"""Activations and their gradients, element by element."""

from functools import partial

from fastdl import ops
from fastdl.bench import Cost, inputs, unset
from fastdl.bench.case import of_ops

# An element's, by the definition; a function such as exp counts as one.
FLOPS = {"relu": 1, "leaky_relu": 2, "sigmoid": 3, "tanh": 1, "elu": 3, "gelu": 5, "silu": 4, "softplus": 3}


def cases(shape, to):
    """Forward and backward of each."""
    x, dy = map(to, inputs.activation(shape))
    n = shape.elements
    for name in ops.ACTIVATIONS:
        y, out = ops.activation(x, name), to(unset(x.shape))
        forward = partial(ops.activation, x, name, out=out)
        yield of_ops(name, shape, Cost(FLOPS[name] * n, x.nbytes, x.nbytes), forward, [out], name)
        # What the gradient is told by is one array more beside dy.
        backward = partial(ops.activation_backward, dy, name, y=y, x=x, out=out)
        cost = Cost((FLOPS[name] + 1) * n, 2 * x.nbytes, x.nbytes)
        yield of_ops(f"{name} backward", shape, cost, backward, [out], f"{name} backward")
