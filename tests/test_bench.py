"""The harness checks what it times: a kernel that does nothing, or something else, does not pass."""

import numpy as np
import pytest

from fastdl import backend, ops, recorder
from fastdl.bench import harness

pytestmark = pytest.mark.numba


class Fake:
    """Under the name of a kernel, something else."""

    name = "activation.relu"

    def __init__(self, do):
        self.do = do

    def __call__(self, x, constant, y):
        self.do(x, y)


def idle(x, y):
    pass


def half(x, y):
    np.maximum(x[: x.size // 2], 0, out=y[: x.size // 2])


@pytest.mark.parametrize("do", [idle, half])
def test_what_another_variant_left_does_not_pass_for_a_result(do):
    x = np.linspace(-1, 1, 1000)
    out = np.empty_like(x)
    right = harness.replayed(lambda: ops.activation(x, "relu", out=out))
    wrong = harness.replayed(lambda: recorder.launch("relu", Fake(do), x, 0.01, out, outputs=(out,)))
    right.check()
    with pytest.raises(AssertionError, match=r"^relu, output 0: "):
        wrong.check()
    right.check()


def test_what_is_added_to_keeps_what_it_held():
    p, g, status = np.ones(9), np.ones(9), np.zeros(1, np.int64)
    scalars = np.array(ops.sgd_scalars(0.5))
    harness.replayed(lambda: ops.sgd_update(p, g, scalars=scalars, status=status)).check()
    assert (p == 0.5).all()
    assert backend.active() == "numba"
