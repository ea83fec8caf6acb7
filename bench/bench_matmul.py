"""Products by BLAS and by the blocked loops that stand beside it."""

from functools import partial

from fastdl import ops
from fastdl.bench import Cost, inputs, unset

KERNELS = ("blas", "loops")


def cost(shape, read, written):
    return Cost(
        2 * shape.rows * shape.inputs * shape.outputs, sum(a.nbytes for a in read), sum(a.nbytes for a in written)
    )


def bench_forward(compare_op, shape):
    x, w, b, dy = inputs.matmul(shape)
    call = partial(ops.matmul, x, w, b, activation="relu", out=unset(dy.shape))
    calls = {kernel: partial(call, kernel=kernel) for kernel in KERNELS}
    compare_op("matmul + bias + relu", shape, cost(shape, [x, w, b], [dy]), calls)


def bench_backward_input(compare_op, shape):
    x, w, _, dy = inputs.matmul(shape)
    call = partial(ops.matmul_backward_input, dy, w, out=unset(x.shape))
    calls = {kernel: partial(call, kernel=kernel) for kernel in KERNELS}
    compare_op("matmul backward input", shape, cost(shape, [dy, w], [x]), calls)


def bench_backward_weights(compare_op, shape):
    x, w, b, dy = inputs.matmul(shape)
    call = partial(ops.matmul_backward_weights, x, dy, out=unset(w.shape), out_bias=unset(b.shape))
    calls = {kernel: partial(call, kernel=kernel) for kernel in KERNELS}
    compare_op("matmul backward weights", shape, cost(shape, [x, dy], [w, b]), calls)
