// Runs CUDA kernels as C++ on the host, one block after another, so that their arithmetic, their indices and their use
// of barriers can be tested without a GPU. Comes before a kernel's source.
//
// Every thread of a block is a coroutine with a stack of its own. Warps take turns, in ascending or in descending order,
// and a turn ends at a barrier of the block only, so a barrier that is missing gives different results in the two
// orders. A barrier that not all threads reach ends the program.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __launch_bounds__(threads)
#define __shared__ static
#define __noinline__ __attribute__((noinline))

struct Index {
    unsigned x, y, z;
};
inline Index threadIdx, blockIdx, blockDim, gridDim;

namespace host_cuda {

constexpr int WARP = 32;
constexpr size_t STACK = 128 << 10;
enum State { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };

struct Thread {
    ucontext_t context;
    Index index;
    State state;
    bool vote;
    float shuffled;
};

inline std::vector<Thread> threads;
inline std::vector<char> stacks;
inline ucontext_t scheduler;
inline int running;
inline bool voted;
inline void (*body)();

inline void fail(const char* what) {
    std::fprintf(stderr, "host_cuda: %s\n", what);
    std::abort();
}

inline void wait_at(State barrier) {
    Thread& self = threads[running];
    self.state = barrier;
    swapcontext(&self.context, &scheduler);
    threadIdx = self.index;
}

inline void start() {
    threadIdx = threads[running].index;
    body();
    threads[running].state = DONE;
    swapcontext(&threads[running].context, &scheduler);
}

// Lets threads go on that have all reached the same barrier; whether there were any.
inline bool release(size_t first, size_t last, State barrier) {
    for (size_t i = first; i < last; ++i) {
        if (threads[i].state != barrier) return false;
    }
    for (size_t i = first; i < last; ++i) threads[i].state = READY;
    return true;
}

inline void run_block(bool descending) {
    const size_t count = threads.size();
    for (size_t i = 0; i < count; ++i) {
        Thread& thread = threads[i];
        thread.index = {unsigned(i % blockDim.x), unsigned(i / blockDim.x % blockDim.y), unsigned(i / blockDim.x / blockDim.y)};
        thread.state = READY;
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = &stacks[i * STACK];
        thread.context.uc_stack.ss_size = STACK;
        thread.context.uc_link = nullptr;
        makecontext(&thread.context, start, 0);
    }
    for (;;) {
        const size_t warps = (count + WARP - 1) / WARP;
        for (size_t w = 0; w < warps; ++w) {
            const size_t first = (descending ? warps - 1 - w : w) * WARP;
            const size_t last = first + WARP < count ? first + WARP : count;
            do {  // a warp goes as far as it can before the others move
                for (size_t i = first; i < last; ++i) {
                    running = int(descending ? first + last - 1 - i : i);
                    if (threads[running].state == READY) swapcontext(&scheduler, &threads[running].context);
                }
            } while (release(first, last, AT_WARP_BARRIER));
        }
        size_t done = 0;
        bool vote = true;
        for (const Thread& thread : threads) {
            done += thread.state == DONE;
            vote = vote && thread.vote;
        }
        if (done == count) return;
        if (!release(0, count, AT_BLOCK_BARRIER)) fail("a barrier was not reached by all threads");
        voted = vote;
    }
}

// Arguments come as eight bytes each, ints and addresses as int64 and floats as double, as cuda-core passes them.
template <typename T>
T unpack(uint64_t raw) {
    static_assert(sizeof(T) == 8, "a parameter that is not eight bytes");
    T value;
    std::memcpy(&value, &raw, 8);
    return value;
}

template <typename... T, size_t... I>
void run(void (*kernel)(T...), const uint64_t* raw, std::index_sequence<I...>, const unsigned* grid, const unsigned* block,
         bool descending) {
    static void (*called)(T...);
    static const uint64_t* arguments;
    called = kernel;
    arguments = raw;
    body = [] { called(unpack<T>(arguments[I])...); };
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    threads.resize(size_t(block[0]) * block[1] * block[2]);
    stacks.resize(threads.size() * STACK);
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z) {
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y) {
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) run_block(descending);
        }
    }
}

template <typename T>
constexpr char letter() {
    return std::is_pointer<T>::value ? 'p' : std::is_same<T, double>::value ? 'd' : 'i';
}

template <typename... T>
const char* signature(void (*)(T...)) {
    static const char letters[] = {letter<T>()..., 0};
    return letters;
}

template <typename... T>
void launch(void (*kernel)(T...), const uint64_t* raw, const unsigned* grid, const unsigned* block, bool descending) {
    run(kernel, raw, std::index_sequence_for<T...>(), grid, block, descending);
}

}  // namespace host_cuda

inline void __syncthreads() { host_cuda::wait_at(host_cuda::AT_BLOCK_BARRIER); }

inline int __syncthreads_and(int predicate) {
    host_cuda::threads[host_cuda::running].vote = predicate;
    host_cuda::wait_at(host_cuda::AT_BLOCK_BARRIER);
    return host_cuda::voted;
}

inline float __shfl_xor_sync(unsigned, float value, int distance) {
    const int self = host_cuda::running;
    host_cuda::threads[self].shuffled = value;
    host_cuda::wait_at(host_cuda::AT_WARP_BARRIER);
    const float other = host_cuda::threads[self ^ distance].shuffled;
    host_cuda::wait_at(host_cuda::AT_WARP_BARRIER);
    return other;
}

// After the source: makes a kernel callable from outside.
#define EXPORT(KERNEL)                                                                                             \
    extern "C" const char* signature_##KERNEL() { return host_cuda::signature(KERNEL); }                           \
    extern "C" void run_##KERNEL(const uint64_t* raw, const unsigned* grid, const unsigned* block, int descending) { \
        host_cuda::launch(KERNEL, raw, grid, block, descending);                                                   \
    }
