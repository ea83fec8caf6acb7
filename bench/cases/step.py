"""A whole training step: rows by their numbers, forward, loss, backward, Adam, and on a CPU the loss read."""

import dataclasses
import itertools
from functools import partial

import numpy as np

import fastdl as fd
from fastdl import backend
from fastdl.bench import Cost, Variant, inputs, timed
from fastdl.bench.case import Case, device_of

STEPS = 3  # compared before the timing: the first is run, the others are replayed


def cost(shape):
    """Products forward and backward, and what weights, gradients and moments move."""
    weights = [a * b for a, b in itertools.pairwise(shape.widths)]
    both_ways = 2 * sum(weights) - weights[0]  # the first layer's input has no gradient
    flops = 2 * shape.batch * (both_ways + sum(weights))
    return Cost(flops, read=4 * (both_ways + 4 * sum(weights)), written=4 * (1 + 3) * sum(weights))


def stepper(shape, *, device="cpu", record=True):
    """A step, and a call that makes the next of an epoch: on a CPU it reads the loss, on a GPU it does not wait."""
    model, loss, optimizer = inputs.model(shape), fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam()
    step = fd.TrainStep(model, loss, optimizer, batch_size=shape.batch, device=device, record=record)
    x, labels, order = inputs.training(shape)
    step.bind(x, labels)
    step.set_order(order)
    starts = itertools.cycle(range(0, shape.data_rows - shape.batch + 1, shape.batch))
    return step, lambda: step.run(next(starts), shape.batch, wait=device == "cpu")


def losses(step, call):
    return [(call(), step.loss)[1] for _ in range(STEPS)]


def reference_losses(shape):
    """By the reference kernels, whose dropout draws the same masks."""
    with backend.use("numpy"):
        return losses(*stepper(shape))


def ours(shape, device):
    step, call = stepper(shape, device=device)

    def check():
        np.testing.assert_allclose(losses(step, call), reference_losses(shape), rtol=1e-4)

    return Variant(timed(call, device), check)


def theirs(shape, peer):
    if not peer.can(shape) or (shape.batch_norm and peer.name == "scikit-learn"):  # which has none
        return None
    # Dropout draws other masks there, so the losses that must agree are those without it.
    without = dataclasses.replace(shape, rate=0.0)

    def check():
        found = [loss for (loss,) in peer.prepare(without, calls=STEPS)]
        np.testing.assert_allclose(found, reference_losses(without), rtol=1e-4, err_msg=peer.name)
        peer.prepare(shape)

    return Variant(peer.block, check)


def cases(shape, to):
    """One."""
    device = device_of(to)
    _, eager = stepper(shape, device=device, record=False)
    yield Case("train step", shape, {"": ours(shape, device)}, cost(shape), {"": eager}, partial(theirs, shape))
