// Faulty kernels, one of each kind that the emulator must find. BLOCK is 64 in all of them but where it is said.
#include "types.cuh"

// ------------------------------------------------------------ wrong in some order of threads

extern "C" __global__ void missing_barrier(const float* x, float* y) {  // between the writes and the reads
    __shared__ float seen[64];
    seen[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = seen[63 - threadIdx.x];
}

extern "C" __global__ void missing_second_barrier(const float* x, float* y) {  // before shared memory is used again
    __shared__ float seen[64];
    float sum = 0;
    for (int i = 0; i < 4; ++i) {
        seen[threadIdx.x] = x[64 * i + threadIdx.x];
        __syncthreads();
        sum += seen[63 - threadIdx.x];
    }
    y[threadIdx.x] = sum;
}

extern "C" __global__ void missing_warp_barrier(const float* x, float* y) {
    __shared__ float seen[64];
    seen[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = seen[threadIdx.x ^ 1];
}

extern "C" __global__ void shuffle_for_a_barrier(const float* x, float* y) {  // which orders no memory
    __shared__ float seen[64];
    seen[threadIdx.x] = x[threadIdx.x];
    const float first = __shfl_sync(ALL, x[threadIdx.x], 0);
    y[threadIdx.x] = first + seen[threadIdx.x ^ 1];
}

extern "C" __global__ void vote_for_a_barrier(const float* x, float* y) {
    __shared__ float seen[64];
    seen[threadIdx.x] = x[threadIdx.x];
    const bool any = __any_sync(ALL, x[threadIdx.x] > 0);
    y[threadIdx.x] = any + seen[threadIdx.x ^ 1];
}

extern "C" __global__ void halves_of_a_warp(const float* x, float* y, int apart) {  // right for less than 16
    __shared__ float seen[64];
    seen[threadIdx.x] = x[threadIdx.x];
    if (threadIdx.x % 32 < 16)
        __syncwarp(0xffffu);
    else
        __syncwarp(0xffff0000u);
    y[threadIdx.x] = seen[threadIdx.x ^ apart];
}

extern "C" __global__ void unset_shared_memory(const float* x, float* y) {  // which is not zero at the start
    __shared__ float sum[64];
    sum[threadIdx.x] += x[threadIdx.x];
    y[threadIdx.x] = sum[threadIdx.x];
}

// ------------------------------------------------------------ barriers and shuffles

extern "C" __global__ void early_return(float* y, int n) {
    if (int(threadIdx.x) >= n) return;
    __syncthreads();
    y[threadIdx.x] = 1;
}

extern "C" __global__ void two_barriers(float* y) {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    y[threadIdx.x] = 1;
}

extern "C" __global__ void shuffle_without_all(float* y) {
    if (threadIdx.x < 16) y[threadIdx.x] = __shfl_xor_sync(ALL, y[threadIdx.x], 1);
}

extern "C" __global__ void shuffle_from_outside(float* y) {
    if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xffffu, y[threadIdx.x], 20);
}

extern "C" __global__ void barrier_of_half_after_a_shuffle(const float* x, float* y) {  // which is right
    const float first = __shfl_sync(ALL, x[threadIdx.x], 0);
    if (threadIdx.x % 32 >= 16) __syncwarp(0xffff0000u);
    y[threadIdx.x] = first;
}

// ------------------------------------------------------------ memory

extern "C" __global__ void beyond_the_end(float* y, int n) {
    if (int(threadIdx.x) <= n) y[threadIdx.x] = 1;
}

extern "C" __global__ void beyond_shared_memory(float* y, int by) {
    __shared__ float seen[64];
    seen[threadIdx.x + by] = 1;
    __syncthreads();
    y[threadIdx.x] = seen[threadIdx.x];
}

extern "C" __global__ void too_little_dynamic_shared_memory(float* y) {
    extern __shared__ float seen[];
    seen[threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = seen[threadIdx.x];
}

extern "C" __global__ void misaligned(float* y) {
    reinterpret_cast<float4*>(y + 1)[threadIdx.x].x = 1;
}

extern "C" __global__ void write_by_all(float* y) { y[0] += float(threadIdx.x); }

extern "C" __global__ void atomic_by_all(int* y) { atomicAdd(y, 1); }  // which is right
