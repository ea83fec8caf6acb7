"""CuPy's own arrays over the host's memory: made without a driver, to be dispatched, checked, sealed and sliced.

What CuPy computes by itself cannot run on them; what fastdl asks of it stands here, by NumPy.
"""

import ctypes

import numpy as np


def asarray(array, dtype=None):
    """A CuPy array over a NumPy array's memory, or itself."""
    import cupy
    from cupy.cuda import MemoryPointer, UnownedMemory

    if isinstance(array, cupy.ndarray):
        return array
    array = np.ascontiguousarray(array, dtype)
    memory = UnownedMemory(array.ctypes.data, max(array.nbytes, 1), array, 0)
    return cupy.ndarray(array.shape, array.dtype, MemoryPointer(memory, 0))


def behind(array):
    """The NumPy array over a CuPy array's memory."""
    if not array.flags.c_contiguous:
        raise ValueError("only contiguous arrays can be seen so")
    memory = (ctypes.c_char * max(array.nbytes, 1)).from_address(array.data.ptr)
    return np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)


def read(array):
    return array if isinstance(array, np.ndarray) else behind(array).copy()


def write(array, values):
    target = array if isinstance(array, np.ndarray) else behind(array)
    target[...] = values if isinstance(values, (np.ndarray, int, float)) else read(values)


def fill(array, value):
    write(array, value)


def copy(array):
    return array.copy() if isinstance(array, np.ndarray) else asarray(read(array))


def empty(shape, dtype=np.float64):
    return asarray(np.full(shape, 7, dtype))


def zeros(shape, dtype=np.float64):
    return asarray(np.zeros(shape, dtype))


def ones(shape, dtype=np.float64):
    return asarray(np.ones(shape, dtype))


def full(shape, value, dtype=np.float64):
    return asarray(np.full(shape, value, dtype))


def array(values, dtype=None):
    return asarray(np.array(values, dtype))
