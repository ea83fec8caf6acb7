"""Products: by BLAS and by the blocked loops that stand beside it on a CPU; on a GPU both are the project's kernel."""

from functools import partial

from fastdl import backend, ops
from fastdl.bench import Cost, inputs, unset
from fastdl.bench.case import of_ops


def cases(shape, to):
    """Forward, the gradient of the input, and that of the weights."""
    x, w, b, dy = map(to, inputs.matmul(shape))
    y, dx, dw, db = (to(unset(a.shape)) for a in (dy, x, w, b))
    work = to(unset((ops.matmul_work_size(x, shape.outputs),)))
    kernels = ("cuda",) if backend.on_cuda(x) else ("blas", "loops")

    def case(op, call, read, written, part):
        flops = 2 * shape.rows * shape.inputs * shape.outputs
        cost = Cost(flops, sum(a.nbytes for a in read), sum(a.nbytes for a in written))
        calls = {kernel: call if kernel == "cuda" else partial(call, kernel=kernel) for kernel in kernels}
        return of_ops(op, shape, cost, calls, written, part)

    forward = partial(ops.matmul, x, w, b, activation="relu", out=y)
    yield case("matmul + bias + relu", forward, [x, w, b], [y], "forward")
    backward_input = partial(ops.matmul_backward_input, dy, w, out=dx)
    yield case("matmul backward input", backward_input, [dy, w], [dx], "input")
    backward_weights = partial(ops.matmul_backward_weights, x, dy, out=dw, out_bias=db, work=work)
    yield case("matmul backward weights", backward_weights, [x, dy], [dw, db], "weights")
