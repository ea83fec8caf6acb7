"""Activations: y = f(x) and dx = g(dy, y or x) for one number each, and one loop that all share.

A kernel is compiled for each activation, and only when it is used: all of them in one would take
2 s to compile.
"""

from numba import prange

from .._numba import chunk, chunks, inline, kernel
from .._numba_math import expm1, normal
from .._numba_math import sigmoid as _sigmoid
from .._numba_math import softplus as _softplus
from .._numba_math import tanh as _tanh
from .._pieces import CHUNK
from .._streaming import streamed, streamed_pair

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
def elu_of(x, alpha, zero):
    return x if x > zero else alpha * expm1(x)


@inline
def gelu_of(x, slope, zero):
    return x * normal(x)[0]


@inline
def silu_of(x, slope, zero):
    return x * _sigmoid(x)


@inline
def softplus_of(x, slope, zero):
    return _softplus(x)


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


@inline
def _elu_gradient(dy, y, alpha, zero, one):
    return dy if y > zero else dy * (y + alpha)


@inline
def _gelu_gradient(dy, x, slope, zero, one):
    below, density = normal(x)
    return dy * (below + x * density)


@inline
def _silu_gradient(dy, x, slope, zero, one):
    s = _sigmoid(x)
    return dy * (s * (one + x * (one - s)))


@inline
def _softplus_gradient(dy, x, slope, zero, one):
    return dy * _sigmoid(x)


def _forward(name, f, *, cheap=False):
    """A kernel of f; it streams what no cache will hold if f is cheap, else the arithmetic is what one waits for."""

    @chunk
    def forward_chunk(x, constant, y):
        c, zero = y.dtype.type(constant), y.dtype.type(0)
        for i in range(y.size):
            y[i] = f(x[i], c, zero)

    def over_chunks(put):
        def forward(x, constant, y):
            for part in prange(chunks(y.size)):
                at = part * CHUNK
                put(x[at : at + CHUNK], constant, y[at : at + CHUNK])

        return forward

    streaming = over_chunks(streamed(forward_chunk)) if cheap else None
    return kernel(name=name, streaming=streaming)(over_chunks(forward_chunk))


def _backward(name, g, *, cheap=False):
    """A kernel of the gradient g, as above."""

    @chunk
    def backward_chunk(dy, saved, constant, dx):
        c, zero, one = dx.dtype.type(constant), dx.dtype.type(0), dx.dtype.type(1)
        for i in range(dx.size):
            dx[i] = g(dy[i], saved[i], c, zero, one)

    def over_chunks(put):
        def backward(dy, saved, constant, dx):
            for part in prange(chunks(dx.size)):
                at = part * CHUNK
                put(dy[at : at + CHUNK], saved[at : at + CHUNK], constant, dx[at : at + CHUNK])

        return backward

    streaming = over_chunks(streamed_pair(backward_chunk)) if cheap else None
    return kernel(name=name, streaming=streaming)(over_chunks(backward_chunk))


relu = _forward("relu", relu_of, cheap=True)
leaky_relu = _forward("leaky_relu", leaky_relu_of, cheap=True)
sigmoid = _forward("sigmoid", sigmoid_of)
tanh = _forward("tanh", tanh_of)
elu = _forward("elu", elu_of)
gelu = _forward("gelu", gelu_of)
silu = _forward("silu", silu_of)
softplus = _forward("softplus", softplus_of)

relu_backward = _backward("relu_backward", _relu_gradient, cheap=True)
leaky_relu_backward = _backward("leaky_relu_backward", _leaky_relu_gradient, cheap=True)
sigmoid_backward = _backward("sigmoid_backward", _sigmoid_gradient, cheap=True)
tanh_backward = _backward("tanh_backward", _tanh_gradient, cheap=True)
elu_backward = _backward("elu_backward", _elu_gradient, cheap=True)
gelu_backward = _backward("gelu_backward", _gelu_gradient)
silu_backward = _backward("silu_backward", _silu_gradient)
softplus_backward = _backward("softplus_backward", _softplus_gradient)
