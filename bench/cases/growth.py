"""How a step grows with the rows of a batch, the width and the depth of a network."""

from fastdl.bench.cases import step


def cases(shape, to):
    """The step at one size."""
    yield from step.cases(shape, to)
