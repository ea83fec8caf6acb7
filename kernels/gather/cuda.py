"""Rows of an array on CUDA: copied in the largest words that fit, a few rows a block."""

from .._cuda import BLOCK, Kernel, Launch, Source, address, blocks, lanes

WORDS = {1: "u8", 2: "unsigned short", 4: "u32", 8: "u64", 16: "uint4"}  # by bytes

source = Source(
    "gather",
    {"forward": Kernel("const word* data, const i64* order, const i64* start, word* out, i64 rows, i64 words", 40)},
    [{"word": word} for word in WORDS.values()],
)


@source.launches
def forward(data, order, start, out):
    rows, columns = out.shape
    bytes_of_row = columns * out.itemsize
    whole = bytes_of_row | address(data) | address(out)
    size = max(size for size in WORDS if whole % size == 0)
    words = bytes_of_row // size
    side = lanes(words, BLOCK)
    shape = side, BLOCK // side
    arguments = data, order, start, out, rows, words
    yield Launch("forward", blocks(rows, shape[1]), arguments, shape, {"word": WORDS[size]})
