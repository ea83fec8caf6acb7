#include "types.cuh"
// out[i] = data[order[start + i]], in words of up to 16 bytes: what the numbers are does not matter.

extern "C" __global__ void __launch_bounds__(BLOCK)
forward(const word* data, const i64* order, const i64* start, word* out, i64 rows, i64 words) {
    const i64 i = i64(blockIdx.x) * blockDim.y + threadIdx.y;
    if (i >= rows) return;
    const word* from = data + order[start[0] + i] * words;
    word* to = out + i * words;
    for (i64 j = threadIdx.x; j < words; j += blockDim.x) to[j] = from[j];
}
