#include "activation/cuda.cuh"
// Losses element by element: value and gradient in one pass, a few whole rows a block; their sums in order.

struct Found {
    real loss, gradient;
};

__device__ __forceinline__ Found mse_of(real y, real t, real) {
    const real d = y - t;
    return Found{d * d, d + d};
}

__device__ __forceinline__ Found l1_of(real y, real t, real) {
    const real d = y - t;
    return Found{fabs(d), d > real(0) ? real(1) : (d < real(0) ? real(-1) : d)};
}

__device__ __forceinline__ Found huber_of(real y, real t, real delta) {
    const real d = y - t, clipped = d > delta ? delta : (d < -delta ? -delta : d);
    return Found{clipped * (d - real(0.5) * clipped), clipped};
}

__device__ __forceinline__ Found hinge_of(real y, real t, real) {
    const real margin = real(1) - t * y;
    return Found{margin <= real(0) ? real(0) : margin, margin <= real(0) ? real(0) : -t};
}

__device__ __forceinline__ Found bce_of(real y, real t, real) {
    return Found{softplus_of(y) - t * y, sigmoid_of(y) - t};
}

// What every element's loss is multiplied by; `whole` holds the sum of the rows' weights.
__device__ __forceinline__ double share_of(const double* scale, i64 rows, i64 columns, const real* weights,
                                           const double* whole) {
    const double share = scale[0] / double(columns);
    if (!weights) return share;
    return whole[0] != 0 ? share * double(rows) / whole[0] : 0;
}

extern "C" __global__ void __launch_bounds__(BLOCK) add_weights(const real* weights, i64 rows, double* whole) {
    __shared__ double shared[WARP];
    double found = 0;
    for (i64 i = threadIdx.x; i < rows; i += BLOCK) found += weights[i];
    found = sum_block(found, shared);
    if (threadIdx.x == 0) whole[0] = found;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
finish(const double* sums, i64 parts, const double* scale, i64 rows, i64 columns, const real* weights,
       const double* whole, double* total) {
    __shared__ double shared[WARP];
    double found = 0;
    for (i64 i = threadIdx.x; i < parts; i += BLOCK) found += sums[i];
    found = sum_block(found, shared);
    if (threadIdx.x == 0) total[0] += share_of(scale, rows, columns, weights, whole) * found;
}

template <class F>
__device__ __forceinline__ void loss(const real* y, const real* t, real delta, const real* weights, i64 rows,
                                     i64 columns, i64 step, const double* scale, const double* whole, double* sums,
                                     real* dy, F f) {
    __shared__ double shared[WARP];
    const i64 row = blockIdx.x * step, last = row + step < rows ? row + step : rows;
    const i64 begin = row * columns, end = last * columns;
    const real share = share_of(scale, rows, columns, weights, whole);
    const bool packed = fits(y + begin) && fits(t + begin) && fits(dy + begin);
    double sum = 0;
    for (i64 i = begin + threadIdx.x * WIDTH; i < end; i += i64(BLOCK) * WIDTH) {
        const bool all = packed && i + WIDTH <= end;
        const Pack outputs = load(y, i, end, all), targets = load(t, i, end, all);
        Pack gradients;
#pragma unroll
        for (int e = 0; e < WIDTH; ++e) {
            const Found found = f(outputs.at[e], targets.at[e], delta);
            const bool counted = i + e < end;
            real weight = real(1);
            if (weights && counted) weight = weights[row + u32(i + e - begin) / u32(columns)];
            const bool counts = counted && weight != real(0);  // of the others not even NaN may come
            sum += counts ? double(weight) * double(found.loss) : 0;
            gradients.at[e] = counts ? share * weight * found.gradient : real(0);
        }
        store(dy, i, end, all, gradients);
    }
    sum = sum_block(sum, shared);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

#define LOSS(name, of)                                                                                                 \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                                            \
        name(const real* y, const real* t, real delta, const real* weights, i64 rows, i64 columns, i64 step,       \
             const double* scale, const double* whole, double* sums, real* dy) {                                   \
        loss(y, t, delta, weights, rows, columns, step, scale, whole, sums, dy,                                    \
             [](real y, real t, real delta) { return of(y, t, delta); });                                          \
    }

LOSS(mse, mse_of)
LOSS(l1, l1_of)
LOSS(huber, huber_of)
LOSS(hinge, hinge_of)
LOSS(bce, bce_of)
