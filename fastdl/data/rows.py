"""Temporary."""

from __future__ import annotations

from typing import Any

import numpy as np


class Rows:
    def __init__(self, x: Any, numbers: Any = None, prepare: Any = None):
        self._x, self._n, self._p = x, numbers, prepare
        self.shape = (len(self), *x.shape[1:])
        self.dtype = x.dtype
        self.ndim = x.ndim

    def __len__(self) -> int:
        return len(self._x) if self._n is None else len(self._n)

    def __getitem__(self, key: Any) -> Any:
        n = key if self._n is None else self._n[key]
        got = np.ascontiguousarray(np.asarray(self._x[n]))
        return self._p(got) if self._p else got
