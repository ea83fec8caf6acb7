#pragma once
#include "common.cuh"
// Activations of one number, and their derivatives as in reference.py: by y where it tells, else by x.
// Comparisons are such that NaN passes through.

__device__ __forceinline__ real relu_of(real x) { return x <= real(0) ? real(0) : x; }

__device__ __forceinline__ real leaky_relu_of(real x, real slope) { return x < real(0) ? slope * x : x; }

__device__ __forceinline__ real sigmoid_of(real x) {
    const real e = exp(-fabs(x));  // of a negative number only, so that nothing overflows
    return (x < real(0) ? e : real(1)) / (real(1) + e);
}

__device__ __forceinline__ real elu_of(real x, real alpha) {
    return x <= real(0) ? alpha * expm1(x) : x;
}

// Distribution and density of the standard normal. In float32 the tail is e^(-x^2 / 2) times a polynomial in
// t = 1 / (1 + 0.45 |x| / sqrt 2), as on the CPU: fewer instructions than normcdff's.
struct Normal {
    real distribution, density;
};

__device__ __forceinline__ Normal normal_at(real x) {
    const real e = exp(real(-0.5) * x * x), density = e * real(0.3989422804014326779);  // 1 / sqrt(2 pi)
    if (sizeof(real) == 8) return Normal{normcdf(x), density};
    const real t = real(1) / (real(1) + real(0.3181980515339464) * fabs(x));
    real y = real(-0.04163854941725731);
    y = y * t + real(0.19167575240135193);
    y = y * t + real(-0.3022053837776184);
    y = y * t + real(0.14381752908229828);
    y = y * t + real(-0.023065825924277306);
    y = y * t + real(0.1201537474989891);
    y = y * t + real(0.17522020637989044);
    y = y * t + real(0.22827406227588654);
    y = y * t + real(0.25388309359550476);
    y = y * t + real(0.25388532876968384);
    const real tail = real(0.5) * e * t * y;
    return Normal{x < real(0) ? tail : real(1) - tail, density};
}

__device__ __forceinline__ real gelu_of(real x) { return x * normal_at(x).distribution; }

__device__ __forceinline__ real silu_of(real x) { return x * sigmoid_of(x); }

__device__ __forceinline__ real softplus_of(real x) {
    return log1p(exp(-fabs(x))) + (x < real(0) ? real(0) : x);
}

__device__ __forceinline__ real gelu_slope(real x) {
    const Normal normal = normal_at(x);
    return normal.distribution + x * normal.density;
}

__device__ __forceinline__ real silu_slope(real x) {
    const real s = sigmoid_of(x);
    return s * (real(1) + x * (real(1) - s));
}

// The activations that a product can end with, by the numbers that matmul/cuda.py gives them.
enum { LINEAR, RELU, LEAKY_RELU, SIGMOID, TANH, GELU };

__device__ __forceinline__ real activated(int activation, real x, real slope) {
    switch (activation) {
        case RELU: return relu_of(x);
        case LEAKY_RELU: return leaky_relu_of(x, slope);
        case SIGMOID: return sigmoid_of(x);
        case TANH: return tanh(x);
        case GELU: return gelu_of(x);
        default: return x;
    }
}
