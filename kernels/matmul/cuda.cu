#include "activation/cuda.cuh"
// c = f(a b + bias), where a and b may each be given as its transpose: tiles of TILE x TILE, DEPTH at a time through
// shared memory, twice over so that the next slice is on its way while this one is used; each thread holds a square of
// c in registers. A deep product can be cut in slices of its depth, which are added up in order.

constexpr int SIDE = 16;  // threads of a block along each side of a tile
constexpr int EACH = TILE / SIDE;  // rows, and columns, of c a thread
constexpr int DEPTH = 8;
constexpr int LOADS = TILE * DEPTH / BLOCK;  // elements of a, and of b, that a thread loads a time
constexpr int ROW = TILE + WIDTH;  // of shared memory: so much longer that the stores of a warp spread over the banks

// Which elements of a factor's slices a thread loads. A factor is seen as (across, depth): across are the rows of a, or
// the columns of b. `along` says that neighbours in memory lie along the depth; so do a warp's reads then.
struct Reader {
    const real* from;
    i64 line;  // in memory, from one row of the array to the next
    bool along;
    int inside;  // a bit a load: whether it is within the factor across

    __device__ __forceinline__ Reader(const real* factor, bool along, i64 size, i64 whole_depth, i64 first, i64 begin)
        : line(along ? whole_depth : size), along(along), inside(0) {
        const i64 a = first + across(), d = begin + depth();
        from = factor + (along ? a * line + d : d * line + a);
#pragma unroll
        for (int k = 0; k < LOADS; ++k) inside |= int(a + k * (along ? BLOCK / DEPTH : 0) < size) << k;
    }

    // Of this thread's first load; computed anew each time, since registers are what a product is short of.
    __device__ __forceinline__ int across() const { return along ? threadIdx.x / DEPTH : threadIdx.x % TILE; }
    __device__ __forceinline__ int depth() const { return along ? threadIdx.x % DEPTH : threadIdx.x / TILE; }

    // This thread's part of the slice at hand, which goes `deep`; zeros beyond the edges.
    __device__ __forceinline__ void read(real (&value)[LOADS], int deep) {
        const int left = deep - depth();
#pragma unroll
        for (int k = 0; k < LOADS; ++k) {
            const bool exists = (inside >> k & 1) && (along ? 0 : k * (BLOCK / TILE)) < left;
            value[k] = exists ? from[k * (along ? BLOCK / DEPTH : BLOCK / TILE) * line] : real(0);
        }
        from += along ? DEPTH : DEPTH * line;
    }

    __device__ __forceinline__ void write(const real (&value)[LOADS], real* to) const {
        to += depth() * ROW + across();
#pragma unroll
        for (int k = 0; k < LOADS; ++k) to[k * (along ? BLOCK / DEPTH : BLOCK / TILE * ROW)] = value[k];
    }
};

// A thread's rows, and columns, of a tile lie in packs, the first of all threads side by side, then the second: so a
// warp's reads of shared memory touch no bank twice.
// How far a thread's number k is from its first:
__device__ __forceinline__ constexpr int apart(int k) { return k / WIDTH * SIDE * WIDTH + k % WIDTH; }

__device__ __forceinline__ void take(real (&value)[EACH], const real* from, int place) {
#pragma unroll
    for (int k = 0; k < EACH; k += WIDTH) {
        const Pack pack = *reinterpret_cast<const Pack*>(from + place * WIDTH + apart(k));
#pragma unroll
        for (int e = 0; e < WIDTH; ++e) value[k + e] = pack.at[e];
    }
}

// a is (n, k), or (k, n) if turned; b is (k, m), or (m, k) if turned. Slice s of the depth is [s * deep, (s + 1) * deep).
// With one slice c takes the result; else `partial` takes each slice's, (slices, n * m), and where db is wanted, behind
// those the sums of b's columns, (slices, m).
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
product(const real* a, int turned_a, const real* b, int turned_b, const real* bias, int activation, real slope,
        int accumulate, i64 n, i64 k, i64 m, i64 deep, int slices, real* c, real* db, real* partial) {
    __shared__ __align__(16) real shared_a[2][DEPTH * ROW];
    __shared__ __align__(16) real shared_b[2][DEPTH * ROW];
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

    from_a.read(next_a, int(end - begin < DEPTH ? end - begin : DEPTH));
    from_b.read(next_b, int(end - begin < DEPTH ? end - begin : DEPTH));
    from_a.write(next_a, shared_a[0]);
    from_b.write(next_b, shared_b[0]);
    __syncthreads();
    int now = 0;
    for (i64 at = begin; at < end; at += DEPTH) {
        const bool more = at + DEPTH < end;
        if (more) {
            from_a.read(next_a, int(end - at - DEPTH < DEPTH ? end - at - DEPTH : DEPTH));
            from_b.read(next_b, int(end - at - DEPTH < DEPTH ? end - at - DEPTH : DEPTH));
        }
#pragma unroll 2
        for (int d = 0; d < DEPTH; ++d) {
            real of_a[EACH], of_b[EACH];
            take(of_a, shared_a[now] + d * ROW, row);
            take(of_b, shared_b[now] + d * ROW, column);
#pragma unroll
            for (int i = 0; i < EACH; ++i)
#pragma unroll
                for (int j = 0; j < EACH; ++j) held[i][j] += of_a[i] * of_b[j];
        }
        if (sums)
#pragma unroll
            for (int d = 0; d < DEPTH; ++d) sum += shared_b[now][d * ROW + threadIdx.x];
        if (more) {  // into the other half, which all threads have done with since the last barrier
            from_a.write(next_a, shared_a[1 - now]);
            from_b.write(next_b, shared_b[1 - now]);
            __syncthreads();
            now = 1 - now;
        }
    }

    // From here on places are counted from this thread's own in the tile.
    const int own_row = row * WIDTH, own_column = column * WIDTH;
    real* to = (slices == 1 ? c : partial + slice * (n * m)) + (first_row + own_row) * m + first_column + own_column;
    const real* added = bias && slices == 1 ? bias + first_column + own_column : nullptr;
    const int rows = int(min(n - first_row - own_row, i64(TILE))), columns = int(min(m - first_column - own_column, i64(TILE)));
    real bias_of[EACH];
#pragma unroll
    for (int j = 0; j < EACH; ++j) bias_of[j] = added && apart(j) < columns ? added[apart(j)] : real(0);
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        if (apart(i) >= rows) continue;
        real* line = to + apart(i) * m;
#pragma unroll
        for (int j = 0; j < EACH; ++j) {
            held[i][j] += bias_of[j];
            if (activation == RELU) held[i][j] = relu_of(held[i][j]);
        }
        if (accumulate)
#pragma unroll
            for (int j = 0; j < EACH; ++j)
                if (apart(j) < columns) held[i][j] += line[apart(j)];
#pragma unroll
        for (int j = 0; j < EACH; ++j)
            if (apart(j) < columns) line[apart(j)] = held[i][j];
    }
    // The other activations are long: once in the code, in a loop, not once for each number held.
    if (activation > RELU) {
#pragma unroll 1
        for (int e = 0; e < EACH * EACH; ++e) {
            const int y = apart(e / EACH), x = apart(e % EACH);
            if (y < rows && x < columns) to[y * m + x] = activated(activation, to[y * m + x], slope);
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
