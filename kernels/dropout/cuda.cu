#include "philox/cuda.cuh"
// Dropout. A thread draws one Philox block, whose four words belong to elements 16 apart: so sixteen lanes touch
// sixteen neighbours at each of the four. Beside it, maps with a mask that was kept.

// The four elements of n that a thread's words belong to: at(k), -1 where there is none. `draw` holds seed low word,
// seed high word, step and first row; the stream's element of x[0] is first row * width.
struct Words {
    i64 first;
    u64 number;  // of the Philox block
    const i64* draw;
    u32 stream;
    i64 n;

    __device__ __forceinline__ Words(const i64* draw, u32 stream, i64 width, i64 n) : draw(draw), stream(stream), n(n) {
        const u64 begin = u64(draw[3]) * u64(width);
        number = begin / 64 * 16 + u64(blockIdx.x) * BLOCK + threadIdx.x;
        first = i64(number / 16 * 64 + number % 16 - begin);
    }

    __device__ __forceinline__ bool exists(int k) const { return first + 16 * k >= 0 && first + 16 * k < n; }

    __device__ __forceinline__ void drawn(bool (&keep)[4], u32 threshold) const {
        const uint4 word = philox(make_uint4(u32(number), u32(number >> 32), stream, u32(draw[2])),
                                  make_uint2(u32(draw[0]), u32(draw[1])));
        keep[0] = word.x >= threshold;
        keep[1] = word.y >= threshold;
        keep[2] = word.z >= threshold;
        keep[3] = word.w >= threshold;
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK)
mask(u32 threshold, u32 stream, i64 width, const i64* draw, u8* kept, i64 n) {
    const Words words(draw, stream, width, n);
    bool keep[4];
    words.drawn(keep, threshold);
#pragma unroll
    for (int k = 0; k < 4; ++k)
        if (words.exists(k)) kept[words.first + 16 * k] = keep[k];
}

// The elements are on their way while their words are drawn. y may be x; `kept` may be null.
__device__ __forceinline__ void apply(const real* x, u32 threshold, real scale, const Words& words, u8* kept, real* y) {
    real value[4];
    bool keep[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) value[k] = words.exists(k) ? x[words.first + 16 * k] : real(0);
    words.drawn(keep, threshold);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        if (!words.exists(k)) continue;
        if (kept) kept[words.first + 16 * k] = keep[k];
        y[words.first + 16 * k] = keep[k] ? value[k] * scale : real(0);
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK)
forward(const real* x, u32 threshold, real scale, u32 stream, i64 width, const i64* draw, u8* kept, real* y, i64 n) {
    apply(x, threshold, scale, Words(draw, stream, width, n), kept, y);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
drawn(const real* x, u32 threshold, real scale, u32 stream, i64 width, const i64* draw, real* y, i64 n) {
    apply(x, threshold, scale, Words(draw, stream, width, n), nullptr, y);
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
