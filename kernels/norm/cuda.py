"""The norm on CUDA: a block a chunk, and one that adds them up in order."""

from .._cuda import Kernel, Launch, Source
from .._pieces import CHUNK, chunks

source = Source(
    "norm",
    {
        "add_squares": Kernel("const real* x, i64 n, i64 chunk, double* sums", 32),
        "finish": Kernel(
            "const real* x, i64 n, i64 chunks, double limit, const double* sums, double* norm, double* factor", 40
        ),
    },
)


@source.launches
def forward(x, limit, sums, norm, factor):
    yield Launch("add_squares", chunks(x.size), (x, x.size, CHUNK, sums))
    yield Launch("finish", 1, (x, x.size, chunks(x.size), limit, sums, norm, factor))
