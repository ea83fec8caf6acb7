"""Losses on CUDA: one pass over a few whole rows a block, and one block that adds up what they found."""

from .._cuda import Kernel, Launch, Launcher, Source, real
from .._pieces import chunks_of_rows, rows_of_chunk

NAMES = "mse", "l1", "huber", "hinge", "bce"
SHAPE = "const real* weights, i64 rows, i64 columns"

source = Source(
    "losses",
    {
        "add_weights": Kernel("const real* weights, i64 rows, double* whole", 48),
        "finish": Kernel(
            "const double* sums, i64 parts, const double* scale, i64 rows, i64 columns, const real* weights, "
            "const double* whole, double* total",
            48,
        ),
    }
    | {
        name: Kernel(
            f"const real* y, const real* t, real delta, {SHAPE}, i64 step, const double* scale, const double* whole, "
            "double* sums, real* dy",
            56,
        )
        for name in NAMES
    },
)


def _loss(name: str) -> Launcher:
    @source.launches
    def loss(y, t, delta, weights, scale, sums, total, dy):
        rows, columns = y.shape
        parts, weighs = chunks_of_rows(rows, columns), weights if weights.size else None
        whole = sums[-1:]  # that of the weights
        if weights.size:
            yield Launch("add_weights", 1, (weights, rows, whole))
        step = rows_of_chunk(columns)
        yield Launch(name, parts, (y, t, delta, weighs, rows, columns, step, scale, whole, sums, dy))
        yield Launch("finish", 1, (sums, parts, scale, rows, columns, weighs, whole, total), variant=real(y))

    return loss


mse, l1, huber, hinge, bce = map(_loss, NAMES)
