"""Activations: y = f(x) and dx = g(dy, y) for one number each, and one loop that all share.

A kernel is compiled for each activation, and only when it is used: all of them in one would take
2 s to compile.
"""

from numba import prange

from .._numba import CHUNK, chunk, chunks, inline, kernel
from .._numba_math import sigmoid as _sigmoid
from .._numba_math import tanh as _tanh

# The constants come as arguments, in the arrays' precision: a bare 0 or 1 would make Numba compute
# in float64. Comparisons are written so that NaN fails them and passes through.


@inline
def relu_of(x, slope, zero):
    return zero if x < zero else x


@inline
def leaky_relu_of(x, slope, zero):
    return slope * x if x < zero else x


@inline
def sigmoid_of(x, slope, zero):
    return _sigmoid(x)


@inline
def tanh_of(x, slope, zero):
    return _tanh(x)


@inline
def _relu_gradient(dy, y, slope, zero, one):
    return zero if y <= zero else dy


@inline
def _leaky_relu_gradient(dy, y, slope, zero, one):
    return slope * dy if y <= zero else dy


@inline
def _sigmoid_gradient(dy, y, slope, zero, one):
    return dy * (y * (one - y))


@inline
def _tanh_gradient(dy, y, slope, zero, one):
    return dy * (one - y * y)


def _forward(name, f):
    @chunk
    def forward_chunk(x, slope, y):
        leak, zero = y.dtype.type(slope), y.dtype.type(0)
        for i in range(y.size):
            y[i] = f(x[i], leak, zero)

    @kernel(name=name)
    def forward(x, slope, y):
        for c in prange(chunks(y.size)):
            at = c * CHUNK
            forward_chunk(x[at : at + CHUNK], slope, y[at : at + CHUNK])

    return forward


def _backward(name, g):
    @chunk
    def backward_chunk(dy, y, slope, dx):
        leak, zero, one = y.dtype.type(slope), y.dtype.type(0), y.dtype.type(1)
        for i in range(dx.size):
            dx[i] = g(dy[i], y[i], leak, zero, one)

    @kernel(name=name)
    def backward(dy, y, slope, dx):
        for c in prange(chunks(dx.size)):
            at = c * CHUNK
            backward_chunk(dy[at : at + CHUNK], y[at : at + CHUNK], slope, dx[at : at + CHUNK])

    return backward


relu = _forward("relu", relu_of)
leaky_relu = _forward("leaky_relu", leaky_relu_of)
sigmoid = _forward("sigmoid", sigmoid_of)
tanh = _forward("tanh", tanh_of)

relu_backward = _backward("relu_backward", _relu_gradient)
leaky_relu_backward = _backward("leaky_relu_backward", _leaky_relu_gradient)
sigmoid_backward = _backward("sigmoid_backward", _sigmoid_gradient)
tanh_backward = _backward("tanh_backward", _tanh_gradient)
