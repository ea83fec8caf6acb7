#include "activation/cuda.cuh"
// c = f(a b + bias), where a and b may each be given as its transpose: tiles of TILE x TILE, DEPTH at a time through
// shared memory, twice over so that the next slice is on its way while this one is used; each thread holds a square of
// c in registers. A deep product can be cut in slices of its depth, which are added up in order.

constexpr int SIDE = 16;  // threads of a block along each side of a tile
constexpr int EACH = TILE / SIDE;  // rows, and columns, of c a thread
constexpr int DEPTH = 8;
constexpr int LOADS = TILE * DEPTH / BLOCK;  // elements of a, and of b, that a thread loads a time
constexpr int ROW = TILE + WIDTH;  // of shared memory: so much longer that the stores of a warp spread over the banks

// Which elements of a factor's slices a thread loads. A factor is seen as (across, depth): across is the rows of a, or
// the columns of b. `along` says that neighbours in memory lie along the depth, which keeps the reads of a warp together.
struct Reader {
    const real* from;
    i64 next;  // from one slice to the next
    i64 step;  // from one load to the next
    int across, depth;  // of the first load, in the tile
    int across_step, depth_step;
    i64 left;  // of the factor across, from this thread's first load on
    bool along;

    __device__ __forceinline__ Reader(const real* factor, bool along, i64 size, i64 whole_depth, i64 first, i64 begin)
        : along(along) {
        const int t = threadIdx.x;
        across = along ? t / DEPTH : t % TILE;
        depth = along ? t % DEPTH : t / TILE;
        across_step = along ? BLOCK / DEPTH : 0;
        depth_step = along ? 0 : BLOCK / TILE;
        left = size - first - across;
        const i64 a = first + across, d = begin + depth;
        from = factor + (along ? a * whole_depth + d : d * size + a);
        step = along ? across_step * whole_depth : depth_step * size;
        next = along ? DEPTH : DEPTH * size;
    }

    // This thread's part of the slice at hand, zeros beyond the edges, of which `deep` is how far the depth goes.
    __device__ __forceinline__ void read(real (&value)[LOADS], i64 deep) {
#pragma unroll
        for (int k = 0; k < LOADS; ++k) {
            const bool exists = k * across_step < left && depth + k * depth_step < deep;
            value[k] = exists ? from[k * step] : real(0);
        }
        from += next;
    }

    __device__ __forceinline__ void write(const real (&value)[LOADS], real (&to)[DEPTH][ROW]) const {
#pragma unroll
        for (int k = 0; k < LOADS; ++k) to[depth + k * depth_step][across + k * across_step] = value[k];
    }
};

// A thread's rows, and columns, of a tile lie in packs, the first of all threads side by side, then the second: so a
// warp's reads of shared memory touch no bank twice.
__device__ __forceinline__ int within(int place, int k) { return (k / WIDTH * SIDE + place) * WIDTH + k % WIDTH; }

__device__ __forceinline__ void take(real (&value)[EACH], const real* from, int place) {
#pragma unroll
    for (int k = 0; k < EACH; k += WIDTH) {
        const Pack pack = *reinterpret_cast<const Pack*>(from + within(place, k));
#pragma unroll
        for (int e = 0; e < WIDTH; ++e) value[k + e] = pack.at[e];
    }
}

// a is (n, k), or (k, n) if turned; b is (k, m), or (m, k) if turned. Slice s of the depth is [s * deep, (s + 1) * deep).
// With one slice c takes the result; else `partial` takes each slice's, (slices, n * m), and where db is wanted, behind
// those the sums of b's columns, (slices, m).
extern "C" __global__ void __launch_bounds__(BLOCK)
product(const real* a, int turned_a, const real* b, int turned_b, const real* bias, int activation, real slope,
        int accumulate, i64 n, i64 k, i64 m, i64 deep, int slices, real* c, real* db, real* partial) {
    __shared__ __align__(16) real shared_a[2][DEPTH][ROW];
    __shared__ __align__(16) real shared_b[2][DEPTH][ROW];
    const i64 tiles = (m + TILE - 1) / TILE;
    const i64 slice = blockIdx.x % slices, tile = blockIdx.x / slices;
    const i64 first_row = tile / tiles * TILE, first_column = tile % tiles * TILE;
    const i64 begin = slice * deep, end = begin + deep < k ? begin + deep : k;
    const int column = threadIdx.x % SIDE, row = threadIdx.x / SIDE;
    Reader from_a(a, !turned_a, n, k, first_row, begin), from_b(b, turned_b, m, k, first_column, begin);
    const bool sums = db && first_row == 0 && threadIdx.x < TILE;  // of b's columns, while its slices pass by
    real next_a[LOADS], next_b[LOADS], held[EACH][EACH], sum = 0;
#pragma unroll
    for (int i = 0; i < EACH; ++i)
#pragma unroll
        for (int j = 0; j < EACH; ++j) held[i][j] = 0;

    from_a.read(next_a, end - begin);
    from_b.read(next_b, end - begin);
    from_a.write(next_a, shared_a[0]);
    from_b.write(next_b, shared_b[0]);
    __syncthreads();
    int now = 0;
    for (i64 at = begin; at < end; at += DEPTH) {
        const bool more = at + DEPTH < end;
        if (more) {
            from_a.read(next_a, end - at - DEPTH);
            from_b.read(next_b, end - at - DEPTH);
        }
#pragma unroll
        for (int d = 0; d < DEPTH; ++d) {
            real of_a[EACH], of_b[EACH];
            take(of_a, shared_a[now][d], row);
            take(of_b, shared_b[now][d], column);
#pragma unroll
            for (int i = 0; i < EACH; ++i)
#pragma unroll
                for (int j = 0; j < EACH; ++j) held[i][j] += of_a[i] * of_b[j];
        }
        if (sums)
#pragma unroll
            for (int d = 0; d < DEPTH; ++d) sum += shared_b[now][d][threadIdx.x];
        if (more) {  // into the other half, which all threads have done with since the last barrier
            from_a.write(next_a, shared_a[1 - now]);
            from_b.write(next_b, shared_b[1 - now]);
            __syncthreads();
            now = 1 - now;
        }
    }

    real* to = slices == 1 ? c : partial + slice * (n * m);
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        const i64 y = first_row + within(row, i);
#pragma unroll
        for (int j = 0; j < EACH; ++j) {
            const i64 x = first_column + within(column, j);
            if (y >= n || x >= m) continue;
            real value = held[i][j];
            if (slices == 1) {
                if (bias) value += bias[x];
                value = activated(activation, value, slope);
                if (accumulate) value += to[y * m + x];
            }
            to[y * m + x] = value;
        }
    }
    const i64 x = first_column + threadIdx.x;
    if (sums && x < m) {
        if (slices == 1)
            db[x] = accumulate ? db[x] + sum : sum;
        else
            partial[slices * (n * m) + slice * m + x] = sum;
    }
}

// c (+)= the sum of its slices, in order; and db likewise, for which `size` holds n * m and `more` m.
extern "C" __global__ void __launch_bounds__(BLOCK)
add_slices(const real* partial, int slices, int accumulate, i64 size, i64 more, real* c, real* db) {
    const i64 i = i64(blockIdx.x) * BLOCK + threadIdx.x;
    if (i >= size + more) return;
    const bool bias = i >= size;
    const real* from = bias ? partial + slices * size + (i - size) : partial + i;
    real* to = bias ? db + (i - size) : c + i;
    real sum = 0;
    for (int s = 0; s < slices; ++s) sum += from[s * (bias ? more : size)];
    *to = accumulate ? *to + sum : sum;
}
