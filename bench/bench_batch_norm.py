"""Batch norm: forward, backward, and both with the running averages, which is what PyTorch is measured on."""

import math

import numpy as np

from fastdl import ops
from fastdl.bench import Cost, inputs, unset

FORWARD_READS, BACKWARD_READS = 2, 4  # of arrays like x: once for the sums, and once more with their result


def work(shape):
    """Forward, averages and backward as calls without arguments, and what they write."""
    x, gamma, beta, dy = inputs.batch_norm(shape)
    y, dx, dgamma, dbeta = (unset(a.shape) for a in (x, x, gamma, beta))
    batch, averages, status = unset((2, shape.channels)), unset((2, shape.channels)), np.zeros(1, np.int64)
    averages[0], averages[1] = 1, 0
    variance, mean = batch
    statistics = ops.BatchStatistics(mean, variance, unset(mean.shape))
    scratch = ops.BatchNormWork.of(x)

    def forward():
        ops.batch_norm(x, gamma, beta, correction=1, out=y, statistics=statistics, work=scratch)

    def update():
        ops.update_averages(averages.reshape(-1), batch.reshape(-1), status=status)

    def backward():
        grads = {"out": dx, "out_gamma": dgamma, "out_beta": dbeta}
        ops.batch_norm_backward(dy, x, gamma, statistics, **grads, work=scratch)

    return forward, update, backward, (y, dx, dgamma, dbeta, averages[1], averages[0])


def cost(shape, reads, writes):
    nbytes = 4 * math.prod(shape.x)
    return Cost(read=reads * nbytes, written=writes * nbytes)


def bench_forward(compare_op, shape):
    forward, _, _, results = work(shape)
    compare_op("batch norm", shape, cost(shape, FORWARD_READS, 1), forward, results[:1], "forward")


def bench_backward(compare_op, shape):
    forward, _, backward, results = work(shape)
    forward()
    compare_op("batch norm backward", shape, cost(shape, BACKWARD_READS, 1), backward, results[1:4], "backward")


def bench_both(compare_op, shape):
    forward, update, backward, results = work(shape)

    def both():
        forward()
        update()
        backward()

    compare_op("batch norm + backward", shape, cost(shape, FORWARD_READS + BACKWARD_READS, 2), both, results)
