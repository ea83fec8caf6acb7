"""Augmentation of a batch of images: on one core of the host, wherever the training is."""

import numpy as np

from fastdl.bench import Cost, checked, inputs
from fastdl.bench.case import Case
from fastdl.data import augment
from fastdl.data.augment import Flip, Noise, Rotate, Shift


def cases(shape, to):
    """Each transformation alone, of rows that are drawn from a data set."""
    x, y, order = inputs.augment(shape)
    kinds = {"flip": [Flip()], "shift": [Shift(2)], "flip and shift": [Flip(), Shift(2)]}
    kinds |= {"rotate": [Rotate(15)], "noise": [Noise(0.1)]}

    def variant(moves):
        found = []

        def call():
            found[:] = augment.apply(moves, x, y, order)

        def check():
            for number, row in enumerate(order[:3]):  # in a batch as alone
                np.testing.assert_array_equal(found[0][number], augment.apply(moves, x, y, [row])[0][0])

        return checked(call, check)

    moved = 4.0 * shape.images * shape.side**2
    ours = {name: variant(moves) for name, moves in kinds.items()}
    yield Case("augment", shape, ours, Cost(0, moved, moved))
