"""Softmax on CUDA: one pass for a row's largest and its sum, one that maps it."""

from .._cuda import BLOCK, Kernel, Launch, Source, blocks, side_of_row

source = Source(
    "softmax",
    {
        "forward": Kernel("const real* x, real* y, i64 rows, i64 columns, int side", 64),
        "backward": Kernel("const real* dy, const real* y, real* dx, i64 rows, i64 columns, int side", 32),
    },
)


@source.launches
def forward(x, y):
    rows, columns = x.shape
    side = side_of_row(columns)
    yield Launch("forward", blocks(rows, BLOCK // side), (x, y, rows, columns, side))


@source.launches
def backward(dy, y, dx):
    rows, columns = dy.shape
    side = side_of_row(columns)
    yield Launch("backward", blocks(rows, BLOCK // side), (dy, y, dx, rows, columns, side))
