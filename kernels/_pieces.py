"""How work is cut into pieces, by its shape alone: kernels and whoever makes their scratch must both know.

Since the pieces do not depend on the number of threads, neither do the bits of what is added up
piece by piece.
"""

CHUNK = 1 << 14  # elements of a piece of element-wise work
BLOCK = 1 << 15  # elements of a block of rows that a batch norm adds up apart, at least
MOST = 64  # blocks: more threads than that do not help


def chunks(size):
    """How many chunks `size` elements make."""
    return (size + CHUNK - 1) // CHUNK


def rows_of_chunk(columns):
    """How many whole rows go into a chunk."""
    return max(1, CHUNK // max(1, columns))


def chunks_of_rows(rows, columns):
    """How many chunks make up so many rows."""
    step = rows_of_chunk(columns)
    return (rows + step - 1) // step


def blocks_of_rows(rows, columns):
    """How many blocks of rows: a power of two, so that it never falls as rows are added."""
    parts = 1
    while parts < MOST and rows >= 32 * parts and rows * columns >= 2 * parts * BLOCK:
        parts *= 2
    return parts


def blocks_of_values(rows, pixels):
    """In how many blocks the values of a channel of images are cut on CUDA: a power of two, as above."""
    parts = 1
    while parts < MOST and rows * pixels >= 4096 * parts:
        parts *= 2
    return parts


def slices_of_depth(depth, rows, columns):
    """In how many slices CUDA cuts the depth of a product, of so many rows and columns, that has few tiles."""
    tiles = -(-rows // 64) * -(-columns // 64)
    return max(1, min(MOST, depth // 256, 512 // tiles)) if tiles else 1
