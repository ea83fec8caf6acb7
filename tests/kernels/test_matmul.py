"""Products: exact on small integers at every shape, in every cut of panels, by BLAS and by loops."""

import itertools
import math

import numpy as np
import pytest

from fastdl import backend, ops
from fastdl.testing import assert_agree, normal

KINDS = {"blas": ("numba", "blas"), "loops": ("numba", "loops"), "numpy": ("numpy", "blas")}
by_all = pytest.mark.parametrize("on, kernel", KINDS.values(), ids=KINDS)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])

# n, k, m. The last two rows are beyond the 2^20 multiply-adds from which panels are cut.
SHAPES = [
    *[(1, 1, 1), (1, 5, 1), (1, 7, 33), (33, 7, 1), (5, 0, 3), (1, 0, 1), (4, 4, 4), (5, 6, 7), (17, 65, 31)],
    *[(32, 784, 10), (64, 256, 64), (63, 255, 66), (128, 784, 512), (1024, 784, 64)],
    *[(1, 1024, 1025), (1025, 1024, 1), (3, 4096, 130), (5000, 7, 33), (7, 5000, 33), (33, 33, 5000)],
]
every_shape = pytest.mark.parametrize("n, k, m", SHAPES)


def integers(shape, dtype, seed):
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


@by_all
@both_dtypes
@every_shape
def test_exact_on_small_integers(n, k, m, dtype, on, kernel):
    x, w, b, dy = (integers(s, dtype, i) for i, s in enumerate([(n, k), (k, m), (m,), (n, m)]))
    product = (x.astype(np.int64) @ w.astype(np.int64)).astype(dtype)
    with backend.use(on):
        assert (ops.matmul(x, w, kernel=kernel) == product).all()
        assert (ops.matmul(x, w, b, kernel=kernel) == product + b).all()
        assert (ops.matmul_backward_input(dy, w, kernel=kernel) == dy.astype(np.int64) @ w.T.astype(np.int64)).all()
        dw, db = ops.matmul_backward_weights(x, dy, kernel=kernel)
    assert (dw == x.T.astype(np.int64) @ dy.astype(np.int64)).all()
    assert (db == dy.sum(0)).all()


@by_all
@both_dtypes
@pytest.mark.parametrize("n, k, m", [(5, 6, 7), (64, 256, 64), (0, 6, 7), (5, 0, 7), (1025, 1, 1024), (128, 784, 512)])
def test_accumulate_adds_to_what_is_there(n, k, m, dtype, on, kernel):
    x, dy, dw, db = (integers(s, dtype, i) for i, s in enumerate([(n, k), (n, m), (k, m), (m,)]))
    kept = dw.copy(), db.copy()
    with backend.use(on):
        result = ops.matmul_backward_weights(x, dy, accumulate=True, out=dw, out_bias=db, kernel=kernel)
        assert result[0] is dw
        assert result[1] is db
        again = dw.copy()
        assert ops.matmul_backward_weights(x, dy, bias=False, accumulate=True, out=again, kernel=kernel)[1] is None
    assert (dw == kept[0] + x.T @ dy).all()
    assert (db == kept[1] + dy.sum(0)).all()
    assert (again == kept[0] + 2 * (x.T @ dy)).all()


ACTIVATIONS = {
    None: lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z < 0, 0.2 * z, z),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "gelu": lambda z: z * np.vectorize(math.erfc)(-z / math.sqrt(2)) / 2,
}


def test_every_activation_is_tested():
    assert ACTIVATIONS.keys() == {None, *ops.EPILOGUES}


@by_all
@both_dtypes
@pytest.mark.parametrize("n, k, m", [(1, 1, 1), (7, 5, 3), (17, 33, 9), (64, 784, 130), (300, 20, 300), (5, 0, 4)])
def test_transposed_factors_and_accumulation_are_exact_on_small_integers(n, k, m, dtype, on, kernel):
    rng = np.random.default_rng(0)
    x, w, held = (rng.integers(-4, 5, shape).astype(dtype) for shape in ((n, k), (k, m), (n, m)))
    for turn_x, turn_w in itertools.product((False, True), repeat=2):
        a, b = (np.ascontiguousarray(f.T) if turn else f for f, turn in ((x, turn_x), (w, turn_w)))
        options = {"transpose_x": turn_x, "transpose_w": turn_w, "kernel": kernel}
        out = held.copy()
        with backend.use(on):
            assert (ops.matmul(a, b, **options) == x @ w).all()
            assert ops.matmul(a, b, accumulate=True, out=out, **options) is out
        assert (out == held + x @ w).all()
    out = x.copy()
    with backend.use(on):
        ops.matmul_backward_input(held, w, accumulate=True, out=out, kernel=kernel)
    assert (out == x + held @ w.T).all()


def test_bias_and_activation_go_with_a_plain_product_alone():
    x = np.ones((2, 2))
    for options in ({"transpose_x": True}, {"transpose_w": True}, {"accumulate": True, "out": np.ones((2, 2))}):
        with pytest.raises(ValueError, match="b and activation go with a plain x w alone"):
            ops.matmul(x, x, np.ones(2), **options)
    with pytest.raises(ValueError, match="accumulate=True adds to out; pass it"):
        ops.matmul(x, x, accumulate=True)
    with pytest.raises(ValueError, match=r"matmul: w has shape \(2, 3\), wanted 2 along axis 1"):
        ops.matmul(x, np.ones((2, 3)), transpose_w=True)


@by_all
@both_dtypes
@pytest.mark.parametrize("n, k, m", [(7, 5, 3), (1, 9, 1), (40, 200, 150)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_bias_and_activation_in_one_pass(activation, n, k, m, dtype, on, kernel):
    x, w, b = normal((n, k), dtype, 0), normal((k, m), dtype, 1), normal((m,), dtype, 2)
    with backend.use(on):
        y = ops.matmul(x, w, b, activation=activation, slope=0.2, kernel=kernel)
    size = np.abs(x).astype(np.float64) @ np.abs(w) + np.abs(b)
    expected = ACTIVATIONS[activation](x.astype(np.float64) @ w + b)
    assert_agree(y, expected, kind="product", terms=k + 8, scale=size + 1)


@by_all
def test_activation_of_a_bias_alone(on, kernel):
    with backend.use(on):
        y = ops.matmul(np.empty((2, 0)), np.empty((0, 3)), np.array([-1.0, 0, 2]), activation="relu", kernel=kernel)
    assert y.tolist() == [[0, 0, 2]] * 2


@by_all
@pytest.mark.parametrize("n, k, m", [(0, 3, 2), (3, 2, 0), (0, 0, 0)])
def test_empty_results(n, k, m, on, kernel):
    with backend.use(on):
        assert ops.matmul(np.ones((n, k)), np.ones((k, m)), np.ones(m), kernel=kernel).shape == (n, m)
        assert (ops.matmul_backward_input(np.ones((n, m)), np.ones((k, m)), kernel=kernel) == np.zeros((n, k))).all()
        dw, db = ops.matmul_backward_weights(np.ones((n, k)), np.ones((n, m)), kernel=kernel)
    assert (dw == np.full((k, m), n)).all()
    assert (db == np.full(m, n)).all()


@by_all
@pytest.mark.parametrize("n, k, m", [(6, 5, 4), (1, 5, 1), (128, 784, 130)])
def test_zero_times_nan_is_nan(n, k, m, on, kernel):
    """A product that skips zeros, or an output that a product is added to, would hide it."""
    x, w = np.zeros((n, k)), np.ones((k, m))
    w[k // 2, m // 2] = np.nan
    with backend.use(on):
        y = ops.matmul(x, w, out=np.full((n, m), np.inf), kernel=kernel)
    assert (np.isnan(y) == (np.arange(m) == m // 2)).all()
    assert (y[:, np.arange(m) != m // 2] == 0).all()


@pytest.mark.parametrize("op", [ops.matmul_backward_input, ops.matmul_backward_weights, ops.matmul])
def test_kernel_of_another_name_raises(op):
    with pytest.raises(ValueError, match=rf"^{op.__name__}: kernel is 'fast', wanted one of 'blas', 'loops'"):
        op(np.ones((2, 2)), np.ones((2, 2)), kernel="fast")


@pytest.mark.parametrize("given", [{}, {"out": np.zeros((2, 2))}])
def test_accumulate_without_outputs_raises(given):
    with pytest.raises(
        ValueError, match=r"^matmul_backward_weights: accumulate=True adds to out and out_bias; pass them"
    ):
        ops.matmul_backward_weights(np.ones((3, 2)), np.ones((3, 2)), accumulate=True, **given)


@pytest.mark.numba
@pytest.mark.parametrize("threads", [0, 1, 2, 3, 7, 64])
@pytest.mark.parametrize("unpacked", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "shape", [(2000, 784, 512), (512, 600, 2000), (64, 784, 130), (1, 2000, 900), (5000, 300, 1), (100, 5, 3000)]
)
def test_pieces_cover_a_product_once(shape, turned, unpacked, threads):
    from fastdl.kernels.matmul import cpu

    rows, inner, columns = shape
    down, across, slices = cut_for = cpu.pieces.py_func(rows, columns, inner, turned, threads, unpacked)
    work = rows * columns * inner
    if unpacked and cpu.SMALL < work < (cpu.UNPACKED_TURNED if turned else cpu.UNPACKED):
        assert cut_for == cpu.pieces.py_func(rows, columns, inner, turned, 0, True)  # whatever the threads
        assert -(-rows // down) * -(-columns // across) * -(-inner // slices) <= cpu.SMALL
    else:
        assert slices == 1
        assert (down * across <= threads) if threads else (1 in (down, across))
    seen = np.zeros((rows, columns), int)
    for part in range(down * across):
        r0, r1 = cpu.cut.py_func(rows, down, part % down, cpu.ALIGN)
        c0, c1 = cpu.cut.py_func(columns, across, part // down, cpu.ALIGN)
        seen[r0:r1, c0:c1] += 1
    assert (seen == 1).all()


@pytest.mark.numba
def test_products_are_cut_for_the_threads_at_hand_unless_told_otherwise():
    import numba

    from fastdl import recorder
    from fastdl.kernels._numba import threads

    x, out = np.ones((4, 4)), np.empty((4, 4))

    unpacked = backend.multiplies_unpacked(x)

    def told():
        with recorder.record() as tape:
            ops.matmul(x, x, out=out)
            ops.matmul_backward_input(x, x, out=out)
            ops.matmul_backward_weights(x, x, out=out, bias=False)
        positions = 4, 5, 3
        return [entry.args[at : at + 2] for entry, at in zip(tape.entries, positions, strict=True)]

    assert told() == [(min(threads.count, numba.get_num_threads()), unpacked)] * 3
    with backend.deterministic():
        assert told() == [(0, unpacked)] * 3
    with backend.use("numpy"):
        assert told() == [(0, False)] * 3
    numba.set_num_threads(1)
    try:
        assert told() == [(1, unpacked)] * 3
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", [None, *ops.EPILOGUES])
def test_one_row_is_a_product_like_others(dtype, activation):
    rng = np.random.default_rng(0)
    x, w, b = (rng.integers(-3, 4, shape).astype(dtype) for shape in ((2, 603), (603, 517), (517,)))
    work = np.full(ops.matmul_row_work_size(x[:1], 517), np.nan, dtype)
    assert work.size == (8 * 517 if backend.active() == "numba" else 0)
    alone = ops.matmul(x[:1], w, b, activation=activation, slope=0.25, work=work)
    among = ops.matmul(x, w, b, activation=activation, slope=0.25)
    assert ops.matmul_row_work_size(x, 517) == ops.matmul_row_work_size(x[:1, :200], 517) == 0
    np.testing.assert_array_equal(alone, among[:1])  # small integers: exact in any order
