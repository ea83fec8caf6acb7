#include "common.cuh"

extern "C" __global__ void __launch_bounds__(BLOCK) forward(const real* a, const real* b, real* y, i64 n) {
    map({a, b}, y, n, [](const real(&v)[2]) { return v[0] + v[1]; });
}
