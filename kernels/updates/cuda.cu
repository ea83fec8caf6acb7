#include "common.cuh"
// Optimizer updates in place: every parameter and moment is read and written once, a pack of 16 bytes a thread.
// All numbers come from device memory, so that a recorded launch stays as it is from step to step.

struct Common {
    real lr, l2, l1, keep, clip;
};

__device__ __forceinline__ Common common(const double* scalars, const double* clip) {
    return Common{real(scalars[0]), real(scalars[1]), real(scalars[2]), real(scalars[3]), real(clip[0])};
}

// The gradient with clipping and penalties; shrinks the parameter where weights decay by themselves.
__device__ __forceinline__ real gradient(const Common& c, bool decays, real& p, real g) {
    g *= c.clip;
    if (decays) {
        if (c.l2 != real(0)) g += c.l2 * p;  // without it nothing may come of p: 0 times infinity is NaN
        g += p > real(0) ? c.l1 : (p < real(0) ? -c.l1 : real(0));
        p *= c.keep;
    }
    return g;
}

// update(p, g, m[0], m[1]) for every element, unless a bad label was met.
template <int MOMENTS, class F>
__device__ __forceinline__ void each(real* p, const real* g, real* const (&m)[MOMENTS + 1], i64 n, i64 decayed,
                                     const Common& c, F update) {
    bool packed = fits(p) && fits(g);
#pragma unroll
    for (int k = 0; k < MOMENTS; ++k) packed = packed && fits(m[k]);
    const i64 i = (i64(blockIdx.x) * BLOCK + threadIdx.x) * WIDTH;
    if (i >= n) return;
    const bool whole = packed && i + WIDTH <= n;
    Pack parameters = load(p, i, n, whole), moments[MOMENTS + 1];
    const Pack gradients = load(g, i, n, whole);
#pragma unroll
    for (int k = 0; k < MOMENTS; ++k) moments[k] = load(m[k], i, n, whole);
#pragma unroll
    for (int e = 0; e < WIDTH; ++e) {
        const real d = gradient(c, i + e < decayed, parameters.at[e], gradients.at[e]);
        update(parameters.at[e], d, moments[0].at[e], moments[MOMENTS > 1].at[e]);
    }
    store(p, i, n, whole, parameters);
#pragma unroll
    for (int k = 0; k < MOMENTS; ++k) store(m[k], i, n, whole, moments[k]);
}

#define REST i64 n, i64 decayed, const double *scalars, const double *clip, const i64 *status

extern "C" __global__ void __launch_bounds__(BLOCK) sgd(real* p, const real* g, REST) {
    if (status[0]) return;
    const Common c = common(scalars, clip);
    each<0>(p, g, {nullptr}, n, decayed, c, [=](real& p, real g, real&, real&) { p -= c.lr * g; });
}

extern "C" __global__ void __launch_bounds__(BLOCK) momentum(real* p, const real* g, real* m, REST) {
    if (status[0]) return;
    const Common c = common(scalars, clip);
    const real mu = scalars[4], gain = scalars[5];
    each<1>(p, g, {m, nullptr}, n, decayed, c, [=](real& p, real g, real& m, real&) {
        m = mu * m + gain * g;
        p -= c.lr * m;
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK) nesterov(real* p, const real* g, real* m, REST) {
    if (status[0]) return;
    const Common c = common(scalars, clip);
    const real mu = scalars[4], gain = scalars[5];
    each<1>(p, g, {m, nullptr}, n, decayed, c, [=](real& p, real g, real& m, real&) {
        g *= gain;
        m = mu * m + g;
        p -= c.lr * (mu * m + g);
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK) adagrad(real* p, const real* g, real* m, REST) {
    if (status[0]) return;
    const Common c = common(scalars, clip);
    const real eps = scalars[4];
    each<1>(p, g, {m, nullptr}, n, decayed, c, [=](real& p, real g, real& m, real&) {
        m += g * g;
        p -= c.lr * g / (sqrt(m) + eps);
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK) rmsprop(real* p, const real* g, real* m, REST) {
    if (status[0]) return;
    const Common c = common(scalars, clip);
    const real beta = scalars[4], rest = scalars[5], eps = scalars[6], inside = scalars[7];
    each<1>(p, g, {m, nullptr}, n, decayed, c, [=](real& p, real g, real& m, real&) {
        m = beta * m + rest * (g * g);
        p -= c.lr * g / (sqrt(m + inside) + eps);
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK) adam(real* p, const real* g, real* m, real* v, REST) {
    if (status[0]) return;
    Common c = common(scalars, clip);
    c.lr = real(scalars[0] * scalars[10]);
    const real b1 = scalars[4], rest1 = scalars[5], b2 = scalars[6], rest2 = scalars[7];
    const real eps = scalars[8], inside = scalars[9], c2 = scalars[11];
    each<2>(p, g, {m, v, nullptr}, n, decayed, c, [=](real& p, real g, real& m, real& v) {
        m = b1 * m + rest1 * g;
        v = b2 * v + rest2 * (g * g);
        p -= c.lr * m / (sqrt(c2 * v + inside) + eps);
    });
}

extern "C" __global__ void __launch_bounds__(WARP) scaled_rate(const double* scalars, double factor, double* out, i64 n) {
    // Rounded twice, as the host does.
    for (i64 i = threadIdx.x; i < n; i += WARP)
        out[i] = i == 0 ? factor * scalars[0] : (i == 3 ? 1 - __dmul_rn(factor, 1 - scalars[3]) : scalars[i]);
}
