"""Arrays of other libraries, and moving arrays, where no GPU is needed."""

import numpy as np
import pytest

import fastdl as fd
from fastdl import backend, ops


def test_lists_and_arrays_of_the_host():
    x = np.ones(3)
    assert fd.asarray(x) is x
    assert fd.asarray(x, device="cpu") is x
    assert fd.asarray([1.0, 2.0], device="cpu").tolist() == [1, 2]


def test_another_librarys_array_shares_its_memory(torch):
    x = torch.tensor([-1.0, 2.0, -3.0])
    shared = fd.asarray(x)
    assert type(shared) is np.ndarray
    x[0] = 5
    assert shared.tolist() == [5, 2, -3]
    out = torch.empty(3)
    ops.activation(x, "relu", out=out)
    assert out.tolist() == [5, 2, 0]


@pytest.mark.skipif(backend.cuda_missing() is None, reason="there is a GPU")
def test_no_gpu_is_an_error_with_its_reason():
    with pytest.raises(RuntimeError, match=r"device='cuda': .*; use device='cpu'"):
        fd.asarray(np.ones(3), device="cuda")
