"""Philox4x32-10 in Numba: one block, for the kernels that draw."""

import numpy as np
from numba import njit

from .._numba import OPTIONS

u64 = np.uint64
LOW = u64(0xFFFFFFFF)


# The 32-bit words ride in 64-bit lanes, so that a product needs no shuffling: 250 us for a million
# words where 32-bit variables took 590. Inlined by Numba, not LLVM: else the ten rounds stay a loop
# inside the vectorised one, which then is not (2,300 us).
@njit(inline="always", **OPTIONS)
def block(c0, c1, c2, c3, k0, k1):
    """The four words of block (c0, c1, c2, c3) under key (k0, k1): 32-bit words held in uint64."""
    for _ in range(10):
        a = u64(0xD2511F53) * (c0 & LOW)  # what the high halves hold matters nowhere else
        b = u64(0xCD9E8D57) * (c2 & LOW)
        c0, c1 = (b >> u64(32)) ^ c1 ^ k0, b
        c2, c3 = (a >> u64(32)) ^ c3 ^ k1, a
        k0 = (k0 + u64(0x9E3779B9)) & LOW
        k1 = (k1 + u64(0xBB67AE85)) & LOW
    return c0 & LOW, c1 & LOW, c2 & LOW, c3 & LOW
