#include "softmax/cuda.cuh"
// Softmax cross-entropy, value and gradient: labels are checked first, so that a bad one leaves all as it was; then
// every row by itself; then the sum of the rows' losses, in order.

// The first bad row + 1, whichever thread finds it when.
__device__ __forceinline__ void note(i64* status, i64 row) {
    u64* word = reinterpret_cast<u64*>(status);
    const u64 mine = u64(row) + 1;
    u64 seen = 0;
    while (seen == 0 || mine < seen) {
        const u64 found = atomicCAS(word, seen, mine);
        if (found == seen) break;
        seen = found;
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK)
check(const i64* labels, i64 rows, i64 columns, i64 ignored, int skip, i64* status) {
    const i64 i = i64(blockIdx.x) * BLOCK + threadIdx.x;
    if (i >= rows) return;
    const i64 label = labels[i];
    if ((label < 0 || label >= columns) && !(skip && label == ignored)) note(status, i);
}

// The sum of what rows weigh: by themselves, and by their label's class; `labels` is null where targets are shares.
extern "C" __global__ void __launch_bounds__(BLOCK)
add_weights(const i64* labels, const real* class_weights, const real* weights, i64 rows, i64 ignored, int skip,
            const i64* status, double* whole) {
    __shared__ double shared[WARP];
    if (status && status[0]) return;
    double found = 0;
    for (i64 i = threadIdx.x; i < rows; i += BLOCK) {
        if (labels && skip && labels[i] == ignored) continue;
        double weight = weights ? double(weights[i]) : 1.0;
        if (labels && class_weights) weight *= double(class_weights[labels[i]]);
        found += weight;
    }
    found = sum_block(found, shared);
    if (threadIdx.x == 0) whole[0] = found;
}

// total += what the losses are multiplied by, times their sum. `whole` is null where no row has a weight.
extern "C" __global__ void __launch_bounds__(BLOCK)
finish(const real* losses, i64 rows, const double* scale, const double* whole, const i64* status, double* total) {
    __shared__ double shared[WARP];
    double found = 0;
    if (!(status && status[0]))
        for (i64 i = threadIdx.x; i < rows; i += BLOCK) found += losses[i];
    found = sum_block(found, shared);
    if (threadIdx.x) return;
    double factor = scale[0];
    if (whole) factor = whole[0] != 0 ? factor * double(rows) / whole[0] : 0;
    total[0] = status && status[0] ? double(__int_as_float(0x7fc00000)) : total[0] + factor * found;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
forward(const real* logits, const i64* labels, i64 rows, i64 columns, int side, const double* scale,
        const i64* status, real* losses, real* dlogits) {
    __shared__ real shared[WARP];
    if (status[0]) return;
    const Row row = my_row(side);
    const bool exists = row.number < rows;
    const real* x = logits + row.number * columns;
    real* dx = dlogits + row.number * columns;
    const Peak peak = peak_of_row(x, columns, exists, row, shared);
    if (!exists) return;
    const i64 label = labels[row.number];
    const real share = scale[0], each = share / peak.sum;
    if (row.lane == 0) losses[row.number] = log(peak.sum) - (x[label] - peak.largest);
    map_row(x, dx, columns, row, [=](i64 j, real v) {
        return exp(v - peak.largest) * each - (j == label ? share : real(0));
    });
}

// A row against targets t(j), weighing `weight`; `share` is what its gradient is multiplied by.
template <class Target>
__device__ __forceinline__ void against(const real* logits, i64 columns, Row row, bool exists, real weight,
                                        real share, real* losses, real* dlogits, real* shared, Target t) {
    const real* x = logits + row.number * columns;
    real* dx = dlogits + row.number * columns;
    const Peak peak = peak_of_row(x, columns, exists, row, shared);
    real whole = 0, dot = 0;
    for (i64 j = row.lane; exists && j < columns; j += row.side) {
        const real target = t(j);
        whole += target;
        dot += target * (x[j] - peak.largest);
    }
    whole = reduce_row<Sum>(whole, real(0), row.side, shared);
    dot = reduce_row<Sum>(dot, real(0), row.side, shared);
    if (!exists) return;
    const bool counts = weight != real(0);  // of the others not even NaN may come
    const real each = whole / peak.sum;
    if (row.lane == 0) losses[row.number] = counts ? weight * (whole * log(peak.sum) - dot) : real(0);
    map_row(x, dx, columns, row, [=](i64 j, real v) {
        return counts ? share * (exp(v - peak.largest) * each - t(j)) : real(0);
    });
}

// Asked for before a row is read: float64 kept until after makes ptxas spill.
__device__ __forceinline__ real share_by(real weight, const double* scale, i64 rows, const double* whole) {
    return whole[0] != 0 ? real(scale[0] * double(rows) / whole[0] * double(weight)) : real(0);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
forward_weighted(const real* logits, const i64* labels, const real* class_weights, const real* weights,
                 double smoothing, i64 ignored, int skip, i64 rows, i64 columns, int side, const double* scale,
                 const double* whole, const i64* status, real* losses, real* dlogits) {
    __shared__ real shared[WARP];
    if (status[0]) return;
    const Row row = my_row(side);
    const bool exists = row.number < rows;
    i64 label = exists ? labels[row.number] : 0;
    real weight = exists && weights ? weights[row.number] : real(1);
    if (skip && label == ignored) {
        weight = 0;
        label = 0;
    }
    const real spread = real(smoothing / double(columns)), at_label = real(1 - smoothing + smoothing / double(columns));
    const real share = share_by(weight, scale, rows, whole);
    against(logits, columns, row, exists, weight, share, losses, dlogits, shared, [=](i64 j) {
        const real t = j == label ? at_label : spread;
        return class_weights ? t * class_weights[j] : t;
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK)
forward_soft(const real* logits, const real* targets, const real* class_weights, const real* weights,
             double smoothing, i64 rows, i64 columns, int side, const double* scale, const double* whole,
             real* losses, real* dlogits) {
    __shared__ real shared[WARP];
    const Row row = my_row(side);
    const bool exists = row.number < rows;
    const real* target = targets + row.number * columns;
    const real weight = exists && weights ? weights[row.number] : real(1);
    const real kept = real(1 - smoothing), spread = real(smoothing / double(columns));
    const real share = share_by(weight, scale, rows, whole);
    against(logits, columns, row, exists, weight, share, losses, dlogits, shared, [=](i64 j) {
        const real t = target[j] * kept + spread;
        return class_weights ? t * class_weights[j] : t;
    });
}
