"""Products with bias and activation, and their gradients."""

from __future__ import annotations

from .. import backend, checks
from ..kernels._pieces import slices_of_depth
from ..recorder import launch
from ..typing import Array

EPILOGUES = ("relu", "leaky_relu", "sigmoid", "tanh", "gelu")
"""Activations that `matmul` applies while the product is in the cache."""

ROW_PAYS = 1 << 17  # weights from which one row has a kernel of its own
ROW_SLICES = 8  # of the depth, by whatever number of threads


def matmul(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    activation: str | None = None,
    slope: float = 0.01,
    transpose_x: bool = False,
    transpose_w: bool = False,
    accumulate: bool = False,
    kernel: str = "blas",
    out: Array | None = None,
    work: Array | None = None,
) -> Array:
    """Product with bias and activation in one pass: y = f(x w + b).

    Parameters
    ----------
    x : (n, k), or (k, n) if transposed
    w : (k, m), or (m, k) if transposed
    b : (m,), optional
    activation : {None, "relu", "leaky_relu", "sigmoid", "tanh", "gelu"}
        f; None leaves the sum as it is. The gradient of gelu needs the sum, which is not kept: in
        training leave it to `activation`.
    slope : float
        Of the leaky ReLU for negative sums, 0 or more.
    transpose_x, transpose_w : bool
        Whether x, w is given as its transpose. Neither is copied; b and activation do not go with it.
    accumulate : bool
        y += x w, to what `out` holds, which must then be given; b and activation do not go with it.
    kernel : {"blas", "loops"}
        scipy's BLAS, or blocked loops of the project's own.
    out : (n, m), optional
    work : (matmul_row_work_size(x, m),), optional
        Scratch, of x's dtype.

    Returns
    -------
    (n, m) array of x's dtype.

    Raises
    ------
    TypeError, ValueError
        For an array of another kind, dtype or shape, or an `out` that overlaps an input.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.matmul(np.array([[1.0, 2.0]]), np.array([[3.0], [-4.0]]), np.array([1.0]), activation="relu")
    array([[0.]])
    """
    op = "matmul"
    if transpose_x or transpose_w or accumulate:
        if b is not None or activation is not None:
            raise ValueError(f"{op}: b and activation go with a plain x w alone; add and apply them after it")
        if accumulate and out is None:
            raise ValueError(f"{op}: accumulate=True adds to out; pass it")
        return _general(op, {"x": (x, transpose_x), "w": (w, transpose_w)}, accumulate, kernel, out)
    x = checks.array(op, "x", x, "nk")
    w = checks.array(op, "w", w, "km", x.dtype)
    if b is not None:
        b = checks.array(op, "b", b, "m", x.dtype)
    s = checks.sizes(op, x=(x, "nk"), w=(w, "km"), b=(b, "m"))
    checks.name_of(op, "activation", activation, (None, *EPILOGUES))
    if not slope >= 0:
        raise ValueError(f"{op}: slope is {slope}, wanted 0 or more")
    run = _product(op, f"forward_{activation}" if activation else "forward", kernel, x)
    y = checks.output(op, "out", out, (s["n"], s["m"]), x)
    size = matmul_row_work_size(x, s["m"]) if kernel == "blas" else 0
    scratch = checks.output(op, "work", work, (size,), x) if size or work is not None else None
    checks.apart(op, {"out": out, "work": work}, {"x": x, "w": w, "b": b})
    if size:
        b = checks.NO_WEIGHTS[x.dtype] if b is None else b
        launch(op, backend.kernel("matmul", "row", x), x, w, b, scratch, y, outputs=(scratch, y))
        if activation:
            flat = y.reshape(-1)
            launch(op, backend.kernel("activation", activation, x), flat, float(slope), flat, outputs=(flat,))
    elif y.size:
        b = checks.NO_WEIGHTS[x.dtype] if b is None else b
        launch(op, run, x, w, b, float(slope), *_cut(x), y, outputs=(y,))
    return y


def matmul_backward_input(
    dy: Array, w: Array, *, accumulate: bool = False, kernel: str = "blas", out: Array | None = None
) -> Array:
    """Gradient of the product's first factor: dx = dy w'.

    Parameters
    ----------
    dy : (n, m)
    w : (k, m)
        As it was given to `matmul`.
    accumulate : bool
        Add to what `out` holds, which must then be given.
    kernel : {"blas", "loops"}
    out : (n, k), optional

    Returns
    -------
    (n, k) array.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.matmul_backward_input(np.array([[1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]]))
    array([[3., 6.]])
    """
    op = "matmul_backward_input"
    if accumulate and out is None:
        raise ValueError(f"{op}: accumulate=True adds to out; pass it")
    return _general(op, {"dy": (dy, False), "w": (w, True)}, accumulate, kernel, out)


def _general(
    op: str, factors: dict[str, tuple[Array, bool]], accumulate: bool, kernel: str, out: Array | None
) -> Array:
    """The product of two factors, each of which may be given as its transpose."""
    (a_name, (a, a_transposed)), (b_name, (b, b_transposed)) = factors.items()
    a_axes, b_axes = ("kn" if a_transposed else "nk"), ("mk" if b_transposed else "km")
    a = checks.array(op, a_name, a, a_axes)
    b = checks.array(op, b_name, b, b_axes, a.dtype)
    s = checks.sizes(op, **{a_name: (a, a_axes), b_name: (b, b_axes)})
    run = _product(op, "product", kernel, a)
    c = checks.output(op, "out", out, (s["n"], s["m"]), a)
    checks.apart(op, {"out": out}, {a_name: a, b_name: b})
    if c.size:
        launch(op, run, a, bool(a_transposed), b, bool(b_transposed), bool(accumulate), *_cut(a), c, outputs=(c,))
    return c


def matmul_backward_weights(
    x: Array,
    dy: Array,
    *,
    bias: bool = True,
    accumulate: bool = False,
    kernel: str = "blas",
    out: Array | None = None,
    out_bias: Array | None = None,
    work: Array | None = None,
) -> tuple[Array, Array | None]:
    """Gradients of weights and bias: dw = x' dy, db = the sum of dy's rows.

    Parameters
    ----------
    x : (n, k)
        As it was given to `matmul`.
    dy : (n, m)
    bias : bool
        Whether db is wanted.
    accumulate : bool
        Add to what `out` and `out_bias` hold, which must then be given.
    kernel : {"blas", "loops"}
    out : (k, m), optional
    out_bias : (m,), optional
    work : (matmul_work_size(x, m),), optional
        Scratch, of x's dtype.

    Returns
    -------
    dw : (k, m) array
    db : (m,) array, or None without bias

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.matmul_backward_weights(np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]]))
    (array([[11.]]), array([7.]))
    """
    op = "matmul_backward_weights"
    x = checks.array(op, "x", x, "nk")
    dy = checks.array(op, "dy", dy, "nm", x.dtype)
    s = checks.sizes(op, x=(x, "nk"), dy=(dy, "nm"))
    if accumulate and (out is None or (bias and out_bias is None)):
        raise ValueError(f"{op}: accumulate=True adds to out and out_bias; pass them")
    run = _product(op, "backward_weights", kernel, x)
    dw = checks.output(op, "out", out, (s["k"], s["m"]), x)
    db = checks.output(op, "out_bias", out_bias, (s["m"],), x) if bias else checks.NO_WEIGHTS[x.dtype]
    size = matmul_work_size(x, s["m"])
    scratch = checks.NO_WEIGHTS[x.dtype]
    if size or work is not None:
        scratch = checks.output(op, "work", work, (size,), x)
    checks.apart(op, {"out": out, "out_bias": out_bias if bias else None, "work": work}, {"x": x, "dy": dy})
    if dw.size or db.size:
        launch(op, run, x, dy, bool(accumulate), *_cut(x), scratch, dw, db, outputs=(scratch, dw, db))
    return dw, db if bias else None


def matmul_work_size(x: Array, columns: int, rows: int | None = None) -> int:
    """How many numbers of scratch `matmul_backward_weights` takes for x (n, k) and dy of so many columns.

    `rows` asks for another n, the most that can come say: with more rows it is never less.

    A GPU cuts many rows in slices, to have enough to do where the weights are few; a CPU needs none.
    """
    rows, depth = x.shape[0] if rows is None else rows, x.shape[1]
    slices = slices_of_depth(rows, depth, columns) if backend.of(x) == "cuda" else 1
    return slices * (depth + 1) * columns if slices > 1 else 0


def matmul_row_work_size(x: Array, columns: int) -> int:
    """How many numbers of scratch `matmul` takes for x (n, k) and w of so many columns; none but for one row on a CPU.

    For one row w is read once and that is all: threads add up its rows, in the order in which they lie in memory.
    """
    depth = x.shape[1]
    if x.shape[0] != 1 or depth * columns < ROW_PAYS or backend.of(x) != "numba":
        return 0
    return ROW_SLICES * columns


def _cut(array: Array) -> tuple[int, bool]:
    """How a CPU cuts a product of arrays like this one: for how many threads, and whether in unpacked blocks."""
    return backend.threads(array), backend.multiplies_unpacked(array)


def _product(op: str, name: str, kernel: str, array: Array) -> backend.Kernel:
    checks.name_of(op, "kernel", kernel, ("blas", "loops"))
    return backend.kernel("matmul", name if kernel == "blas" else f"{name}_loops", array)
