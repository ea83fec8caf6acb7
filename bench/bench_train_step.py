"""A whole training step: rows by their numbers, forward, loss, backward, Adam, and the loss read."""

import dataclasses
import itertools

import numpy as np

import fastdl as fd
from fastdl import backend
from fastdl.bench import Cost, Variant, inputs, timed
from fastdl.bench.peers import PEERS

STEPS = 3  # compared before the timing: the first is run, the others are replayed
FUSED = {"": True, "relu apart": False}


def cost(shape):
    """Products forward and backward, and what weights, gradients and moments move."""
    weights = [a * b for a, b in itertools.pairwise(shape.widths)]
    both_ways = 2 * sum(weights) - weights[0]  # the first layer's input has no gradient
    flops = 2 * shape.batch * (both_ways + sum(weights))
    return Cost(flops, read=4 * (both_ways + 4 * sum(weights)), written=4 * (1 + 3) * sum(weights))


def stepper(shape, *, fused, record=True):
    """A call that makes the next step of an epoch, and returns its loss."""
    model, loss, optimizer = inputs.model(shape, fused=fused), fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam()
    step = fd.TrainStep(model, loss, optimizer, batch_size=shape.batch, device="cpu", record=record)
    x, labels, order = inputs.training(shape)
    step.bind(x, labels)
    step.set_order(order)
    starts = itertools.cycle(range(0, shape.data_rows - shape.batch + 1, shape.batch))
    return lambda: step.run(next(starts), shape.batch)


def losses(call):
    return [call() for _ in range(STEPS)]


def reference_losses(shape, fused):
    """By the reference kernels, whose dropout draws the same masks."""
    with backend.use("numpy"):
        return losses(stepper(shape, fused=fused))


def ours(shape, fused):
    call = stepper(shape, fused=fused)

    def check():
        np.testing.assert_allclose(losses(call), reference_losses(shape, fused), rtol=1e-4)

    return Variant(timed(call), check)


def theirs(shape, peer):
    # Dropout draws other masks there, so the losses that must agree are those without it.
    without = dataclasses.replace(shape, rate=0.0)

    def check():
        found = [loss for (loss,) in peer.prepare(without, calls=STEPS)]
        np.testing.assert_allclose(found, reference_losses(without, fused=True), rtol=1e-4, err_msg=peer.name)
        peer.prepare(shape)

    return Variant(peer.block, check)


def bench_train_step(compare, shape):
    compare(
        "train step",
        shape,
        cost(shape),
        {name: ours(shape, fused) for name, fused in FUSED.items()},
        {name: stepper(shape, fused=fused, record=False) for name, fused in FUSED.items()},
        {name: lambda peer: theirs(shape, peer) for name in PEERS},
    )
