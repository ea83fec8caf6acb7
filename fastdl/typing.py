"""Names for types."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
"""Of an array, or of one row where that is said."""
