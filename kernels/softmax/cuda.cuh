#pragma once
#include "common.cuh"
// What works on rows of classes: a group of lanes takes a short row, a whole block a long one. Which of both is said
// by SIDE: threads side by side in a row, up to a warp's 32 or a block's BLOCK.

struct Row {
    i64 number;  // of the row
    int lane;    // of this thread within its row
    int side;    // threads of the row
};

__device__ __forceinline__ Row my_row(int side) {
    return Row{i64(blockIdx.x) * (BLOCK / side) + threadIdx.x / side, int(threadIdx.x) % side, side};
}

// The result for the row, in each of its threads; all threads of a block must come here.
template <class How, class T>
__device__ __forceinline__ T reduce_row(T v, T nothing, int side, T* shared) {
    return side > WARP ? reduce_block<How>(v, nothing, shared) : reduce_lanes<How>(v, side);
}

__device__ __forceinline__ real lowest() { return -real(__int_as_float(0x7f800000)); }  // -infinity

// The largest of a row, and the sum of e^(x - largest), in one pass: where a larger one comes, the sum is scaled down.
struct Peak {
    real largest, sum;
};

__device__ __forceinline__ real share_of(real sum, real largest, real of) {
    return sum == real(0) ? real(0) : sum * exp(largest - of);  // nothing added up yet: no -inf - -inf
}

__device__ __forceinline__ Peak peak_of_row(const real* x, i64 columns, bool exists, Row row, real* shared) {
    constexpr int GROUP = sizeof(real) == 4 ? 8 : 1;  // elements that are on their way at once; more doubles spill
    Peak found{lowest(), real(0)};
#pragma unroll 1
    for (i64 j = row.lane; exists && j < columns; j += GROUP * row.side) {
        real v[GROUP], largest = found.largest;
#pragma unroll
        for (int k = 0; k < GROUP; ++k) {
            v[k] = j + k * row.side < columns ? x[j + k * row.side] : lowest();
            largest = Max::of(largest, v[k]);
        }
        if (largest == lowest()) continue;  // e^(-inf) is 0 beside any number that may follow
        found.sum = share_of(found.sum, found.largest, largest);
        found.largest = largest;
#pragma unroll
        for (int k = 0; k < GROUP; ++k) found.sum += exp(v[k] - largest);
    }
    const real largest = reduce_row<Max>(found.largest, lowest(), row.side, shared);
    const real sum = reduce_row<Sum>(share_of(found.sum, found.largest, largest), real(0), row.side, shared);
    return Peak{largest, sum};
}

// y[j] = f(j, x[j]) along a row; the elements of a group are on their way together. y may be x.
template <class F>
__device__ __forceinline__ void map_row(const real* x, real* y, i64 columns, Row row, F f) {
    constexpr int GROUP = sizeof(real) == 4 ? 8 : 2;
#pragma unroll 1
    for (i64 j = row.lane; j < columns; j += GROUP * row.side) {
        real v[GROUP];
#pragma unroll
        for (int k = 0; k < GROUP; ++k) v[k] = j + k * row.side < columns ? x[j + k * row.side] : real(0);
#pragma unroll
        for (int k = 0; k < GROUP; ++k)
            if (j + k * row.side < columns) y[j + k * row.side] = f(j + k * row.side, v[k]);
    }
}
