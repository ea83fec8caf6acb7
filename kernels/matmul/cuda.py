"""Products on CUDA: one kernel for all, whose tiles are large where there are enough of them to fill a GPU."""

from .._cuda import Kernel, Launch, Source, blocks
from .._pieces import slices_of_depth

ENOUGH = 128  # tiles
DEPTH = 8  # of a slice that goes through shared memory

source = Source(
    "matmul",
    {
        "product": Kernel(
            "const real* a, int turned_a, const real* b, int turned_b, const real* bias, int activation, real slope, "
            "int accumulate, i64 n, i64 k, i64 m, i64 deep, int slices, real* c, real* db, real* partial",
            128,
        ),
        "add_slices": Kernel(
            "const real* partial, int slices, int accumulate, i64 size, i64 more, real* c, real* db", 64
        ),
    },
    [{"real": "float", "TILE": "64"}, {"real": "float", "TILE": "128"}, {"real": "double", "TILE": "64"}],
)


def _product(
    a, b, c, turned_a=False, turned_b=False, bias=None, activation=0, slope=0.0, accumulate=False, db=None, work=None
):
    """c (n, m) = f(a b + bias), in slices of the depth if there is work room for them."""
    n, m = c.shape
    k = a.shape[0] if turned_a else a.shape[1]
    tile = 128 if a.itemsize == 4 and blocks(n, 128) * blocks(m, 128) >= ENOUGH else 64
    slices = slices_of_depth(k, n, m) if work is not None and work.size else 1
    deep = blocks(blocks(k, slices), DEPTH) * DEPTH
    arguments = a, turned_a, b, turned_b, bias, activation, slope, accumulate and slices == 1
    arguments += n, k, m, deep, slices, c, db, work
    variant = {"TILE": str(tile)}
    down = max(blocks(n, tile), db is not None)  # db is wanted of no rows as well
    yield Launch("product", down * blocks(m, tile) * slices, arguments, variant=variant)
    if slices > 1:
        more = 0 if db is None else m
        arguments = work, slices, accumulate, n * m, more, c, db
        yield Launch("add_slices", blocks(n * m + more, 256), arguments, variant=variant)


def _forward(activation):
    @source.launches
    def forward(x, w, b, slope, threads, unpacked, y):
        yield from _product(x, w, y, bias=b, activation=activation, slope=slope)

    return forward


@source.launches
def row(x, w, b, work, y):  # a GPU needs no way of its own for it
    yield from _product(x, w, y, bias=b)


@source.launches
def product(a, a_transposed, b, b_transposed, accumulate, threads, unpacked, c):
    yield from _product(a, b, c, a_transposed, b_transposed, accumulate=accumulate)


@source.launches
def backward_weights(x, dy, accumulate, threads, unpacked, work, dw, db):
    db = db if db.size else None
    yield from _product(x, dy, dw, turned_a=True, accumulate=accumulate, db=db, work=work)


forward, forward_relu, forward_leaky_relu, forward_sigmoid, forward_tanh, forward_gelu = map(_forward, range(6))

# The CPU has a second set of kernels, without BLAS; here it is the same one.
forward_loops, forward_relu_loops, forward_leaky_relu_loops = forward, forward_relu, forward_leaky_relu
forward_sigmoid_loops, forward_tanh_loops, forward_gelu_loops = forward_sigmoid, forward_tanh, forward_gelu
product_loops, backward_weights_loops = product, backward_weights
