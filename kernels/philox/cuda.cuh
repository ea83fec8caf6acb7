#pragma once
#include "common.cuh"
// Philox4x32-10: the four words of block `counter` under `key`. README.md tells which element takes which word.

__device__ __forceinline__ uint4 philox(uint4 counter, uint2 key) {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const u64 a = u64(0xD2511F53u) * counter.x, b = u64(0xCD9E8D57u) * counter.z;
        counter = make_uint4(u32(b >> 32) ^ counter.y ^ key.x, u32(b), u32(a >> 32) ^ counter.w ^ key.y, u32(a));
        key = make_uint2(key.x + 0x9E3779B9u, key.y + 0xBB67AE85u);
    }
    return counter;
}
