#include "activation/cuda.cuh"
// y = f(x), and dx = dy f'(x), element by element; one number each: slope or alpha.

#define FORWARD(name, value)                                                                                       \
    extern "C" __global__ void __launch_bounds__(BLOCK) name(const real* x, real constant, real* y, i64 n) {       \
        map({x}, y, n, [=](const real(&v)[1]) {                                                                    \
            const real x = v[0];                                                                                   \
            return value;                                                                                          \
        });                                                                                                        \
    }

#define BACKWARD(name, value)                                                                                      \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                                            \
        name(const real* dy, const real* saved, real constant, real* dx, i64 n) {                       \
        map({dy, saved}, dx, n, [=](const real(&v)[2]) {                                                           \
            const real dy = v[0], s = v[1];                                                                        \
            return value;                                                                                          \
        });                                                                                                        \
    }

FORWARD(relu, relu_of(x))
FORWARD(leaky_relu, leaky_relu_of(x, constant))
FORWARD(sigmoid, sigmoid_of(x))
FORWARD(tanh_, tanh(x))
FORWARD(elu, elu_of(x, constant))
FORWARD(gelu, gelu_of(x))
FORWARD(silu, silu_of(x))
FORWARD(softplus, softplus_of(x))

// By y:
BACKWARD(relu_backward, s <= real(0) ? real(0) : dy)
BACKWARD(leaky_relu_backward, s <= real(0) ? dy * constant : dy)
BACKWARD(sigmoid_backward, dy * (s * (real(1) - s)))
BACKWARD(tanh_backward, dy * (real(1) - s * s))
BACKWARD(elu_backward, dy * (s > real(0) ? real(1) : s + constant))
// By x:
BACKWARD(gelu_backward, dy * gelu_slope(s))
BACKWARD(silu_backward, dy * silu_slope(s))
BACKWARD(softplus_backward, dy * sigmoid_of(s))
