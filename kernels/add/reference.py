"""The sum y = a + b of two arrays, element by element."""

import numpy as np


def forward(a, b, y):
    np.add(a, b, out=y)
