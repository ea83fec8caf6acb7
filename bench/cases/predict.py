"""Prediction of a batch: what a service does, and what a dev set costs."""

import itertools

import numpy as np

import fastdl as fd
from fastdl import backend
from fastdl.bench import Cost, checked, inputs
from fastdl.bench.case import Case, device_of


def cost(shape):
    """The products, and the weights read; rows go in and out once."""
    weights = sum(a * b for a, b in itertools.pairwise(shape.widths))
    rows = shape.batch * (shape.widths[0] + shape.widths[-1])
    return Cost(2 * shape.batch * weights, read=4 * (weights + rows), written=4 * shape.batch * shape.widths[-1])


def cases(shape, to):
    """By a compiled model."""
    device = device_of(to)
    model = inputs.model(shape)
    predict = fd.Predictor(fd.nn.Weights(model, shape.widths[:1], seed=0, device=device), shape.batch)
    x = to(inputs.training(shape)[0][: shape.batch])
    found = np.empty((shape.batch, shape.widths[-1]), np.float32)

    def check():
        found[...] = fd.devices.read(predict(x))
        with backend.use("numpy"):
            plain = fd.nn.Workspace(fd.nn.Weights(model, shape.widths[:1], seed=0), shape.batch, train=False)
            plain.begin(shape.batch)
            wanted = model.forward(fd.devices.read(x), plain.frame, train=False)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)

    ours = {"": checked(lambda: predict(x), check, device)}
    yield Case("predict", shape, ours, cost(shape), theirs=lambda peer: peer.variant(shape, [found]))
