// Adds up what the blocks of a backward kernel left: the second of two stages, always in the same order.
#include "common.cuh"

// Sum over threadIdx.y; whole in every thread. All threads must come here.
__device__ inline float sum_over_rows(float value) {
    __shared__ float of_threads[THREADS];
    __syncthreads();  // the sums before this one have been read
    of_threads[thread_in_block()] = value;
    __syncthreads();
    float sum = 0;
    for (int row = 0; row < blockDim.y; ++row) sum += of_threads[row * blockDim.x + threadIdx.x];
    return sum;
}

// partials [one slice for each of scale, bias, next that is not null, samples, chunks, channels]: scale and next
// [samples, channels] are sums over chunks, bias [channels] over samples too; strength is the sum of its own partials.
// blockIdx.y: which of the four; blockIdx.x: the channels; blockIdx.z: samples.
#define SUMS                                                                                                            \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                               \
        finish_sums(const float* __restrict__ partials, const float* __restrict__ strength_partials,                    \
                    float* __restrict__ scale, float* __restrict__ bias, float* __restrict__ next,                      \
                    float* __restrict__ strength, long long samples, long long chunks, long long channels,              \
                    long long strength_count) {                                                                         \
        finish(partials, strength_partials, scale, bias, next, strength, samples, chunks, channels, strength_count);    \
    }

__device__ inline void finish(const float* __restrict__ partials, const float* __restrict__ strength_partials,
                              float* __restrict__ scale, float* __restrict__ bias, float* __restrict__ next,
                              float* __restrict__ strength, long long samples, long long chunks, long long channels,
                              long long strength_count) {
    enum Kind { SCALE, BIAS, NEXT, STRENGTH };
    const int kind = blockIdx.y;
    if (kind == STRENGTH) {
        if (!strength || blockIdx.x || blockIdx.z) return;  // whole blocks do
        float sum = 0;
        for (long long i = thread_in_block(); i < strength_count; i += THREADS) sum += strength_partials[i];
        sum = sum_over_block(sum);
        if (thread_in_block() == 0) *strength = sum;
        return;
    }
    float* out = kind == SCALE ? scale : kind == BIAS ? bias : next;
    if (!out || (kind == BIAS && blockIdx.z)) return;
    const int slice = (kind > SCALE && scale) + (kind > BIAS && bias);
    const long long channel = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    // For the bias all samples are one, of so many more chunks.
    const long long rows = kind == BIAS ? samples * chunks : chunks, outs = kind == BIAS ? 1 : samples;
    for (long long sample = blockIdx.z; sample < outs; sample += gridDim.z) {
        const float* from = partials + (slice * samples * chunks + sample * rows) * channels + channel;
        float sum = 0;
        if (channel < channels) {
            for (long long row = threadIdx.y; row < rows; row += blockDim.y) sum += from[row * channels];
        }
        sum = sum_over_rows(sum);
        if (threadIdx.y == 0 && channel < channels) out[sample * channels + channel] = sum;
    }
}
