"""Dropout on CUDA: the CPU's masks to the bit, drawn where they are applied."""

from .._cuda import BLOCK, Kernel, Launch, Source, blocks, tile

STREAM = "u32 stream, i64 width, const i64* draw"

source = Source(
    "dropout",
    {
        "mask": Kernel(f"u32 threshold, {STREAM}, u8* kept, i64 n", 24),
        "forward": Kernel(f"const real* x, u32 threshold, real scale, {STREAM}, u8* kept, real* y, i64 n", 32),
        "drawn": Kernel(f"const real* x, u32 threshold, real scale, {STREAM}, real* y, i64 n", 32),
        "backward": Kernel("const real* dy, const u8* kept, real scale, real* dx, i64 n", 56),
        "predict": Kernel("const real* x, real keep, real* y, i64 n", 40),
    },
)


def _drawing(n: int) -> int:
    """Blocks that draw n elements, which may begin within one tile of 64 and end within another."""
    return blocks((n // 64 + 2) * 16, BLOCK) if n else 0


@source.launches
def mask(threshold, stream, width, draw, mask):
    yield Launch("mask", _drawing(mask.size), (threshold, stream, width, draw, mask, mask.size))


@source.launches
def forward(x, threshold, scale, stream, width, draw, kept, y):
    yield Launch("forward", _drawing(x.size), (x, threshold, scale, stream, width, draw, kept, y, x.size))


@source.launches
def drawn(x, threshold, scale, stream, width, draw, y):
    yield Launch("drawn", _drawing(x.size), (x, threshold, scale, stream, width, draw, y, x.size))


@source.launches
def backward(dy, kept, scale, dx):
    yield Launch("backward", blocks(dy.size, tile(dy)), (dy, kept, scale, dx, dy.size))


@source.launches
def predict(x, keep, y):
    yield Launch("predict", blocks(x.size, tile(x)), (x, keep, y, x.size))
