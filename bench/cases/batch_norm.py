"""Batch norm: forward, backward, and both with the running averages."""

import math

import numpy as np

from fastdl import ops
from fastdl.bench import Cost, inputs, unset
from fastdl.bench.case import of_ops

FORWARD_READS, BACKWARD_READS = 2, 4  # of arrays like x: once for the sums, and once more with their result
FORWARD_FLOPS, BACKWARD_FLOPS = 6, 9  # an element: of the sums and of the result


def cost(shape, reads, writes, flops):
    """Of arrays like x."""
    size = math.prod(shape.x)
    return Cost(flops * size, reads * 4 * size, writes * 4 * size)


def cases(shape, to):
    """Forward, backward, both."""
    x, gamma, beta, dy = map(to, inputs.batch_norm(shape))
    y, dx, dgamma, dbeta = (to(unset(a.shape)) for a in (x, x, gamma, beta))
    batch, averages, status = (
        to(a) for a in (unset((2, shape.channels)), unset((2, shape.channels)), np.zeros(1, int))
    )
    averages[0], averages[1] = 1, 0
    variance, mean = batch
    statistics = ops.BatchStatistics(mean, variance, to(unset(mean.shape)))
    work = ops.BatchNormWork.of(x)

    def forward():
        ops.batch_norm(x, gamma, beta, correction=1, out=y, statistics=statistics, work=work)

    def backward():
        out = {"out": dx, "out_gamma": dgamma, "out_beta": dbeta}
        ops.batch_norm_backward(dy, x, gamma, statistics, **out, work=work)

    def both():
        forward()
        ops.update_averages(averages.reshape(-1), batch.reshape(-1), status=status)
        backward()

    costs = cost(shape, FORWARD_READS, 1, FORWARD_FLOPS), cost(shape, BACKWARD_READS, 1, BACKWARD_FLOPS)
    yield of_ops("batch norm", shape, costs[0], forward, [y], "forward")
    forward()
    yield of_ops("batch norm backward", shape, costs[1], backward, [dx, dgamma, dbeta], "backward")
    results = y, dx, dgamma, dbeta, averages[1], averages[0]
    yield of_ops("batch norm + backward", shape, costs[0] + costs[1], both, results, "both")
