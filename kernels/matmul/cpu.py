"""y = f(x w + b) and its gradients: panels of the result, each by BLAS or by blocked loops.

The result is cut into panels by its shape alone, never by the number of threads, since BLAS may
round an element differently in a panel of another width. A panel is finished, bias and activation
included, while it is in the cache.
"""

from numba import prange

from .. import _blas
from .._blas import gemm
from .._numba import chunk, clear, cut, dot, inline, kernel, unchanged
from ..activation.cpu import gelu_of, leaky_relu_of, relu_of, sigmoid_of, tanh_of

PARALLEL = 1 << 20  # multiply-adds below which one thread is faster
WIDTH = 128  # rows or columns of a panel at least: BLAS loses up to 4 % at it, up to 13 % at half
ALIGN = 16  # panels begin on a cache line of float32


@inline
def panels(rows, columns, inner, rows_first):
    """In how many pieces the rows, and in how many the columns, of a product are cut; one of them is 1.

    The side that comes first is cut where it is wide enough, else the longer one.
    """
    first, second = (rows, columns) if rows_first else (columns, rows)
    cut_first = first >= 2 * WIDTH or first >= second
    extent = first if cut_first else second
    parts = 1
    if rows * columns * inner >= PARALLEL:
        parts = 2 if extent >= 2 * ALIGN else 1
        while parts < 64 and extent >= 2 * parts * WIDTH:
            parts *= 2
    return (parts, 1) if cut_first == rows_first else (1, parts)


# ---------------------------------------------------------------- the product of one panel
# c[r0:r1, c0:c1] (+)= a b, where a and b may each be stored transposed.


@inline
def by_blas(a, a_transposed, b, b_transposed, c, r0, r1, c0, c1, accumulate):
    inner = a.shape[0] if a_transposed else a.shape[1]
    a_at = r0 if a_transposed else r0 * a.shape[1]
    b_at = c0 * b.shape[1] if b_transposed else c0
    at = r0 * c.shape[1] + c0
    gemm(a, a_transposed, b, b_transposed, c, r1 - r0, c1 - c0, inner, a_at, b_at, at, accumulate)


@chunk
def _add_scaled(s, b, c):
    for j in range(c.size):
        c[j] += s * b[j]


@chunk
def _add_four_by_four(a, at, down, along, b0, b1, b2, b3, c0, c1, c2, c3):
    """Four rows of c take four rows of b each: 16 multiply-adds for 8 loads and 4 stores.

    The sixteen factors stay in registers; they stand `down` and `along` elements apart in a.
    """
    i0, i1, i2, i3 = at, at + down, at + 2 * down, at + 3 * down
    k1, k2, k3 = along, 2 * along, 3 * along
    a00, a01, a02, a03 = a[i0], a[i0 + k1], a[i0 + k2], a[i0 + k3]
    a10, a11, a12, a13 = a[i1], a[i1 + k1], a[i1 + k2], a[i1 + k3]
    a20, a21, a22, a23 = a[i2], a[i2 + k1], a[i2 + k2], a[i2 + k3]
    a30, a31, a32, a33 = a[i3], a[i3 + k1], a[i3 + k2], a[i3 + k3]
    for j in range(c0.size):
        p, q, r, s = b0[j], b1[j], b2[j], b3[j]
        c0[j] += a00 * p + a01 * q + a02 * r + a03 * s
        c1[j] += a10 * p + a11 * q + a12 * r + a13 * s
        c2[j] += a20 * p + a21 * q + a22 * r + a23 * s
        c3[j] += a30 * p + a31 * q + a32 * r + a33 * s


@chunk
def _strided_dot(a, first, stride, b):
    total = a.dtype.type(0)
    for k in range(b.size):
        total += a[first + k * stride] * b[k]
    return total


@inline
def by_loops(a, a_transposed, b, b_transposed, c, r0, r1, c0, c1, accumulate):
    flat = a.reshape(a.size)
    if b_transposed:  # rows of b times rows of a, or its columns, which is slow and seldom asked for
        for i in range(r0, r1):
            for j in range(c0, c1):
                kept = c[i, j] if accumulate else c.dtype.type(0)
                if a_transposed:
                    c[i, j] = kept + _strided_dot(flat, i, a.shape[1], b[j])
                else:
                    c[i, j] = kept + dot(a[i], b[j])
        return
    inner, down, along = a.shape[1], a.shape[1], 1
    if a_transposed:
        inner, down, along = a.shape[0], 1, a.shape[1]
    if not accumulate:
        for i in range(r0, r1):
            clear(c[i, c0:c1])
    whole_i, whole_k = r0 + (r1 - r0) // 4 * 4, inner // 4 * 4
    for i in range(r0, whole_i, 4):
        y0, y1, y2, y3 = c[i, c0:c1], c[i + 1, c0:c1], c[i + 2, c0:c1], c[i + 3, c0:c1]
        for k in range(0, whole_k, 4):
            b0, b1, b2, b3 = b[k, c0:c1], b[k + 1, c0:c1], b[k + 2, c0:c1], b[k + 3, c0:c1]
            at = i * down + k * along
            _add_four_by_four(flat, at, down, along, b0, b1, b2, b3, y0, y1, y2, y3)
    for i in range(r0, r1):
        for k in range(whole_k if i < whole_i else 0, inner):
            _add_scaled(flat[i * down + k * along], b[k, c0:c1], c[i, c0:c1])


# ---------------------------------------------------------------- kernels


@chunk
def _add_rows(x, c0, c1, total, accumulate):
    """total[c0:c1] (+)= the sum of x's rows."""
    t = total[c0:c1]
    if not accumulate:
        clear(t)
    for i in range(x.shape[0]):
        _add_scaled(x.dtype.type(1), x[i, c0:c1], t)


def _forward(name, product, f, within=None):
    @chunk
    def epilogue(y, b, slope):
        leak, zero = y.dtype.type(slope), y.dtype.type(0)
        if b.size:
            for j in range(y.size):
                y[j] = f(y[j] + b[j], leak, zero)
        else:
            for j in range(y.size):
                y[j] = f(y[j], leak, zero)

    @kernel(name=name, threshold=PARALLEL, work=lambda x, w, *_: x.size * w.shape[1], within=within)
    def forward(x, w, b, slope, y):
        down, across = panels(y.shape[0], y.shape[1], x.shape[1], False)
        for part in prange(down * across):
            r0, r1 = cut(y.shape[0], down, part // across, ALIGN)
            c0, c1 = cut(y.shape[1], across, part % across, ALIGN)
            product(x, False, w, False, y, r0, r1, c0, c1, False)
            for i in range(r0, r1):
                epilogue(y[i, c0:c1], b[c0:c1], slope)

    return forward


def _multiply_adds(a, a_transposed, b, b_transposed, accumulate, c):
    return c.size * a.shape[0 if a_transposed else 1]


def _product(name, panel, within=None):
    @kernel(name=name, threshold=PARALLEL, work=_multiply_adds, within=within)
    def product(a, a_transposed, b, b_transposed, accumulate, c):
        inner = a.shape[0] if a_transposed else a.shape[1]
        down, across = panels(c.shape[0], c.shape[1], inner, a_transposed)
        for part in prange(down * across):
            r0, r1 = cut(c.shape[0], down, part // across, ALIGN)
            c0, c1 = cut(c.shape[1], across, part % across, ALIGN)
            panel(a, a_transposed, b, b_transposed, c, r0, r1, c0, c1, accumulate)

    return product


def _backward_weights(name, product, within=None):
    @kernel(name=name, threshold=PARALLEL, work=lambda x, dy, *_: x.size * dy.shape[1], within=within)
    def backward_weights(x, dy, accumulate, work, dw, db):
        down, across = panels(dw.shape[0], dw.shape[1], dy.shape[0], True)  # 5 % faster
        for part in prange(down * across):
            r0, r1 = cut(dw.shape[0], down, part // across, ALIGN)
            c0, c1 = cut(dw.shape[1], across, part % across, ALIGN)
            product(x, True, dy, False, dw, r0, r1, c0, c1, accumulate)
            if db.size:  # every panel adds up a share of its columns
                c0, c1 = cut(db.size, down * across, part, ALIGN)
                _add_rows(dy, c0, c1, db, accumulate)

    return backward_weights


forward_loops = _forward("forward_loops", by_loops, unchanged)
forward_relu_loops = _forward("forward_relu_loops", by_loops, relu_of)
forward_leaky_relu_loops = _forward("forward_leaky_relu_loops", by_loops, leaky_relu_of)
forward_sigmoid_loops = _forward("forward_sigmoid_loops", by_loops, sigmoid_of)
forward_tanh_loops = _forward("forward_tanh_loops", by_loops, tanh_of)
forward_gelu_loops = _forward("forward_gelu_loops", by_loops, gelu_of)
product_loops = _product("product_loops", by_loops)
backward_weights_loops = _backward_weights("backward_weights_loops", by_loops)

if _blas.missing:  # the loops take its place
    forward = forward_loops
    forward_relu = forward_relu_loops
    forward_leaky_relu = forward_leaky_relu_loops
    forward_sigmoid = forward_sigmoid_loops
    forward_tanh = forward_tanh_loops
    forward_gelu = forward_gelu_loops
    product = product_loops
    backward_weights = backward_weights_loops
else:
    forward = _forward("forward", by_blas, unchanged, _blas.one_thread)
    forward_relu = _forward("forward_relu", by_blas, relu_of, _blas.one_thread)
    forward_leaky_relu = _forward("forward_leaky_relu", by_blas, leaky_relu_of, _blas.one_thread)
    forward_sigmoid = _forward("forward_sigmoid", by_blas, sigmoid_of, _blas.one_thread)
    forward_tanh = _forward("forward_tanh", by_blas, tanh_of, _blas.one_thread)
    forward_gelu = _forward("forward_gelu", by_blas, gelu_of, _blas.one_thread)
    product = _product("product", by_blas, _blas.one_thread)
    backward_weights = _backward_weights("backward_weights", by_blas, _blas.one_thread)
