"""Activations y = f(x), and their gradients dx = dy f'(x) written in terms of y, or of x where y does not tell.

Every function takes flat arrays (n,) and one number: the slope of the leaky ReLU, the depth of ELU;
the others ignore it. A gradient takes what was `saved`: y, or x for gelu, silu and softplus. The
output may be the first argument.
"""

import numpy as np
from scipy.special import ndtr  # P(X <= x) for a standard normal X


def relu(x, constant, y):
    np.maximum(x, 0, out=y)


def relu_backward(dy, saved, constant, dx):
    dx[...] = np.where(saved <= 0, 0, dy)


def leaky_relu(x, constant, y):
    y[...] = np.where(x < 0, x * x.dtype.type(constant), x)


def leaky_relu_backward(dy, saved, constant, dx):
    dx[...] = np.where(saved <= 0, dy * dy.dtype.type(constant), dy)


def sigmoid(x, constant, y):
    e = np.exp(-np.abs(x))  # of a negative number only, so that nothing overflows
    y[...] = np.where(x < 0, e, 1) / (1 + e)


def sigmoid_backward(dy, saved, constant, dx):
    dx[...] = dy * (saved * (1 - saved))


def tanh(x, constant, y):
    np.tanh(x, out=y)


def tanh_backward(dy, saved, constant, dx):
    dx[...] = dy * (1 - saved * saved)


def elu(x, constant, y):
    y[...] = np.where(x > 0, x, x.dtype.type(constant) * np.expm1(np.minimum(x, 0)))


def elu_backward(dy, saved, constant, dx):
    dx[...] = dy * np.where(saved > 0, 1, saved + saved.dtype.type(constant))


def gelu(x, constant, y):
    y[...] = x * ndtr(x)


def gelu_backward(dy, saved, constant, dx):
    dx[...] = dy * (ndtr(saved) + saved * np.exp(-saved * saved / 2) / np.sqrt(2 * np.pi))


def silu(x, constant, y):
    s = np.empty_like(x)
    sigmoid(x, constant, s)
    np.multiply(x, s, out=y)


def silu_backward(dy, saved, constant, dx):
    s = np.empty_like(saved)
    sigmoid(saved, constant, s)
    dx[...] = dy * (s * (1 + saved * (1 - s)))


def softplus(x, constant, y):
    y[...] = np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def softplus_backward(dy, saved, constant, dx):
    s = np.empty_like(saved)
    sigmoid(saved, constant, s)
    np.multiply(dy, s, out=dx)
