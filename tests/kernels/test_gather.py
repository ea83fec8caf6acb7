"""Rows by their numbers."""

import numpy as np
import pytest

from fastdl import backend, ops
from fastdl.testing import normal

both_backends = pytest.mark.parametrize("on", ["numba", "numpy"])


@both_backends
@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 3, 2), (5, 17_000)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.bool_, np.int32])
def test_rows_in_the_order_asked_for(shape, dtype, on):
    data = (100 * normal(shape, np.float64, 0)).astype(np.int8).astype(dtype)
    order = np.array([4, 0, 0, 3])
    with backend.use(on):
        out = ops.gather(data, order)
    assert out.dtype == dtype
    assert (out == data[order]).all()


@both_backends
def test_start_and_rows_choose_a_stretch_of_the_order(on):
    data = np.arange(10.0)[:, None]
    order = np.arange(10)[::-1].copy()
    with backend.use(on):
        assert ops.gather(data, order, start=np.array([2]), rows=3).ravel().tolist() == [7, 6, 5]
        assert ops.gather(data, order, rows=0).shape == (0, 1)


@both_backends
@pytest.mark.parametrize("bad", [-1, 5, 2**62, -(2**63)])
def test_row_number_outside_the_data_raises_and_nothing_is_written(bad, on):
    out = np.full((3, 2), 7.0)
    with backend.use(on), pytest.raises(IndexError, match=rf"^gather: order\[1\] is {bad}, wanted 0 to 4$"):
        ops.gather(np.zeros((5, 2)), np.array([0, bad, 0]), out=out)
    assert (out == 7).all()


@both_backends
@pytest.mark.parametrize("start, rows", [(2, 2), (-1, 1), (4, 0), (2**62, 1)])
def test_stretch_beyond_the_order_raises(start, rows, on):
    with backend.use(on), pytest.raises(IndexError, match=r"^gather: rows .* of order were asked for, which has 3$"):
        ops.gather(np.zeros((5, 2)), np.array([0, 1, 2]), start=np.array([start]), rows=rows)


def test_no_row_can_be_taken_of_none():
    with pytest.raises(IndexError, match=r"^gather: order\[0\] is 0"):
        ops.gather(np.zeros((0, 2)), np.array([0]))
    assert ops.gather(np.zeros((0, 2)), np.array([], np.int64)).shape == (0, 2)


def test_data_mapped_from_a_file(tmp_path):
    data = normal((50, 4), np.float32, 0)
    np.save(tmp_path / "data.npy", data)
    mapped = np.load(tmp_path / "data.npy", mmap_mode="r")
    out = ops.gather(mapped, np.array([49, 1]))
    assert type(out) is np.ndarray
    assert (out == data[[49, 1]]).all()


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, object, ">f8"])
def test_dtype_that_no_kernel_knows_is_refused_by_name(dtype):
    with pytest.raises(TypeError, match=r"^gather: data "):
        ops.gather(np.zeros((2, 3), dtype), np.array([1, 0]))
