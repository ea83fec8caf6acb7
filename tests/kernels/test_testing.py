"""The comparison that all these tests rest on: it must see what is wrong, and let pass what is not."""

import sys

import numpy as np
import pytest

from fastdl import ops, testing
from fastdl.testing import LAYOUTS, assert_agree, assert_same_bits, check_op

EPS = float(np.finfo(np.float32).eps)


@pytest.mark.parametrize(
    "dtype, kind, options, factor",
    [
        (np.float32, "elementwise", {}, 1e-5),
        (np.float64, "elementwise", {}, 1e-12),
        (np.float64, "elementwise", {"scale": 100}, 1e-10),
        (np.float32, "normalising", {"scale": -50}, 5e-4),
        (np.float64, "function", {}, 1e-12),
        (np.float32, "function", {}, 4 * EPS),
        (np.float32, "product", {"terms": 10, "scale": 3}, 30 * EPS),
        (np.float64, "product", {"precision": np.float32}, EPS),
    ],
)
def test_bound_lies_where_the_table_says(dtype, kind, options, factor):
    expected = np.ones(3)
    actual = expected.astype(dtype)
    actual[1] = 1 + 0.9 * factor
    assert_agree(actual, expected, kind=kind, **options)
    actual[1] = 1 + 1.2 * factor
    with pytest.raises(AssertionError, match=r"1 of 3 elements out of bounds, the worst at \(1,\)"):
        assert_agree(actual, expected, kind=kind, **options)


@pytest.mark.parametrize("kind", testing.BOUNDS)
@pytest.mark.parametrize(
    "actual, expected",
    [
        ([np.nan], [1.0]),
        ([1.0], [np.nan]),
        ([np.inf], [1.0]),
        ([1.0], [-np.inf]),
        ([1.0, 2.0], [1.0]),
        ([[1.0]], [1.0]),
    ],
)
def test_no_bound_allows(kind, actual, expected):
    with pytest.raises(AssertionError):
        assert_agree(np.array(actual), expected, kind=kind, scale=[np.inf])


@pytest.mark.parametrize("actual, expected", [(np.inf, -np.inf), (np.nan, np.inf), (np.inf, np.nan)])
def test_infinities_and_nan_stand_for_each_other_in_normalising_ops_alone(actual, expected):
    assert_agree(np.array([actual]), [expected], kind="normalising")
    for kind in testing.BOUNDS.keys() - {"normalising"}:
        with pytest.raises(AssertionError):
            assert_agree(np.array([actual]), [expected], kind=kind)


def test_number_beyond_float32_is_infinite_there_and_one_below_it_is_0():
    assert_agree(np.float32([np.inf, 0]), np.array([1e39, 1e-46]))


def test_whole_numbers_must_be_equal():
    assert_agree(np.array([1, 2]), [1, 2])
    with pytest.raises(AssertionError, match=r"got 2, wanted 3"):
        assert_agree(np.array([1, 2]), [1, 3])


@pytest.mark.parametrize("other", [np.float32([1]), np.ones((1, 1)), np.nextafter([1.0], 2), -np.ones(1)])
def test_same_bits_means_dtype_shape_and_bits(other):
    assert_same_bits(np.ones(1), np.ones(1))
    with pytest.raises(AssertionError):
        assert_same_bits(np.ones(1), other)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (5,), (3, 4), (2, 3, 4)])
def test_layouts_keep_values_and_differ_in_memory(shape):
    x = testing.normal(shape, np.float32, 0)
    for layout in LAYOUTS.values():
        assert_same_bits(np.array(layout(x)), x)
    if len(shape) > 1:
        assert not any(layout(x).flags.carray for name, layout in LAYOUTS.items() if name != "C")


def test_strategies_name_the_extra_that_they_need(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ImportError, match=r"install the extra `test`: pip install 'fastdl-kernels\[test\]'"):
        testing.sizes()


# ---------------------------------------------------------------- check_op


def test_check_op_passes_what_is_right():
    check_op(
        lambda x, w: ops.matmul(x, w),
        lambda x, w: x @ w,
        ["nk", "km"],
        kind="product",
        terms=70,
        scale=lambda x, w: abs(x) @ abs(w),
        backward=lambda dy, x, w: (ops.matmul_backward_input(dy, w), ops.matmul_backward_weights(x, dy)[0]),
    )
    check_op(
        lambda x: ops.activation(x, "silu"),
        lambda x: x / (1 + np.exp(-x)),
        ["nk"],
        scale=lambda x: abs(x),
        backward=lambda dy, x: ops.activation_backward(dy, "silu", x=x),
    )


def in_place(x):
    x *= 2
    return x


def forgets_nan(x):
    return np.nan_to_num(2 * x)


def misreads_strides(x):
    flat = np.lib.stride_tricks.as_strided(x, x.shape, np.empty(x.shape, x.dtype).strides)
    return 2 * flat


STATE = iter(range(10**9))


def other_bits(x):
    return 2 * x * (1 + np.finfo(x.dtype).eps * (next(STATE) % 2))


WRONG = {
    "wrong": (lambda x: 2 * x + 1e-3, "result: "),
    "off at the end": (lambda x: np.where(np.arange(x.size).reshape(x.shape) == 16, 0, 2 * x), "result: "),
    "in place": (in_place, "input 0, which must stay as it was: "),
    "forgets NaN": (forgets_nan, "result: "),
    "misreads strides": (misreads_strides, "result for another layout: "),
    "other bits": (other_bits, "second call: "),
    "float64 result": (lambda x: 2.0 * x.astype(np.float64), "result: got dtype float64, wanted float32"),
    "float32 result": (lambda x: 2 * x.astype(np.float32), "result: "),
}


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("op, message", WRONG.values(), ids=WRONG)
def test_check_op_finds_what_is_wrong(op, message):
    with pytest.raises(AssertionError, match=f"^{message}"):
        check_op(op, lambda x: 2 * x, ["nk"], examples=200)


GRADIENTS = {
    "second": lambda dy, x, w: (dy * w, dy),
    "first": lambda dy, x, w: (dy, dy * x),
    "by a thousandth": lambda dy, x, w: (1.001 * dy * w, dy * x),
}


@pytest.mark.parametrize("backward", GRADIENTS.values(), ids=GRADIENTS)
def test_check_op_finds_wrong_gradients(backward):
    with pytest.raises(AssertionError, match=r"^gradient of argument [01]: "):
        check_op(lambda x, w: x * w, lambda x, w: x * w, ["n", "n"], backward=backward)
    check_op(lambda x, w: x * w, lambda x, w: x * w, ["n", "n"], backward=lambda dy, x, w: (dy * w, None))
