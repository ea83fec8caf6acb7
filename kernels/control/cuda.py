"""What changes from step to step, handed to a GPU by one launch. (On a CPU the host writes it where it is read.)

Words of 8 bytes: the first seven are integers (draw, four of them; start; status; count), the others float64 (sum,
loss, scale, and the optimizer's scalars).
"""

from .._cuda import WARP, Kernel, Launch, Source

STATUS, COUNT, SUM, LOSS, WORDS = 5, 6, 7, 8, 26

source = Source(
    "control",
    {"tick": Kernel("Record record, i64* control", 24, block=WARP)},
    [{"STATUS": str(STATUS), "COUNT": str(COUNT), "SUM": str(SUM), "LOSS": str(LOSS), "WORDS": str(WORDS)}],
)


@source.launches
def tick(record, control):
    """control = record, but for its status; its sum, which grows by the last batch's rows times loss; and its count.

    The count grows by 1 if there was a last batch, and no bad label in it or before it.

    record (WORDS + 2,) int64, on the host: the words, then how many rows the last batch had, as float64, or
    0 if its loss has been added, then whether the loss is kept for a further part of a batch.
    """
    yield Launch("tick", 1, (record, control), variant=source.variants[0])
