"""How a step grows with the rows of a batch, the width and the depth of a network, and what threads take off it."""

import dataclasses

from fastdl import backend
from fastdl.bench import Variant
from fastdl.bench.case import device_of
from fastdl.bench.cases import step


def cases(shape, to):
    """The step at one size, beside no other library: on all threads, and on 1, 2, 4, ... of them."""
    device = device_of(to)
    for case in step.cases(shape, to):
        variants = {**case.ours, **{threads(n): on_threads(n, shape, device) for n in fewer_threads(device)}}
        yield dataclasses.replace(case, ours=variants, theirs=None, eager={}, side_by_side=len(variants) > 1)


def threads(count):
    return f"{count} thread{'s' * (count > 1)}"


def fewer_threads(device):
    """Powers of two below the number of threads."""
    if device == "cuda" or backend.active() != "numba":
        return []
    import numba

    return [1 << n for n in range((numba.get_num_threads() - 1).bit_length())]


def on_threads(count, shape, device):
    """The same step by so many threads, for which its products are cut too."""
    import numba

    measured = step.ours(shape, device)

    def within(function):
        def call(*args):
            before = numba.get_num_threads()
            numba.set_num_threads(count)
            try:
                return function(*args)
            finally:
                numba.set_num_threads(before)

        return call

    return Variant(*map(within, measured))
