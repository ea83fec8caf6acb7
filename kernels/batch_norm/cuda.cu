#include "common.cuh"
// Batch normalisation. Mean and squares of every channel come in two stages: each block of threads takes a part of the
// values, in spans that are merged by Welford's rule in float64; then the parts are merged in order. The two
// maps work on columns and images alike: the channel of element i is (i / pixels) % channels.

constexpr int GROUP = 8;  // values of a thread that are on their way at once
constexpr int SPAN = 32;  // values that are added up in x's precision, as deviations from the first of them

struct Moments {
    double count, mean, squares;  // squares of deviations from the mean
};

__device__ __forceinline__ Moments merged(Moments a, Moments b) {
    if (b.count == 0) return a;
    if (a.count == 0) return b;
    const double count = a.count + b.count, apart = b.mean - a.mean;
    const double share = real(b.count) / real(count);  // of its precision no more is wanted than the values have
    return Moments{count, a.mean + apart * share, a.squares + b.squares + apart * apart * (a.count * share)};
}

// Of up to SPAN values: how far they are from a pivot, added up.
struct Span {
    real pivot, sum, squares;
    int count;

    __device__ __forceinline__ void add(const real (&value)[GROUP], int exist) {
#pragma unroll
        for (int k = 0; k < GROUP; ++k) {
            const real d = k < exist ? value[k] - pivot : real(0);
            sum += d;
            squares += d * d;
        }
        count += exist;
    }

    __device__ __forceinline__ Moments moments() const {
        const real mean = sum / real(count);
        return Moments{double(count), double(pivot) + double(mean), double(squares) - double(sum) * double(mean)};
    }
};

// Where part `part` of `parts` begins.
__device__ __forceinline__ i64 edge(i64 size, i64 part, i64 parts) { return size * part / parts; }

// ------------------------------------------------------------ values of a channel, in parts

// Columns of (n, c): lanes stand side by side, and blockDim.y rows of them take turns.
struct Columns {
    i64 column, columns;
    i64 part, begin, end;  // the part's rows

    __device__ __forceinline__ Columns(i64 rows, i64 columns, i64 parts) : columns(columns) {
        const i64 tiles = (columns + blockDim.x - 1) / blockDim.x;  // neighbouring blocks read neighbouring columns
        part = blockIdx.x / tiles;
        column = blockIdx.x % tiles * blockDim.x + threadIdx.x;
        begin = edge(rows, part, parts);
        end = column < columns ? edge(rows, part + 1, parts) : begin;
    }
};

// The sum over a block's threads of one column, `blockDim.y` of them, in the first.
template <class T, class F>
__device__ __forceinline__ T merge_column(T mine, T* shared, F merge) {
    const int place = threadIdx.y * blockDim.x + threadIdx.x;
    shared[place] = mine;
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (int(threadIdx.y) < half) shared[place] = merge(shared[place], shared[place + half * blockDim.x]);
    }
    return shared[place];
}

extern "C" __global__ void __launch_bounds__(BLOCK)
column_moments(const real* x, i64 rows, i64 columns, i64 parts, double* sums) {
    __shared__ Moments shared[BLOCK];
    const Columns at(rows, columns, parts);
    Moments found{0, 0, 0};
    const i64 height = blockDim.y, stride = height * columns;
    const real* from = x + (at.begin + threadIdx.y) * columns + at.column;
    for (i64 i = at.begin + threadIdx.y; i < at.end;) {
        Span span{*from, 0, 0, 0};
        for (int g = 0; g < SPAN / GROUP && i < at.end; ++g) {
            real value[GROUP];
            if (i + (GROUP - 1) * height < at.end) {
#pragma unroll
                for (int k = 0; k < GROUP; ++k, from += stride) value[k] = *from;
                span.add(value, GROUP);
            } else {
                int exist = 0;
#pragma unroll
                for (int k = 0; k < GROUP; ++k, from += stride) {
                    const bool exists = i + k * height < at.end;
                    value[k] = exists ? *from : real(0);
                    exist += exists;
                }
                span.add(value, exist);
            }
            i += GROUP * height;
        }
        found = merged(found, span.moments());
    }
    found = merge_column(found, shared, merged);
    if (threadIdx.y == 0 && at.column < columns) {
        sums[at.part * 2 * columns + at.column] = found.mean;
        sums[(at.part * 2 + 1) * columns + at.column] = found.squares;
    }
}

struct Pair {
    double dy, dyd;  // sums of dy, and of dy (x - mean)
};

constexpr int GROUP_OF_PAIRS = 4;  // of which a thread reads two numbers each, or three

__device__ __forceinline__ Pair added(Pair a, Pair b) { return Pair{a.dy + b.dy, a.dyd + b.dyd}; }

// Of a few gradients d that passed where `passed` is more than 0, and values v less their mean.
__device__ __forceinline__ Pair of_group(const real (&d)[GROUP_OF_PAIRS], const real (&v)[GROUP_OF_PAIRS],
                                         const real (&passed)[GROUP_OF_PAIRS]) {
    real sum = 0, product = 0;
#pragma unroll
    for (int k = 0; k < GROUP_OF_PAIRS; ++k) {
        const real through = passed[k] <= real(0) ? real(0) : d[k];
        sum += through;
        product += through * v[k];
    }
    return Pair{double(sum), double(product)};
}

extern "C" __global__ void __launch_bounds__(BLOCK)
column_gradients(const real* dy, const real* y, const real* x, const real* mean, i64 rows, i64 columns, i64 parts,
                 double* sums) {
    __shared__ Pair shared[BLOCK];
    const Columns at(rows, columns, parts);
    const real mu = at.column < columns ? mean[at.column] : real(0);
    Pair found{0, 0};
    for (i64 i = at.begin + threadIdx.y; i < at.end; i += GROUP_OF_PAIRS * blockDim.y) {
        real d[GROUP_OF_PAIRS], v[GROUP_OF_PAIRS], passed[GROUP_OF_PAIRS];
#pragma unroll
        for (int k = 0; k < GROUP_OF_PAIRS; ++k) {
            const i64 row = i + k * blockDim.y, place = row * columns + at.column;
            const bool exists = row < at.end;
            d[k] = exists ? dy[place] : real(0);
            v[k] = exists ? x[place] - mu : real(0);
            passed[k] = y && exists ? y[place] : real(1);
        }
        found = added(found, of_group(d, v, passed));
    }
    found = merge_column(found, shared, added);
    if (threadIdx.y == 0 && at.column < columns) {
        sums[at.part * 2 * columns + at.column] = found.dy;
        sums[(at.part * 2 + 1) * columns + at.column] = found.dyd;
    }
}

// Images (n, c, pixels): a block of threads walks through the values of one channel, from image to image.
struct Images {
    i64 channel, part, begin, end;  // the part's values
    i64 place, pixel;  // where this thread is: in memory, and in its image
    i64 pixels, step, more, jump;

    __device__ __forceinline__ Images(i64 images, i64 channels, i64 pixels, i64 parts) : pixels(pixels) {
        channel = blockIdx.x / parts;
        part = blockIdx.x % parts;
        begin = edge(images * pixels, part, parts);
        end = edge(images * pixels, part + 1, parts);
        const i64 image = (begin + threadIdx.x) / pixels, whole = BLOCK / pixels;
        pixel = (begin + threadIdx.x) % pixels;
        place = (image * channels + channel) * pixels + pixel;
        more = BLOCK % pixels;
        step = whole * channels * pixels + more;  // BLOCK values on, unless the image ends meanwhile
        jump = (channels - 1) * pixels;
    }

    // The place in memory of the value at hand; goes on to the next one.
    __device__ __forceinline__ i64 next() {
        const i64 here = place;
        place += step;
        pixel += more;
        if (pixel >= pixels) {
            pixel -= pixels;
            place += jump;
        }
        return here;
    }
};

template <class T, class F>
__device__ __forceinline__ T merge_block(T mine, T* shared, F merge) {
    shared[threadIdx.x] = mine;
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        __syncthreads();
        if (int(threadIdx.x) < half) shared[threadIdx.x] = merge(shared[threadIdx.x], shared[threadIdx.x + half]);
    }
    return shared[threadIdx.x];
}

extern "C" __global__ void __launch_bounds__(BLOCK)
image_moments(const real* x, i64 images, i64 channels, i64 pixels, i64 parts, double* sums) {
    __shared__ Moments shared[BLOCK];
    Images at(images, channels, pixels, parts);
    Moments found{0, 0, 0};
    for (i64 i = at.begin + threadIdx.x; i < at.end;) {
        Span span{x[at.place], 0, 0, 0};
        for (int g = 0; g < SPAN / GROUP && i < at.end; ++g, i += GROUP * BLOCK) {
            real value[GROUP];
            int exist = 0;
#pragma unroll
            for (int k = 0; k < GROUP; ++k) {
                const bool exists = i + k * BLOCK < at.end;
                const i64 place = at.next();
                value[k] = exists ? x[place] : real(0);
                exist += exists;
            }
            span.add(value, exist);
        }
        found = merged(found, span.moments());
    }
    found = merge_block(found, shared, merged);
    if (threadIdx.x == 0) {
        sums[at.part * 2 * channels + at.channel] = found.mean;
        sums[(at.part * 2 + 1) * channels + at.channel] = found.squares;
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK)
image_gradients(const real* dy, const real* y, const real* x, const real* mean, i64 images, i64 channels, i64 pixels,
                i64 parts, double* sums) {
    __shared__ Pair shared[BLOCK];
    Images at(images, channels, pixels, parts);
    const real mu = mean[at.channel];
    Pair found{0, 0};
    for (i64 i = at.begin + threadIdx.x; i < at.end; i += GROUP_OF_PAIRS * BLOCK) {
        real d[GROUP_OF_PAIRS], v[GROUP_OF_PAIRS], passed[GROUP_OF_PAIRS];
#pragma unroll
        for (int k = 0; k < GROUP_OF_PAIRS; ++k) {
            const bool exists = i + k * BLOCK < at.end;
            const i64 place = at.next();
            d[k] = exists ? dy[place] : real(0);
            v[k] = exists ? x[place] - mu : real(0);
            passed[k] = y && exists ? y[place] : real(1);
        }
        found = added(found, of_group(d, v, passed));
    }
    found = merge_block(found, shared, added);
    if (threadIdx.x == 0) {
        sums[at.part * 2 * channels + at.channel] = found.dy;
        sums[(at.part * 2 + 1) * channels + at.channel] = found.dyd;
    }
}

// ------------------------------------------------------------ from the parts to what the maps need

// Statistics of every channel of `values` values, whose parts are merged in order, in two passes without divisions,
// and so with independent loads; and y = (x - terms[0]) terms[1] + terms[2].
extern "C" __global__ void __launch_bounds__(BLOCK)
finish_moments(const double* sums, i64 parts, i64 values, i64 channels, const real* gamma, const real* beta, double eps,
               i64 correction, real* mean, real* var, real* inv_std, real* terms) {
    const i64 j = i64(blockIdx.x) * BLOCK + threadIdx.x;
    if (j >= channels) return;
    double sum = 0, squares_of_parts = 0, apart = 0;
    for (i64 part = 0; part < parts; ++part) {
        const double count = double(edge(values, part + 1, parts) - edge(values, part, parts));
        sum += count > 0 ? count * sums[part * 2 * channels + j] : 0;
    }
    const double center = sum / double(values);
    for (i64 part = 0; part < parts; ++part) {
        const double* of = sums + part * 2 * channels + j;
        const double count = double(edge(values, part + 1, parts) - edge(values, part, parts)), d = of[0] - center;
        squares_of_parts += of[channels];
        apart += count > 0 ? count * d * d : 0;
    }
    const double nothing = center - center;  // NaN where the mean is infinite: no deviation from it exists
    const double squares = squares_of_parts + apart + nothing;
    const double inverse = 1 / sqrt(squares / double(values) + eps);
    const real rounded = real(center);
    mean[j] = rounded;
    var[j] = real(squares / double(values - correction));
    inv_std[j] = real(inverse);
    const double scale = inverse * double(gamma[j]), lost = center - double(rounded);
    terms[j] = rounded;
    terms[channels + j] = real(scale);
    terms[2 * channels + j] = lost != 0 ? real(double(beta[j]) - lost * scale) : beta[j];  // gamma may be infinite
}

extern "C" __global__ void __launch_bounds__(BLOCK)
predict_terms(const real* gamma, const real* beta, double eps, const real* mean, const real* var, i64 channels,
              real* terms) {
    const i64 j = i64(blockIdx.x) * BLOCK + threadIdx.x;
    if (j >= channels) return;
    terms[j] = mean[j];
    terms[channels + j] = real(double(gamma[j]) / sqrt(double(var[j]) + eps));
    terms[2 * channels + j] = beta[j];
}

// dgamma and dbeta, and dx = terms[0] dy - terms[1] - terms[2] (x - mean).
extern "C" __global__ void __launch_bounds__(BLOCK)
finish_gradients(const double* sums, i64 parts, i64 values, i64 channels, const real* gamma, const real* inv_std,
                 int accumulate, real* dgamma, real* dbeta, real* terms) {
    const i64 j = i64(blockIdx.x) * BLOCK + threadIdx.x;
    if (j >= channels) return;
    Pair found{0, 0};
    for (i64 part = 0; part < parts; ++part) {
        const double* of = sums + part * 2 * channels + j;
        found = added(found, Pair{of[0], of[channels]});
    }
    const double inverse = inv_std[j], g = found.dyd * inverse, scale = double(gamma[j]) * inverse;
    dgamma[j] = real(accumulate ? double(dgamma[j]) + g : g);
    dbeta[j] = real(accumulate ? double(dbeta[j]) + found.dy : found.dy);
    terms[j] = real(scale);
    terms[channels + j] = real(scale * found.dy / double(values));
    terms[2 * channels + j] = real(scale * inverse * g / double(values));
}

// ------------------------------------------------------------ maps over all elements

constexpr int MAPPED = sizeof(real) == 4 ? 2 : 1;  // packs of a thread; more doubles spill

// How the channels of a pack's elements stand to each other: all the same, neighbours, or anyhow.
enum { SAME, NEIGHBOURS, ANYHOW };

__device__ __forceinline__ int arrangement(i64 channels, i64 pixels, const real* terms, const real* others) {
    if (pixels % WIDTH == 0) return SAME;
    return pixels == 1 && channels % WIDTH == 0 && fits(terms) && fits(others) ? NEIGHBOURS : ANYHOW;
}

// Which channel element i belongs to, and those after it.
struct Channel {
    i64 channel, pixel, channels, pixels;
    int how;

    __device__ __forceinline__ Channel(i64 i, i64 n, i64 channels, i64 pixels, int how)
        : channels(channels), pixels(pixels), how(how) {
        if (n <= 0xffffffffLL) {  // a division of 64 bits takes four times as long
            const u32 plane = how == NEIGHBOURS ? u32(i) : u32(i) / u32(pixels);
            pixel = u32(i) - plane * u32(pixels);
            channel = plane % u32(channels);
        } else {
            pixel = i % pixels;
            channel = i / pixels % channels;
        }
    }

    // A term of each element's channel.
    __device__ __forceinline__ Pack of(const real* term) const {
        if (how == NEIGHBOURS) return *reinterpret_cast<const Pack*>(term + channel);
        Pack pack;
        i64 c = channel, p = pixel;
#pragma unroll
        for (int e = 0; e < WIDTH; ++e) {
            pack.at[e] = e && how == SAME ? pack.at[0] : term[c];
            if (how == ANYHOW && ++p == pixels) {
                p = 0;
                if (++c == channels) c = 0;
            }
        }
        return pack;
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK)
normalise(const real* x, const real* terms, i64 n, i64 channels, i64 pixels, int relu, real* y) {
    const bool packed = fits(x) && fits(y);
    const i64 first = (i64(blockIdx.x) * MAPPED * BLOCK + threadIdx.x) * WIDTH;
    Pack v[MAPPED];
#pragma unroll
    for (int p = 0; p < MAPPED; ++p) {
        const i64 i = first + i64(p) * BLOCK * WIDTH;
        v[p] = load(x, i, n, packed && i + WIDTH <= n);
    }
    const int how = arrangement(channels, pixels, terms, terms);
#pragma unroll
    for (int p = 0; p < MAPPED; ++p) {
        const i64 i = first + i64(p) * BLOCK * WIDTH;
        const Channel at(i, n, channels, pixels, how);
        const Pack center = at.of(terms), scale = at.of(terms + channels), shift = at.of(terms + 2 * channels);
#pragma unroll
        for (int e = 0; e < WIDTH; ++e) {
            const real out = (v[p].at[e] - center.at[e]) * scale.at[e] + shift.at[e];
            v[p].at[e] = relu && out <= real(0) ? real(0) : out;
        }
        store(y, i, n, packed && i + WIDTH <= n, v[p]);
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK)
input_gradient(const real* dy, const real* y, const real* x, const real* mean, const real* terms, i64 n, i64 channels,
               i64 pixels, real* dx) {
    const bool packed = fits(dy) && fits(y) && fits(x) && fits(dx);
    const i64 first = (i64(blockIdx.x) * MAPPED * BLOCK + threadIdx.x) * WIDTH;
    Pack d[MAPPED], v[MAPPED], out[MAPPED];
#pragma unroll
    for (int p = 0; p < MAPPED; ++p) {
        const i64 i = first + i64(p) * BLOCK * WIDTH;
        const bool whole = packed && i + WIDTH <= n;
        d[p] = load(dy, i, n, whole);
        v[p] = load(x, i, n, whole);
        if (y) out[p] = load(y, i, n, whole);
    }
    const int how = arrangement(channels, pixels, terms, mean);
#pragma unroll
    for (int p = 0; p < MAPPED; ++p) {
        const i64 i = first + i64(p) * BLOCK * WIDTH;
        const Channel at(i, n, channels, pixels, how);
        const Pack scale = at.of(terms), constant = at.of(terms + channels), slope = at.of(terms + 2 * channels);
        const Pack center = at.of(mean);
#pragma unroll
        for (int e = 0; e < WIDTH; ++e) {
            const real gradient = y && out[p].at[e] <= real(0) ? real(0) : d[p].at[e];
            d[p].at[e] = scale.at[e] * gradient - constant.at[e] - slope.at[e] * (v[p].at[e] - center.at[e]);
        }
        store(dx, i, n, packed && i + WIDTH <= n, d[p]);
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK)
running(const real* batch, real share, const i64* status, real* averages, i64 n) {
    if (status[0]) return;
    map({batch, averages}, averages, n, [=](const real(&v)[2]) { return v[1] + share * (v[0] - v[1]); });
}
