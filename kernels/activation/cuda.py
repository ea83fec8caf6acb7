"""Activations on CUDA: one pass, four packs of 16 bytes a thread and array."""

from .._cuda import Kernel, Launch, Launcher, Source, blocks, tile

NAMES = "relu", "leaky_relu", "sigmoid", "tanh", "elu", "gelu", "silu", "softplus"
CALLED = {"tanh": "tanh_"}  # in the source: C has a function of that name

REGISTERS = {"tanh": 64, "gelu": 72, "softplus": 64}  # those with a long function; of the others 48
REGISTERS_BACKWARD = {"gelu": 80, "silu": 64, "softplus": 64}  # of the others 56

source = Source(
    "activation",
    {
        CALLED.get(name, name): Kernel("const real* x, real constant, real* y, i64 n", REGISTERS.get(name, 48))
        for name in NAMES
    }
    | {
        f"{name}_backward": Kernel(
            "const real* dy, const real* saved, real constant, real* dx, i64 n", REGISTERS_BACKWARD.get(name, 56)
        )
        for name in NAMES
    },
)


def _forward(name: str) -> Launcher:
    @source.launches
    def forward(x, constant, y):
        yield Launch(CALLED.get(name, name), blocks(x.size, tile(x)), (x, constant, y, x.size))

    return forward


def _backward(name: str) -> Launcher:
    @source.launches
    def backward(dy, saved, constant, dx):
        yield Launch(f"{name}_backward", blocks(dy.size, tile(dy)), (dy, saved, constant, dx, dy.size))

    return backward


relu, leaky_relu, sigmoid, tanh, elu, gelu, silu, softplus = map(_forward, NAMES)
(
    relu_backward,
    leaky_relu_backward,
    sigmoid_backward,
    tanh_backward,
    elu_backward,
    gelu_backward,
    silu_backward,
    softplus_backward,
) = map(_backward, NAMES)
