"""y = f(x w + b) and its gradients: pieces of the result, each by BLAS or by blocked loops.

BLAS copies both factors into an order of its own before it multiplies, but for small products, where some
have kernels that go without (`unpacked`). There the result is cut into blocks so small; that takes a third
less time at 32 rows and a tenth at 1024. Elsewhere, and where the factors outgrow the caches, it is cut into
a panel for each of `threads`; or, where that is 0, into panels by its shape alone, since BLAS may round an
element differently in a panel of another width. A piece is finished, bias and activation included, while it
is in the cache.
"""

from numba import prange

from .. import _blas
from .._blas import gemm
from .._numba import chunk, clear, cut, dot, inline, kernel, unchanged
from ..activation.cpu import gelu_of, leaky_relu_of, relu_of, sigmoid_of, tanh_of

PARALLEL = 1 << 20  # multiply-adds below which one thread is faster
WIDTH = 128  # rows or columns of a panel at least: BLAS loses 6 % at it beside twice as many, 13 % at half
ALIGN = 16  # pieces begin on a cache line of float32

SMALL = 1_000_000  # multiply-adds up to which OpenBLAS takes its kernels without packing
DEEP = 976  # of a block: 16 x 64 x 976 is just small
UNPACKED = 1 << 30  # multiply-adds from which packing pays,
UNPACKED_TURNED = 1 << 29  # and from which it does where the first factor is turned


@inline
def pieces(rows, columns, inner, a_turned, threads, unpacked):
    """In how many pieces the rows, the columns and the depth of a product are cut.

    Panels are cut from the columns, or the rows where a is turned, if those are wide enough, else from the longer
    side; from the other only where there are threads left, and never by the shape alone.
    """
    work = rows * columns * inner
    if unpacked and SMALL < work < (UNPACKED_TURNED if a_turned else UNPACKED):
        tall, wide = (32, 32) if a_turned else (16, 64)
        tall *= max(1, 128 // inner)  # where there is little to do for each element
        return (rows + tall - 1) // tall, (columns + wide - 1) // wide, (inner + DEEP - 1) // DEEP

    first, second = (rows, columns) if a_turned else (columns, rows)
    cut_first = first >= 2 * WIDTH or first >= second
    extent, across = (first, second) if cut_first else (second, first)
    parts, more = 1, 1
    if work >= PARALLEL and extent >= 2 * ALIGN:
        if threads:
            parts = min(threads, max(2, extent // WIDTH))
            more = max(1, min(threads // parts, across // WIDTH))
        else:
            parts = 2
            while parts < 64 and extent >= 2 * parts * WIDTH:
                parts *= 2
    return (parts, more, 1) if cut_first == a_turned else (more, parts, 1)


# ---------------------------------------------------------------- the product of one piece
# c[r0:r1, c0:c1] (+)= a b, where a and b may each be stored transposed; the depth in `slices`, one after the other.


@inline
def by_blas(a, a_transposed, b, b_transposed, c, r0, r1, c0, c1, slices, accumulate):
    inner = a.shape[0] if a_transposed else a.shape[1]
    at = r0 * c.shape[1] + c0
    for s in range(slices):
        k0, k1 = inner * s // slices, inner * (s + 1) // slices
        a_at = k0 * a.shape[1] + r0 if a_transposed else r0 * a.shape[1] + k0
        b_at = c0 * b.shape[1] + k0 if b_transposed else k0 * b.shape[1] + c0
        gemm(a, a_transposed, b, b_transposed, c, r1 - r0, c1 - c0, k1 - k0, a_at, b_at, at, accumulate or s > 0)


@chunk
def _add_scaled(s, b, c):
    for j in range(c.size):
        c[j] += s * b[j]


@chunk
def _add_eight(s0, s1, s2, s3, s4, s5, s6, s7, b0, b1, b2, b3, b4, b5, b6, b7, c):
    for j in range(c.size):
        c[j] += s0 * b0[j] + s1 * b1[j] + s2 * b2[j] + s3 * b3[j] + s4 * b4[j] + s5 * b5[j] + s6 * b6[j] + s7 * b7[j]


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
def by_loops(a, a_transposed, b, b_transposed, c, r0, r1, c0, c1, slices, accumulate):
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
    def forward(x, w, b, slope, threads, unpacked, y):
        down, across, slices = pieces(y.shape[0], y.shape[1], x.shape[1], False, threads, unpacked)
        for part in prange(down * across):  # all rows of some columns first, whose factor stays in the cache
            r0, r1 = cut(y.shape[0], down, part % down, ALIGN)
            c0, c1 = cut(y.shape[1], across, part // down, ALIGN)
            product(x, False, w, False, y, r0, r1, c0, c1, slices, False)
            for i in range(r0, r1):
                epilogue(y[i, c0:c1], b[c0:c1], slope)

    return forward


def _multiply_adds(a, a_transposed, b, b_transposed, accumulate, threads, unpacked, c):
    return c.size * a.shape[0 if a_transposed else 1]


def _product(name, piece, within=None):
    @kernel(name=name, threshold=PARALLEL, work=_multiply_adds, within=within)
    def product(a, a_transposed, b, b_transposed, accumulate, threads, unpacked, c):
        inner = a.shape[0] if a_transposed else a.shape[1]
        down, across, slices = pieces(c.shape[0], c.shape[1], inner, a_transposed, threads, unpacked)
        for part in prange(down * across):
            r0, r1 = cut(c.shape[0], down, part % down, ALIGN)
            c0, c1 = cut(c.shape[1], across, part // down, ALIGN)
            piece(a, a_transposed, b, b_transposed, c, r0, r1, c0, c1, slices, accumulate)

    return product


def _backward_weights(name, product, within=None):
    @kernel(name=name, threshold=PARALLEL, work=lambda x, dy, *_: x.size * dy.shape[1], within=within)
    def backward_weights(x, dy, accumulate, threads, unpacked, work, dw, db):
        down, across, slices = pieces(dw.shape[0], dw.shape[1], dy.shape[0], True, threads, unpacked)
        for part in prange(down * across):
            r0, r1 = cut(dw.shape[0], down, part % down, ALIGN)
            c0, c1 = cut(dw.shape[1], across, part // down, ALIGN)
            product(x, True, dy, False, dw, r0, r1, c0, c1, slices, accumulate)
            if db.size:  # every piece adds up a share of its columns
                c0, c1 = cut(db.size, down * across, part, ALIGN)
                _add_rows(dy, c0, c1, db, accumulate)

    return backward_weights


@kernel(threshold=0, work=lambda x, w, *_: w.size)
def row(x, w, b, work, y):
    """Rows of w, times numbers of x, in the order in which they lie in memory; a slice of the depth for each sum."""
    depth, slices = w.shape[0], work.size // w.shape[1]
    sums = work.reshape(slices, w.shape[1])
    for s in prange(slices):
        c = sums[s]
        clear(c)
        begin, end = depth * s // slices, depth * (s + 1) // slices
        whole = begin + (end - begin) // 8 * 8
        for k in range(begin, whole, 8):
            x0, x1, x2, x3 = x[0, k], x[0, k + 1], x[0, k + 2], x[0, k + 3]
            x4, x5, x6, x7 = x[0, k + 4], x[0, k + 5], x[0, k + 6], x[0, k + 7]
            b0, b1, b2, b3 = w[k], w[k + 1], w[k + 2], w[k + 3]
            b4, b5, b6, b7 = w[k + 4], w[k + 5], w[k + 6], w[k + 7]
            _add_eight(x0, x1, x2, x3, x4, x5, x6, x7, b0, b1, b2, b3, b4, b5, b6, b7, c)
        for k in range(whole, end):
            _add_scaled(x[0, k], w[k], c)
    for j in range(y.size):
        total = b[j] if b.size else y.dtype.type(0)
        for s in range(slices):
            total += sums[s, j]
        y[0, j] = total


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
