#pragma once
#include "types.cuh"
// What the kernels share. A source is compiled for one type of numbers at a time: `real` is float or double.

// ------------------------------------------------------------ 16 bytes at a time

constexpr int WIDTH = 16 / sizeof(real);

struct alignas(16) Pack {
    real at[WIDTH];
};

// Whether packs can be read from a pointer. Views may begin anywhere.
__device__ __forceinline__ bool fits(const void* p) { return reinterpret_cast<u64>(p) % 16 == 0; }

// Elements i to i + WIDTH of n; `whole` says that all of them exist and lie as a pack does.
__device__ __forceinline__ Pack load(const real* x, i64 i, i64 n, bool whole) {
    if (whole) return *reinterpret_cast<const Pack*>(x + i);
    Pack pack;
#pragma unroll
    for (int e = 0; e < WIDTH; ++e) pack.at[e] = i + e < n ? x[i + e] : real(0);
    return pack;
}

__device__ __forceinline__ void store(real* x, i64 i, i64 n, bool whole, Pack pack) {
    if (whole) {
        *reinterpret_cast<Pack*>(x + i) = pack;
        return;
    }
#pragma unroll
    for (int e = 0; e < WIDTH; ++e)
        if (i + e < n) x[i + e] = pack.at[e];
}

// y[i] = f({x[0][i], x[1][i], ...}) for all i of n. y may be one of the inputs. Every thread has PACKS packs of
// each input on their way before it uses the first.
constexpr int PACKS = 4;

template <int INPUTS, class F>
__device__ __forceinline__ void map(const real* const (&x)[INPUTS], real* y, i64 n, F f) {
    bool packed = fits(y);
#pragma unroll
    for (int k = 0; k < INPUTS; ++k) packed = packed && fits(x[k]);
    const i64 first = (i64(blockIdx.x) * PACKS * BLOCK + threadIdx.x) * WIDTH;
    Pack in[PACKS][INPUTS];
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
        const i64 i = first + i64(p) * BLOCK * WIDTH;
#pragma unroll
        for (int k = 0; k < INPUTS; ++k) in[p][k] = load(x[k], i, n, packed && i + WIDTH <= n);
    }
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
        const i64 i = first + i64(p) * BLOCK * WIDTH;
        Pack out;
#pragma unroll
        for (int e = 0; e < WIDTH; ++e) {
            real v[INPUTS];
#pragma unroll
            for (int k = 0; k < INPUTS; ++k) v[k] = in[p][k].at[e];
            out.at[e] = f(v);
        }
        store(y, i, n, packed && i + WIDTH <= n, out);
    }
}

// ------------------------------------------------------------ sums and maxima that repeat to the bit

struct Sum {
    template <class T> static __device__ __forceinline__ T of(T a, T b) { return a + b; }
};

struct Max {  // NaN counts as larger than all numbers
    template <class T> static __device__ __forceinline__ T of(T a, T b) { return b > a || b != b ? b : a; }
};

// Over groups of `lanes` neighbouring lanes, a power of two; every lane gets the result.
template <class How, class T>
__device__ __forceinline__ T reduce_lanes(T v, int lanes = WARP) {
    for (int offset = lanes / 2; offset > 0; offset /= 2) v = How::of(v, __shfl_xor_sync(ALL, v, offset));
    return v;
}

// Over a block of whole warps; every thread gets the result. `shared` has room for 32 and can be used again at once.
template <class How, class T>
__device__ __forceinline__ T reduce_block(T v, T nothing, T* shared) {
    const int warps = blockDim.x / WARP, lane = threadIdx.x % WARP;
    v = reduce_lanes<How>(v);
    if (lane == 0) shared[threadIdx.x / WARP] = v;
    __syncthreads();
    v = reduce_lanes<How>(lane < warps ? shared[lane] : nothing);
    __syncthreads();
    return v;
}

template <class T>
__device__ __forceinline__ T sum_block(T v, T* shared) {
    return reduce_block<Sum>(v, T(0), shared);
}
