#include "philox/cuda.cuh"
// Dropout. A thread draws one Philox block, whose four words belong to elements 16 apart: so sixteen lanes touch
// sixteen neighbours at each of the four. Beside it, maps with a mask that was kept.

// f(i, word) for the element i of n that each of this thread's words belongs to. `draw` holds seed low word, seed
// high word, step and first row; the stream's element of x[0] is first row * width.
template <class F>
__device__ __forceinline__ void with_words(const i64* draw, u32 stream, i64 width, i64 n, F f) {
    const u64 first = u64(draw[3]) * u64(width);
    const u64 number = first / 64 * 16 + u64(blockIdx.x) * BLOCK + threadIdx.x;  // of the Philox block
    const uint4 word = philox(make_uint4(u32(number), u32(number >> 32), stream, u32(draw[2])),
                              make_uint2(u32(draw[0]), u32(draw[1])));
    const i64 i = i64(number / 16 * 64 + number % 16 - first);
    if (i >= 0 && i < n) f(i, word.x);
    if (i + 16 >= 0 && i + 16 < n) f(i + 16, word.y);
    if (i + 32 >= 0 && i + 32 < n) f(i + 32, word.z);
    if (i + 48 >= 0 && i + 48 < n) f(i + 48, word.w);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
mask(u32 threshold, u32 stream, i64 width, const i64* draw, u8* kept, i64 n) {
    with_words(draw, stream, width, n, [=](i64 i, u32 word) { kept[i] = word >= threshold; });
}

extern "C" __global__ void __launch_bounds__(BLOCK)
forward(const real* x, u32 threshold, real scale, u32 stream, i64 width, const i64* draw, u8* kept, real* y, i64 n) {
    with_words(draw, stream, width, n, [=](i64 i, u32 word) {
        const bool keep = word >= threshold;
        kept[i] = keep;
        y[i] = keep ? x[i] * scale : real(0);
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK)
drawn(const real* x, u32 threshold, real scale, u32 stream, i64 width, const i64* draw, real* y, i64 n) {
    with_words(draw, stream, width, n, [=](i64 i, u32 word) {  // y may be x
        y[i] = word >= threshold ? x[i] * scale : real(0);
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK)
backward(const real* dy, const u8* kept, real scale, real* dx, i64 n) {
    const bool packed = fits(dy) && fits(dx) && reinterpret_cast<u64>(kept) % WIDTH == 0;
    const i64 first = (i64(blockIdx.x) * PACKS * BLOCK + threadIdx.x) * WIDTH;
    struct alignas(WIDTH) Bytes {
        u8 at[WIDTH];
    };
    Pack d[PACKS];
    Bytes k[PACKS];
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
        const i64 i = first + i64(p) * BLOCK * WIDTH;
        const bool whole = packed && i + WIDTH <= n;
        d[p] = load(dy, i, n, whole);
        if (whole) {
            k[p] = *reinterpret_cast<const Bytes*>(kept + i);
        } else {
#pragma unroll
            for (int e = 0; e < WIDTH; ++e) k[p].at[e] = i + e < n ? kept[i + e] : u8(0);
        }
    }
#pragma unroll
    for (int p = 0; p < PACKS; ++p) {
        const i64 i = first + i64(p) * BLOCK * WIDTH;
#pragma unroll
        for (int e = 0; e < WIDTH; ++e) d[p].at[e] = k[p].at[e] ? d[p].at[e] * scale : real(0);
        store(dx, i, n, packed && i + WIDTH <= n, d[p]);
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK) predict(const real* x, real keep, real* y, i64 n) {
    map({x}, y, n, [=](const real(&v)[1]) { return v[0] * keep; });
}
