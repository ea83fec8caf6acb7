"""Elements brought between -limit and limit; NaN stays NaN."""

import numpy as np


def forward(x, limit, y):
    np.clip(x, -limit, limit, out=y)
