"""Softmax cross-entropy on CUDA: labels are checked, rows worked on, losses added up.

Where a label is bad, `total` becomes NaN here, since nobody waits for the device to raise.
"""

from .._cuda import BLOCK, Kernel, Launch, Source, blocks, real, side_of_row

SHAPE = "i64 rows, i64 columns, int side"
WEIGHTS = "const real* class_weights, const real* weights"
OUTPUTS = "real* losses, real* dlogits"

source = Source(
    "softmax_cross_entropy",
    {
        "check": Kernel("const i64* labels, i64 rows, i64 columns, i64 ignored, int skip, i64* status", 24),
        "add_weights": Kernel(
            f"const i64* labels, {WEIGHTS}, i64 rows, i64 ignored, int skip, const i64* status, double* whole", 64
        ),
        "finish": Kernel(
            "const real* losses, i64 rows, const double* scale, const double* whole, const i64* status, double* total",
            48,
        ),
        "forward": Kernel(
            f"const real* logits, const i64* labels, {SHAPE}, const double* scale, const i64* status, {OUTPUTS}", 64
        ),
        "forward_weighted": Kernel(
            f"const real* logits, const i64* labels, {WEIGHTS}, double smoothing, i64 ignored, int skip, {SHAPE}, "
            f"const double* scale, const double* whole, const i64* status, {OUTPUTS}",
            80,
        ),
        "forward_soft": Kernel(
            f"const real* logits, const real* targets, {WEIGHTS}, double smoothing, {SHAPE}, const double* scale, "
            f"const double* whole, {OUTPUTS}",
            64,
        ),
    },
)


def _rows(logits):
    """Rows, columns, threads side by side in a row; and how many blocks they make."""
    rows, columns = logits.shape
    side = side_of_row(columns)
    return (rows, columns, side), blocks(rows, BLOCK // side)


@source.launches
def forward(logits, labels, scale, losses, total, status, dlogits):
    shape, grid = _rows(logits)
    rows, columns, _ = shape
    yield Launch("check", blocks(rows, BLOCK), (labels, rows, columns, 0, False, status), variant=real(logits))
    yield Launch("forward", grid, (logits, labels, *shape, scale, status, losses, dlogits))
    yield Launch("finish", 1, (losses, rows, scale, None, status, total))


@source.launches
def forward_weighted(
    logits, labels, class_weights, weights, smoothing, ignored, skip, scale, losses, whole, total, status, dlogits
):
    shape, grid = _rows(logits)
    rows, columns, _ = shape
    by = class_weights, weights
    arguments = labels, rows, columns, ignored, skip, status
    yield Launch("check", blocks(rows, BLOCK), arguments, variant=real(logits))
    yield Launch("add_weights", 1, (labels, *by, rows, ignored, skip, status, whole))
    arguments = logits, labels, *by, smoothing, ignored, skip, *shape, scale, whole, status, losses, dlogits
    yield Launch("forward_weighted", grid, arguments)
    yield Launch("finish", 1, (losses, rows, scale, whole, status, total))


@source.launches
def forward_soft(logits, targets, class_weights, weights, smoothing, scale, losses, whole, total, dlogits):
    shape, grid = _rows(logits)
    rows, by = shape[0], (class_weights, weights)
    yield Launch("add_weights", 1, (None, *by, rows, 0, False, None, whole))
    arguments = logits, targets, *by, smoothing, *shape, scale, whole, losses, dlogits
    yield Launch("forward_soft", grid, arguments)
    yield Launch("finish", 1, (losses, rows, scale, whole, None, total))
