// Fibers, barriers, warps and the order in which threads run. Compiled without sanitizers; ADDRESS or THREAD adds
// the calls that tell a sanitizer of fibers.
//
// One block runs at a time, one fiber a thread. Fibers take turns: each runs until it waits at a barrier or a
// shuffle, or returns. A warp's lanes go on when all that the mask names have come to the same site; a block's
// threads when all have. The order of turns is forward, reverse or drawn from a seed.
#include "cuda.h"

#include <map>
#include <string>
#include <sys/mman.h>
#include <vector>
#include <xmmintrin.h>
#ifdef ADDRESS
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef THREAD
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned);
void __tsan_switch_to_fiber(void*, unsigned);
void __tsan_acquire(void*);
void __tsan_release(void*);
}
#else
static void __tsan_acquire(void*) {}
static void __tsan_release(void*) {}
#endif

extern "C" char __start_emulated_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_emulated_shared[] __attribute__((weak, visibility("hidden")));

namespace emulated {

// ------------------------------------------------------------ switching stacks

// Pushes what a function must keep, changes stacks, and pops it there.
extern "C" void emulated_switch(void** from, void* to);
#if defined(__x86_64__)
__asm__(
    ".text\n.local emulated_switch\n.type emulated_switch,@function\nemulated_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
    ".size emulated_switch,.-emulated_switch\n");
constexpr int KEPT = 6;
#else
#error "emulated_switch is written for x86-64 alone; add this processor's"
#endif

enum State : uint8_t { READY, AT_BLOCK, AT_WARP, DONE };

struct Fiber : Thread {
    void* stack_pointer = nullptr;
    char* stack = nullptr;
    size_t stack_size = 0;
    void *fake_stack = nullptr, *tsan = nullptr;  // of the sanitizers
    State state = DONE;
    const char* site = nullptr;  // where it waits
    unsigned mask = 0;           // for which lanes
    unsigned barriers = 0;       // passed so far
    int source = -1, predicate = 0, count = 0;
    uint64_t given = 0, taken = 0;
    unsigned votes = 0;
};

constexpr size_t STACK = 64 << 10;
constexpr int MOST_THREADS = 1024, MOST_SHARED = 227 << 10;

Thread* thread = nullptr;
dim3 block, grid;
uint3 block_index;
unsigned char* dynamic_shared = nullptr;

static std::vector<Fiber> fibers;
static Fiber scheduler;
static const Config* config;
static void (*entry)(void*);
static void* entry_arguments;
static unsigned threads;
static uint64_t random_state;
static std::string error;

// For ThreadSanitizer: what orders threads. Two objects a barrier, taken in turn, so that a thread that runs ahead
// does not seem to be ordered after one that is still behind.
static char began, ended, at_block[2];
struct Turns {
    char objects[2];
    unsigned passed;
};
static std::map<std::pair<unsigned, unsigned>, Turns> at_warp;  // by warp and mask: two halves do not order each other

static uint64_t random_number() {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static Fiber* me() { return static_cast<Fiber*>(thread); }
static unsigned number(const Fiber* fiber) { return unsigned(fiber - fibers.data()); }

static std::string place(const Fiber* fiber) {
    char text[128];
    snprintf(text, sizeof text, "block (%u, %u, %u), thread (%u, %u, %u)", block_index.x, block_index.y, block_index.z,
             fiber->index.x, fiber->index.y, fiber->index.z);
    return text;
}

static void fail(std::string message) {
    if (error.empty()) error = std::move(message);
}

static void jump(Fiber& from, Fiber& to, bool for_ever = false) {
    (void)for_ever;
#ifdef ADDRESS
    __sanitizer_start_switch_fiber(for_ever ? nullptr : &from.fake_stack, to.stack, to.stack_size);
#endif
#ifdef THREAD
    __tsan_switch_to_fiber(to.tsan, 1);  // 1: a switch orders nothing
#endif
    thread = &to;
    emulated_switch(&from.stack_pointer, to.stack_pointer);
#ifdef ADDRESS
    __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

[[noreturn]] static void leave() {
    me()->state = DONE;
    jump(*me(), scheduler, true);
    __builtin_unreachable();
}

static void first_turn() {
#ifdef ADDRESS
    __sanitizer_finish_switch_fiber(nullptr, (const void**)&scheduler.stack, &scheduler.stack_size);
#endif
    __tsan_acquire(&began);
    entry(entry_arguments);
    __tsan_release(&ended);
    leave();
}

static void wait(State state, const char* site) {
    me()->state = state;
    me()->site = site;
    jump(*me(), scheduler);
}

// ------------------------------------------------------------ what kernels call

int sync_block(const char* site, int predicate) {
    Fiber* fiber = me();
    fiber->predicate = predicate != 0;
    char* barrier = &at_block[fiber->barriers++ & 1];
    __tsan_release(barrier);
    wait(AT_BLOCK, site);
    __tsan_acquire(barrier);
    return fiber->count;
}

// Lanes come together, and memory is not put in order: CUDA says so of shuffles and votes.
static void meet(unsigned mask, const char* site) {
    Fiber* fiber = me();
    if (!(mask >> fiber->lane & 1)) {
        fail(std::string(site) + ": the mask does not name the lane that calls; " + place(fiber));
        leave();
    }
    fiber->mask = mask;
    wait(AT_WARP, site);
}

void sync_warp(unsigned mask, const char* site) {
    Fiber* fiber = me();
    fiber->source = -1;
    fiber->predicate = 0;
    Turns& turns = at_warp[{number(fiber) / 32, mask}];
    char* barrier = &turns.objects[turns.passed & 1];
    __tsan_release(barrier);
    meet(mask, site);
    __tsan_acquire(barrier);
}

uint64_t shuffle(unsigned mask, uint64_t value, int source, const char* site) {
    Fiber* fiber = me();
    fiber->given = value;
    fiber->source = source;
    fiber->predicate = 0;
    meet(mask, site);
    return fiber->taken;
}

unsigned ballot(unsigned mask, int predicate, const char* site) {
    Fiber* fiber = me();
    fiber->source = -1;
    fiber->predicate = predicate != 0;
    meet(mask, site);
    return fiber->votes;
}

// ------------------------------------------------------------ who may go on

static bool release_block() {
    const char* site = nullptr;
    unsigned returned = 0;
    int count = 0;
    for (unsigned i = 0; i < threads; ++i) {
        Fiber& fiber = fibers[i];
        if (fiber.state == DONE) {
            ++returned;
            continue;
        }
        if (fiber.state != AT_BLOCK) return false;
        count += fiber.predicate;
        if (site && fiber.site != site) {
            fail(std::string("threads wait at two barriers, ") + site + " and " + fiber.site + "; " + place(&fiber));
            return false;
        }
        site = fiber.site;
    }
    if (!site) return false;
    if (returned) {
        fail(std::string(site) + ": a barrier after " + std::to_string(returned) + " threads of the block returned; " +
             place(&fibers[0]));
        return false;
    }
    for (unsigned i = 0; i < threads; ++i) {
        fibers[i].state = READY;
        fibers[i].count = count;
    }
    return true;
}

// The lanes that a waiting fiber's mask names, if all of them have come.
static bool complete(unsigned warp, const Fiber& fiber, unsigned* votes) {
    for (unsigned lane = 0; lane < 32; ++lane) {
        if (!(fiber.mask >> lane & 1)) continue;
        if (warp + lane >= threads || fibers[warp + lane].state == DONE) {
            fail(std::string(fiber.site) + ": the mask names a lane that returned or does not exist; " + place(&fiber));
            return false;
        }
        const Fiber& other = fibers[warp + lane];
        if (other.state != AT_WARP || other.mask != fiber.mask || other.site != fiber.site) return false;
        *votes |= unsigned(other.predicate) << lane;
    }
    return true;
}

static bool release_warps() {
    bool any = false;
    for (unsigned i = 0; i < threads; ++i) {
        Fiber& fiber = fibers[i];
        const unsigned warp = i / 32 * 32, mask = fiber.mask;
        unsigned votes = 0;
        if (fiber.state != AT_WARP || !complete(warp, fiber, &votes)) {
            if (!error.empty()) return false;
            continue;
        }
        any = true;
        ++at_warp[{warp / 32, mask}].passed;
        for (unsigned lane = 0; lane < 32; ++lane) {
            if (!(mask >> lane & 1)) continue;
            Fiber& other = fibers[warp + lane];
            const bool own = other.source < 0 || other.source > 31;
            if (!own && !(mask >> other.source & 1)) {
                fail(std::string(other.site) + ": a shuffle reads a lane that the mask does not name; " + place(&other));
                return false;
            }
            other.taken = own ? other.given : fibers[warp + other.source].given;
            other.votes = votes;
        }
        for (unsigned lane = 0; lane < 32; ++lane)
            if (mask >> lane & 1) fibers[warp + lane].state = READY;
    }
    return any;
}

// ------------------------------------------------------------ running a block

static void prepare(unsigned i) {
    Fiber& fiber = fibers[i];
    fiber.index = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
    fiber.lane = i % 32;
    fiber.state = READY;
    fiber.barriers = 0;
    fiber.source = -1;
    fiber.predicate = 0;
    fiber.fake_stack = nullptr;
    void** top = reinterpret_cast<void**>(fiber.stack + fiber.stack_size);
    *--top = nullptr;  // so that the stack is aligned as after a call
    *--top = reinterpret_cast<void*>(first_turn);
    for (int k = 0; k < KEPT; ++k) *--top = nullptr;
    fiber.stack_pointer = top;
}

static void arrange(std::vector<unsigned>& ready) {
    const size_t count = ready.size();
    if (config->order == 1)
        for (size_t i = 0; i < count / 2; ++i) std::swap(ready[i], ready[count - 1 - i]);
    if (config->order == 2)
        for (size_t i = count - 1; i > 0; --i) std::swap(ready[i], ready[random_number() % (i + 1)]);
}

static std::string who_waits() {
    std::string text;
    const char* last = nullptr;
    for (unsigned i = 0; i < threads; ++i)
        if (fibers[i].state != DONE && fibers[i].site != last) {
            last = fibers[i].site;
            text += std::string(text.empty() ? "" : " and ") + last;
        }
    return text;
}

static void fill_with_nan(volatile char* begin, volatile char* end) {  // volatile: not by a sanitizer's memset
    for (volatile char* p = begin; p < end; ++p) *p = char(0xFF);
}

static void run_block() {
    fill_with_nan(__start_emulated_shared, __stop_emulated_shared);
    if (dynamic_shared) {
        char* begin = reinterpret_cast<char*>(dynamic_shared);
        fill_with_nan(begin, begin + config->shared_bytes);
    }
    for (unsigned i = 0; i < threads; ++i) prepare(i);
    std::vector<unsigned> ready;
    while (error.empty()) {
        ready.clear();
        for (unsigned i = 0; i < threads; ++i)
            if (fibers[i].state == READY) ready.push_back(i);
        if (ready.empty()) {
            const std::string waiting = who_waits();
            if (waiting.empty()) break;
            if (!release_warps() && error.empty() && !release_block())
                fail("all threads wait, at " + waiting + "; " + place(&fibers[0]));
            continue;
        }
        arrange(ready);
        for (unsigned i : ready) {
            jump(scheduler, fibers[i]);
            if (!error.empty()) break;
            if (config->order == 2 && random_number() % 16 == 0 && release_warps()) break;  // a warp runs ahead
        }
    }
#ifdef ADDRESS
    for (unsigned i = 0; i < threads; ++i) __asan_unpoison_memory_region(fibers[i].stack, fibers[i].stack_size);
#endif
}

static void make_fibers() {
    if (fibers.capacity() < MOST_THREADS) fibers.reserve(MOST_THREADS);  // they must not move
    while (fibers.size() < threads) {
        fibers.emplace_back();
        Fiber& fiber = fibers.back();
        void* memory = mmap(nullptr, STACK + 4096, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        mprotect(memory, 4096, PROT_NONE);  // an overflow faults
        fiber.stack = static_cast<char*>(memory) + 4096;
        fiber.stack_size = STACK;
#ifdef THREAD
        fiber.tsan = __tsan_create_fiber(0);
#endif
    }
}

static uint64_t common_divisor(uint64_t a, uint64_t b) { return b ? common_divisor(b, a % b) : a; }

int run(Config* wanted, void (*kernel)(void*), void* arguments) {
    config = wanted;
    entry = kernel;
    entry_arguments = arguments;
    block = {config->block[0], config->block[1], config->block[2]};
    grid = {config->grid[0], config->grid[1], config->grid[2]};
    threads = block.x * block.y * block.z;
    error.clear();
    random_state = config->seed * 2654435761u + 88172645463325252ull;
    if (!threads || threads > MOST_THREADS || block.z > 64) fail("a block of that shape cannot be launched");
    if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
        fail("a grid of that shape cannot be launched");
    if (config->shared_bytes > MOST_SHARED) fail("more dynamic shared memory than a block can have");
    void* raw = nullptr;
    if (error.empty()) {
        make_fibers();
        if (config->shared_bytes && posix_memalign(&raw, 16, config->shared_bytes)) fail("no memory");
    }
    dynamic_shared = static_cast<unsigned char*>(raw);
#ifdef THREAD
    scheduler.tsan = __tsan_get_current_fiber();
#endif
    const uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
    uint64_t step = 1, offset = config->order == 1 && blocks ? blocks - 1 : 0;
    if (config->order == 1 && blocks > 1) step = blocks - 1;
    if (config->order == 2 && blocks > 1) {
        offset = random_number() % blocks;
        do step = random_number() % blocks;
        while (!step || common_divisor(step, blocks) != 1);
    }
    const unsigned modes = _mm_getcsr();
    if (config->flush) _mm_setcsr(modes | 0x8040);
    for (uint64_t k = 0; k < blocks && error.empty(); ++k) {
        const uint64_t at = (offset + k * step) % blocks;
        block_index = {unsigned(at % grid.x), unsigned(at / grid.x % grid.y), unsigned(at / grid.x / grid.y)};
        __tsan_release(&began);  // blocks follow one another: races are looked for within each
        run_block();
        __tsan_acquire(&ended);
    }
    _mm_setcsr(modes);
    free(raw);
    dynamic_shared = nullptr;
    if (error.empty()) return 0;
    snprintf(config->error, config->error_room, "%s", error.c_str());
    return 1;
}

}  // namespace emulated
