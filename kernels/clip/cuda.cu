#include "common.cuh"

extern "C" __global__ void __launch_bounds__(BLOCK) forward(const real* x, real limit, real* y, i64 n) {
    // NaN fails both comparisons and passes through.
    map({x}, y, n, [=](const real(&v)[1]) { return v[0] > limit ? limit : (v[0] < -limit ? -limit : v[0]); });
}
