#include "common.cuh"
// The Euclidean norm: squares added up in float64, a chunk a block, and the chunks in order.

constexpr double SCALE = 4.149515568880993e180;  // 2^600

__device__ __forceinline__ double squares(const real* x, i64 begin, i64 end, double scale) {
    const bool packed = fits(x + begin);
    double found = 0;
    for (i64 i = begin + threadIdx.x * WIDTH; i < end; i += i64(blockDim.x) * WIDTH) {
        const Pack pack = load(x, i, end, packed && i + WIDTH <= end);
#pragma unroll
        for (int e = 0; e < WIDTH; ++e) {
            const double a = pack.at[e] * scale;
            found += a * a;
        }
    }
    return found;
}

extern "C" __global__ void __launch_bounds__(BLOCK) add_squares(const real* x, i64 n, i64 chunk, double* sums) {
    __shared__ double shared[WARP];
    const i64 begin = blockIdx.x * chunk, end = begin + chunk < n ? begin + chunk : n;
    const double found = sum_block(squares(x, begin, end, 1.0), shared);
    if (threadIdx.x == 0) sums[blockIdx.x] = found;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
finish(const real* x, i64 n, i64 chunks, double limit, const double* sums, double* norm, double* factor) {
    __shared__ double shared[WARP];
    double total = 0, scale = 1;
    for (i64 i = threadIdx.x; i < chunks; i += blockDim.x) total += sums[i];
    total = sum_block(total, shared);
    // Squares of float64 overflow beyond 1e154 and vanish below 1e-154: all is scaled then, and added up again.
    if (sizeof(real) == 8 && (total > 1e300 || total < 1e-290)) {
        scale = total > 1 ? 1 / SCALE : SCALE;
        total = sum_block(squares(x, 0, n, scale), shared);
    }
    if (threadIdx.x == 0) {
        const double found = sqrt(total) / scale;
        norm[0] = found;
        factor[0] = found <= limit ? 1.0 : limit / found;
    }
}
