"""The Euclidean norm of a flat array x (n,), and the factor that brings it down to a limit.

norm (1,) float64 = sqrt(sum x_i^2); factor (1,) float64 = min(1, limit / norm). `sums` is scratch of
the compiled kernels.
"""

import numpy as np


def forward(x, limit, sums, norm, factor):
    top = np.abs(x).max().astype(np.float64) if x.size else 0.0
    if np.isfinite(top) and top > 0:  # scaled, so that no square overflows or vanishes
        top *= np.sqrt(np.square(x / top).sum())
    norm[0] = top
    factor[0] = limit / top if not top <= limit else 1.0
