// What the kernels share: element types, vectors of elements, sums over threads.
//
// The sources hold templates and a macro for each kernel; catalogue.py lists the lines that instantiate them, and the
// compiler appends the line of the kernel that is needed.
// Every scalar parameter of a kernel is `long long` or `double`, which is how Python's int and float are passed to it.
// Sums are kept in float32 whatever the element type.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

typedef __nv_bfloat16 bfloat16;

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(half value) { return __half2float(value); }
__device__ inline float to_float(bfloat16 value) { return __bfloat162float(value); }

__device__ inline void from_float(float value, float& out) { out = value; }
__device__ inline void from_float(float value, half& out) { out = __float2half_rn(value); }
__device__ inline void from_float(float value, bfloat16& out) { out = __float2bfloat16_rn(value); }

// Elements that are read or written by one instruction; the address must be a multiple of the size.
template <typename T, int V>
struct alignas(sizeof(T) * V) Vector {
    T at[V];
};

template <int V, typename T>
__device__ inline void load(const T* __restrict__ address, float (&values)[V]) {
    const Vector<T, V> elements = *reinterpret_cast<const Vector<T, V>*>(address);
#pragma unroll
    for (int i = 0; i < V; ++i) values[i] = to_float(elements.at[i]);
}

template <int V, typename T>
__device__ inline void store(T* __restrict__ address, const float (&values)[V]) {
    Vector<T, V> elements;
#pragma unroll
    for (int i = 0; i < V; ++i) from_float(values[i], elements.at[i]);
    *reinterpret_cast<Vector<T, V>*>(address) = elements;
}

// Small float32 tensors are aligned to 16 bytes only, so eight of their values are two reads.
template <int V>
__device__ inline void load_or(const float* __restrict__ address, long long offset, float absent, float (&values)[V]) {
    constexpr int each = V < 4 ? V : 4;
#pragma unroll
    for (int i = 0; i < V; i += each) {
        float part[each];
        if (address) {
            load<each>(address + offset + i, part);
        } else {
#pragma unroll
            for (int j = 0; j < each; ++j) part[j] = absent;
        }
#pragma unroll
        for (int j = 0; j < each; ++j) values[i + j] = part[j];
    }
}

__device__ inline int thread_in_block() { return threadIdx.y * blockDim.x + threadIdx.x; }

constexpr int THREADS = 256;  // of every block, in two dimensions: blockDim.x is a power of two

// Sum over threadIdx.x, for each threadIdx.y; whole in the thread with threadIdx.x == 0. All threads must come here.
__device__ inline float sum_over_lanes(float value) {
    __shared__ float of_warps[THREADS / 32];
    const int lanes = blockDim.x;
    for (int distance = (lanes < 32 ? lanes : 32) / 2; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, distance);
    }
    if (lanes > 32) {
        const int thread = thread_in_block();
        __syncthreads();  // the sums before this one have been read
        if (thread % 32 == 0) of_warps[thread / 32] = value;
        __syncthreads();
        if (threadIdx.x == 0) {
            value = 0;
            for (int warp = 0; warp < lanes / 32; ++warp) value += of_warps[thread / 32 + warp];
        }
    }
    return value;
}

// Sum over all threads of the block; whole in the first. All threads must come here.
__device__ inline float sum_over_block(float value) {
    __shared__ float of_warps[THREADS / 32];
    const int thread = thread_in_block();
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
    __syncthreads();  // the sums before this one have been read
    if (thread % 32 == 0) of_warps[thread / 32] = value;
    __syncthreads();
    if (thread == 0) {
        value = 0;
        for (int warp = 0; warp < THREADS / 32; ++warp) value += of_warps[warp];
    }
    return value;
}

// Sum over threadIdx.y of `values` of the channels c .. c + V, written to out[c ...] where c < channels; always in the
// same order, so that results are equal bit for bit. All threads must come here.
template <int V>
__device__ inline void sum_rows_into(float* __restrict__ out, const float (&values)[V], int channel_of_block, int channels) {
    __shared__ float of_threads[THREADS * V];
    const int width = blockDim.x * V;
    __syncthreads();  // the sums before this one have been read
#pragma unroll
    for (int i = 0; i < V; ++i) of_threads[threadIdx.y * width + threadIdx.x * V + i] = values[i];
    __syncthreads();
    for (int column = thread_in_block(); column < width; column += THREADS) {
        if (channel_of_block + column >= channels) break;
        float sum = 0;
        for (int row = 0; row < blockDim.y; ++row) sum += of_threads[row * width + column];
        out[channel_of_block + column] = sum;
    }
}
