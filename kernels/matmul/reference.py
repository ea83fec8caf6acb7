"""y = f(x w + b) and its gradients, in NumPy.

x (n, k), w (k, m), b (m,) or (0,) for none, y (n, m). `accumulate` adds to what an output holds; `threads` and
`unpacked` tell a CPU how to cut the work, `work` is scratch of the CUDA kernels. The `_loops` names are the same
kernels without BLAS; here they are the same functions.
"""

import numpy as np

from ..activation import reference as activation


def forward(x, w, b, slope, threads, unpacked, y):
    np.matmul(x, w, out=y)
    if b.size:
        y += b


def forward_relu(x, w, b, slope, threads, unpacked, y):
    forward(x, w, b, slope, threads, unpacked, y)
    activation.relu(y, slope, y)


def forward_leaky_relu(x, w, b, slope, threads, unpacked, y):
    forward(x, w, b, slope, threads, unpacked, y)
    activation.leaky_relu(y, slope, y)


def forward_sigmoid(x, w, b, slope, threads, unpacked, y):
    forward(x, w, b, slope, threads, unpacked, y)
    activation.sigmoid(y, slope, y)


def forward_tanh(x, w, b, slope, threads, unpacked, y):
    forward(x, w, b, slope, threads, unpacked, y)
    activation.tanh(y, slope, y)


def forward_gelu(x, w, b, slope, threads, unpacked, y):
    forward(x, w, b, slope, threads, unpacked, y)
    activation.gelu(y, slope, y)


def row(x, w, b, work, y):
    """y = x w + b of one row; on a CPU in as many slices of the depth as `work` (slices * m,) has room for."""
    forward(x, w, b, 0, 0, False, y)


def product(a, a_transposed, b, b_transposed, accumulate, threads, unpacked, c):
    """c (+)= a b, where a and b may each be given as its transpose."""
    c[...] = (a.T if a_transposed else a) @ (b.T if b_transposed else b) + (c if accumulate else 0)


def backward_weights(x, dy, accumulate, threads, unpacked, work, dw, db):
    """dw = x' dy, and db = the sum of dy's rows unless db is (0,)."""
    dw[...] = x.T @ dy + (dw if accumulate else 0)
    if db.size:
        db[...] = dy.sum(axis=0) + (db if accumulate else 0)


forward_loops = forward
forward_relu_loops = forward_relu
forward_leaky_relu_loops = forward_leaky_relu
forward_sigmoid_loops = forward_sigmoid
forward_tanh_loops = forward_tanh
forward_gelu_loops = forward_gelu
product_loops = product
backward_weights_loops = backward_weights
