// CUDA C++ for g++: what a .cu file of extern "C" kernels needs to be compiled for the CPU, where every CUDA
// thread runs as a fiber. For tests: it shows what a kernel computes and whether its threads race, not how fast.
// runtime.cpp has the fibers and barriers; README.md says what can be trusted.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <utility>

#define __CUDA_EMU__ 1

// ------------------------------------------------------------ keywords

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __restrict__ __restrict
// All static shared arrays stand in one section, which the runtime fills with NaN before every block.
#define __shared__ static __attribute__((section("emulated_shared")))

// ------------------------------------------------------------ types

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

#define EMULATED_VECTOR(T, name, align2, align4)                                                              \
    struct alignas(align2) name##2 { T x, y; };                                                               \
    struct name##3 { T x, y, z; };                                                                            \
    struct alignas(align4) name##4 { T x, y, z, w; };                                                         \
    static inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                         \
    static inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATED_VECTOR(float, float, 8, 16)
EMULATED_VECTOR(double, double, 16, 16)
EMULATED_VECTOR(int, int, 8, 16)
EMULATED_VECTOR(unsigned, uint, 8, 16)
EMULATED_VECTOR(unsigned char, uchar, 2, 4)
EMULATED_VECTOR(unsigned short, ushort, 4, 8)

// ------------------------------------------------------------ the runtime, seen from a kernel

namespace emulated {

struct Thread {  // the part of a fiber that kernels read
    uint3 index;
    unsigned lane;
};

struct Config {  // a launch, as Python hands it over
    unsigned grid[3], block[3];
    uint64_t shared_bytes, seed;
    int order;        // 0 forward, 1 reverse, 2 random
    int flush;        // subnormal numbers become 0
    char* error;      // takes a message
    uint64_t error_room;
};

extern Thread* thread;
extern dim3 block, grid;
extern uint3 block_index;
extern unsigned char* dynamic_shared;

int sync_block(const char* site, int predicate);  // the number of threads whose predicate holds
void sync_warp(unsigned mask, const char* site);
uint64_t shuffle(unsigned mask, uint64_t value, int source, const char* site);  // source outside 0..31: its own
unsigned ballot(unsigned mask, int predicate, const char* site);
int run(Config*, void (*kernel)(void*), void* arguments);

template <class T>
static inline T shuffled(unsigned mask, T value, int source, const char* site) {
    static_assert(sizeof(T) <= 8 && std::is_trivially_copyable<T>::value, "shuffles take 4 or 8 bytes");
    uint64_t word = 0;
    std::memcpy(&word, &value, sizeof value);
    word = shuffle(mask, word, source, site);
    std::memcpy(&value, &word, sizeof value);
    return value;
}

// The C++ types of a kernel's parameters, to be held against its manifest.
template <class T> static inline const char* name_of() { return sizeof(T) == 16 ? "16 bytes" : "something else"; }
#define EMULATED_NAME(T, name) template <> inline const char* name_of<T>() { return name; }
EMULATED_NAME(float, "float")
EMULATED_NAME(double, "double")
EMULATED_NAME(int, "int")
EMULATED_NAME(unsigned, "u32")
EMULATED_NAME(long long, "i64")
EMULATED_NAME(unsigned long long, "u64")
EMULATED_NAME(unsigned char, "u8")
EMULATED_NAME(unsigned short, "u16")

template <class T>
static void describe(char* out, size_t room) {
    using Pointee = std::remove_pointer_t<T>;
    const size_t used = std::strlen(out);
    snprintf(out + used, room - used, "%s%s%s%s", used ? ", " : "", std::is_const_v<Pointee> ? "const " : "",
             name_of<std::remove_cv_t<Pointee>>(), std::is_pointer_v<T> ? "*" : "");
}

template <class... A>
static void signature(void (*)(A...), char* out, size_t room) {
    (describe<A>(out, room), ...);
}

template <class... A, size_t... I>
static int launch_with(void (*kernel)(A...), Config* config, void** arguments, std::index_sequence<I...>) {
    struct Bound {
        void (*kernel)(A...);
        void** arguments;
    } bound{kernel, arguments};
    const auto enter = [](void* b) {
        auto* bound = static_cast<Bound*>(b);
        bound->kernel(*static_cast<A*>(bound->arguments[I])...);
    };
    return run(config, enter, &bound);
}

// `sizes` are the bytes of every argument: of a wrong number or size a GPU would read garbage.
template <class... A>
static int launch(void (*kernel)(A...), Config* config, void** arguments, const int* sizes, int count) {
    const int wanted[] = {int(sizeof(A))..., 0};
    if (count != int(sizeof...(A))) {
        snprintf(config->error, config->error_room, "takes %d arguments, got %d", int(sizeof...(A)), count);
        return 1;
    }
    for (int i = 0; i < count; ++i)
        if (sizes[i] != wanted[i]) {
            snprintf(config->error, config->error_room, "argument %d is of %d bytes, got %d", i, wanted[i], sizes[i]);
            return 1;
        }
    return launch_with(kernel, config, arguments, std::index_sequence_for<A...>{});
}

}  // namespace emulated

// ------------------------------------------------------------ built-in names

#define threadIdx (emulated::thread->index)
#define blockIdx (emulated::block_index)
#define blockDim (emulated::block)
#define gridDim (emulated::grid)
#define warpSize 32

// A site is where a thread waits; the counter tells two on one line apart.
#define EMULATED_TEXT_(x) #x
#define EMULATED_TEXT(x) EMULATED_TEXT_(x)
#define EMULATED_SITE __FILE__ ":" EMULATED_TEXT(__LINE__) "#" EMULATED_TEXT(__COUNTER__)
#define EMULATED_FIRST(mask, ...) mask

#define __syncthreads() ((void)emulated::sync_block(EMULATED_SITE, 0))
#define __syncthreads_count(p) emulated::sync_block(EMULATED_SITE, (p))
#define __syncthreads_or(p) (emulated::sync_block(EMULATED_SITE, (p)) != 0)
#define __syncwarp(...) emulated::sync_warp(EMULATED_FIRST(__VA_ARGS__ __VA_OPT__(, ) 0xffffffffu), EMULATED_SITE)
#define __shfl_sync(m, v, s) emulated::shuffled((m), (v), int((s) & 31), EMULATED_SITE)
#define __shfl_xor_sync(m, v, o) emulated::shuffled((m), (v), int(emulated::thread->lane ^ (o)), EMULATED_SITE)
#define __shfl_down_sync(m, v, o) emulated::shuffled((m), (v), int(emulated::thread->lane + (o)), EMULATED_SITE)
#define __shfl_up_sync(m, v, o) emulated::shuffled((m), (v), int(emulated::thread->lane) - int(o), EMULATED_SITE)
#define __ballot_sync(m, p) emulated::ballot((m), (p), EMULATED_SITE)
#define __any_sync(m, p) (emulated::ballot((m), (p), EMULATED_SITE) != 0)
#define __all_sync(m, p) (emulated::ballot((m), (p), EMULATED_SITE) == (m))
#define __activemask() static_assert(false, "__activemask tells what happens to run together; name the lanes")

template <class T> static inline T __ldg(const T* p) { return *p; }
template <class T> static inline T __ldcs(const T* p) { return *p; }
template <class T> static inline void __stcs(T* p, T v) { *p = v; }
static inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// Atomics are real ones, so that ThreadSanitizer sees them as such.
template <class T, class F>
static inline T emulated_update(T* p, F f) {
    using Word = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
    Word old = __atomic_load_n(reinterpret_cast<Word*>(p), __ATOMIC_RELAXED), wanted;
    T before, after;
    do {
        std::memcpy(&before, &old, sizeof before);
        after = f(before);
        std::memcpy(&wanted, &after, sizeof after);
    } while (!__atomic_compare_exchange_n(reinterpret_cast<Word*>(p), &old, wanted, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return before;
}
template <class T> using emulated_same = std::common_type_t<T>;  // keeps T from being deduced by this argument
template <class T> static inline T atomicAdd(T* p, emulated_same<T> v) {
    return emulated_update(p, [&](T old) { return T(old + v); });
}
template <class T> static inline T atomicMax(T* p, emulated_same<T> v) {
    return emulated_update(p, [&](T old) { return old > v ? old : v; });
}
template <class T> static inline T atomicMin(T* p, emulated_same<T> v) {
    return emulated_update(p, [&](T old) { return old < v ? old : v; });
}
template <class T> static inline T atomicExch(T* p, emulated_same<T> v) {
    return emulated_update(p, [&](T) { return v; });
}
template <class T> static inline T atomicCAS(T* p, emulated_same<T> expected, emulated_same<T> v) {
    return emulated_update(p, [&](T old) { return old == expected ? v : old; });
}

// ------------------------------------------------------------ arithmetic

static inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static inline int __popc(unsigned v) { return __builtin_popcount(v); }
static inline int __clz(int v) { return v ? __builtin_clz(unsigned(v)) : 32; }
static inline int __ffs(int v) { return __builtin_ffs(v); }

template <class R, class T>
static inline R emulated_bits(T v) {
    static_assert(sizeof(R) == sizeof(T), "bits of one size");
    R r;
    std::memcpy(&r, &v, sizeof r);
    return r;
}
static inline int __float_as_int(float v) { return emulated_bits<int>(v); }
static inline float __int_as_float(int v) { return emulated_bits<float>(v); }
static inline unsigned __float_as_uint(float v) { return emulated_bits<unsigned>(v); }
static inline float __uint_as_float(unsigned v) { return emulated_bits<float>(v); }

template <class T> static inline emulated_same<T> max(T a, T b) { return a > b ? a : b; }
template <class T> static inline emulated_same<T> min(T a, T b) { return a < b ? a : b; }
// In double precision, as near to right as CUDA's own.
static inline float normcdf(float x) { return float(0.5 * std::erfc(-double(x) * 0.70710678118654752440)); }
static inline double normcdf(double x) {
    return double(0.5L * erfcl(-(long double)x * 0.707106781186547524400844362104849039L));
}
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline float rsqrt(float x) { return float(1.0 / std::sqrt(double(x))); }
static inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
// CUDA has these for both types under C's names.
using std::exp, std::expm1, std::fabs, std::fma, std::fmax, std::fmin, std::isfinite, std::isinf, std::isnan, std::log;
using std::log1p, std::sqrt, std::tanh;
