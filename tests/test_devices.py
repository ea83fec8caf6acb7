"""Arrays of other libraries, and moving arrays, where no GPU is needed."""

import re

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


@pytest.mark.parametrize(
    "x, remedy",
    [
        (None, "got object of shape (), wanted numbers; make some of it"),
        ("1.5", "got <U3 of shape (), wanted numbers; make some of it"),
        (["1", "2"], "got <U1 of shape (2,), wanted numbers; make some of it"),
        (np.array([b"1"]), "got |S1 of shape (1,), wanted numbers; make some of it"),
        (np.array([1, None]), "got object of shape (2,), wanted numbers; make some of it"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), "got a masked array, whose mask would be lost; give x.filled"),
        (np.ones((2, 2)).view(np.matrix), "got a numpy.matrix, wanted a plain array; give np.asarray(x)"),
    ],
    ids=["None", "text", "texts", "bytes", "objects", "masked", "matrix"],
)
@pytest.mark.parametrize("device", [None, "cpu"])
def test_what_is_no_array_of_numbers_is_refused_with_a_remedy(x, remedy, device):
    with pytest.raises(TypeError, match=re.escape(f"asarray: {remedy}")):
        fd.asarray(x, device)


class ByDLPack:
    """As a tensor of PyTorch on a GPU."""

    def __dlpack__(self, **_):
        raise AssertionError("asked for what nobody can take")

    def __dlpack_device__(self):
        return 2, 0


class ByInterface:
    """As an array of Numba's on a GPU."""

    @property
    def __cuda_array_interface__(self):
        raise AssertionError("asked for what nobody can take")


@pytest.mark.parametrize("kind", [ByDLPack, ByInterface])
@pytest.mark.parametrize("take", [fd.asarray, lambda x: ops.activation(x, "relu")], ids=["asarray", "op"])
def test_another_librarys_array_on_a_gpu_without_cupy_is_an_error_with_the_reason(kind, take, monkeypatch):
    monkeypatch.setattr(backend, "cuda_missing", lambda: "CuPy is not installed (how to)")
    wanted = rf"asarray: got a .*{kind.__name__} on a GPU: CuPy is not installed \(how to\); or copy it to the host"
    with pytest.raises(RuntimeError, match=wanted):
        take(kind())


@pytest.mark.skipif(backend.cuda_missing() is None, reason="there is a GPU")
def test_no_gpu_is_an_error_with_its_reason():
    with pytest.raises(RuntimeError, match=r"device='cuda': .*; use device='cpu'"):
        fd.asarray(np.ones(3), device="cuda")
