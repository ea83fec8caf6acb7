#include "softmax/cuda.cuh"

extern "C" __global__ void __launch_bounds__(BLOCK) forward(const real* x, real* y, i64 rows, i64 columns, int side) {
    __shared__ real shared[WARP];
    const Row row = my_row(side);
    const bool exists = row.number < rows;
    const i64 begin = row.number * columns;
    const Peak peak = peak_of_row(x + begin, columns, exists, row, shared);
    const real scale = real(1) / peak.sum;
    if (exists) map_row(x + begin, y + begin, columns, row, [=](i64, real v) { return exp(v - peak.largest) * scale; });
}

extern "C" __global__ void __launch_bounds__(BLOCK)
backward(const real* dy, const real* y, real* dx, i64 rows, i64 columns, int side) {
    __shared__ real shared[WARP];
    const Row row = my_row(side);
    const bool exists = row.number < rows;
    const i64 begin = row.number * columns;
    real dot = 0;
    for (i64 j = row.lane; exists && j < columns; j += side) dot += dy[begin + j] * y[begin + j];
    dot = reduce_row<Sum>(dot, real(0), side, shared);
    for (i64 j = row.lane; exists && j < columns; j += side)  // dx may be dy
        dx[begin + j] = y[begin + j] * (dy[begin + j] - dot);
}
