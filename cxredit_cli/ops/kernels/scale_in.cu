// Scale-in of a modulated convolution: y = x * scale[n, c], with a cast, and its backward.
//
// channels_last: [samples, pixels, channels]; a thread keeps the factors of its V channels and goes over pixels.
// planes (NCHW): [samples, channels, pixels]; a thread keeps the factor of its plane and goes over V pixels at a time.
#include "common.cuh"

template <typename From, typename To, int V>
__device__ inline void channels_last(const From* __restrict__ x, To* __restrict__ y, const float* __restrict__ scale,
                                     long long samples, int channels, long long pixels, int blocks_of_channels,
                                     int pixels_of_block) {
    const int channel = (blockIdx.x % blocks_of_channels * blockDim.x + threadIdx.x) * V;
    if (channel >= channels) return;
    const long long first = static_cast<long long>(blockIdx.x / blocks_of_channels) * pixels_of_block;
    const long long last = first + pixels_of_block < pixels ? first + pixels_of_block : pixels;
    for (long long sample = blockIdx.y; sample < samples; sample += gridDim.y) {
        float factors[V];
        load_or<V>(scale, sample * channels + channel, 1, factors);
#pragma unroll (V > 1 ? 4 : 1)
        for (long long pixel = first + threadIdx.y; pixel < last; pixel += blockDim.y) {
            const long long at = (sample * pixels + pixel) * channels + channel;
            float values[V];
            load<V>(x + at, values);
#pragma unroll
            for (int i = 0; i < V; ++i) values[i] *= factors[i];
            store<V>(y + at, values);
        }
    }
}

template <typename From, typename To, int V>
__device__ inline void planes(const From* __restrict__ x, To* __restrict__ y, const float* __restrict__ scale,
                              long long count, long long pixels, int pixels_of_block) {
    const long long plane = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    if (plane >= count) return;
    const float factor = scale[plane];
    const long long step = static_cast<long long>(gridDim.y) * pixels_of_block;
    for (long long first = static_cast<long long>(blockIdx.y) * pixels_of_block; first < pixels; first += step) {
        const long long last = first + pixels_of_block < pixels ? first + pixels_of_block : pixels;
#pragma unroll (V > 1 ? 4 : 1)
        for (long long pixel = first + threadIdx.x * V; pixel < last; pixel += blockDim.x * V) {
            const long long at = plane * pixels + pixel;
            float values[V];
            load<V>(x + at, values);
#pragma unroll
            for (int i = 0; i < V; ++i) values[i] *= factor;
            store<V>(y + at, values);
        }
    }
}

// From planes to channels_last, by tiles of 32 pixels and 32 channels, so that both are read and written in rows.
template <typename From, typename To>
__device__ inline void transposed(const From* __restrict__ x, To* __restrict__ y, const float* __restrict__ scale,
                                  long long samples, int channels, long long pixels) {
    constexpr int SIDE = 32;
    __shared__ float tile[SIDE][SIDE + 1];  // one more, so that a column lies in 32 different banks
    const long long first_pixel = static_cast<long long>(blockIdx.x) * SIDE;
    for (int first_channel = blockIdx.y * SIDE; first_channel < channels; first_channel += gridDim.y * SIDE) {
        for (long long sample = blockIdx.z; sample < samples; sample += gridDim.z) {
            __syncthreads();  // the tile before this one has been read
            for (int i = threadIdx.y; i < SIDE; i += blockDim.y) {
                const long long channel = sample * channels + first_channel + i, pixel = first_pixel + threadIdx.x;
                if (first_channel + i < channels && pixel < pixels) {
                    tile[i][threadIdx.x] = to_float(x[channel * pixels + pixel]) * scale[channel];
                }
            }
            __syncthreads();
            for (int i = threadIdx.y; i < SIDE; i += blockDim.y) {
                const long long pixel = first_pixel + i;
                const int channel = first_channel + threadIdx.x;
                if (channel < channels && pixel < pixels) {
                    from_float(tile[threadIdx.x][i], y[(sample * pixels + pixel) * channels + channel]);
                }
            }
        }
    }
}

// grad_x = grad * scale; partials [samples, chunks, channels] = the sum of grad * x over the chunk's pixels.
template <typename From, typename To, int V>
__device__ inline void backward_channels_last(const To* __restrict__ grad, const From* __restrict__ x,
                                              const float* __restrict__ scale, From* __restrict__ grad_x,
                                              float* __restrict__ partials, long long samples, int channels,
                                              long long pixels, int blocks_of_channels, int pixels_of_block) {
    const int channel_of_block = blockIdx.x % blocks_of_channels * blockDim.x * V;
    const int channel = channel_of_block + threadIdx.x * V;
    const long long chunk = blockIdx.x / blocks_of_channels, chunks = gridDim.x / blocks_of_channels;
    const long long first = chunk * pixels_of_block;
    const long long last = first + pixels_of_block < pixels ? first + pixels_of_block : pixels;
    for (long long sample = blockIdx.y; sample < samples; sample += gridDim.y) {
        float sums[V];
#pragma unroll
        for (int i = 0; i < V; ++i) sums[i] = 0;
        if (channel < channels) {
            float factors[V];
            load_or<V>(scale, sample * channels + channel, 1, factors);
#pragma unroll (V > 1 ? 4 : 1)
            for (long long pixel = first + threadIdx.y; pixel < last; pixel += blockDim.y) {
                const long long at = (sample * pixels + pixel) * channels + channel;
                float gradients[V], values[V];
                load<V>(grad + at, gradients);
                load<V>(x + at, values);
#pragma unroll
                for (int i = 0; i < V; ++i) {
                    sums[i] += gradients[i] * values[i];
                    gradients[i] *= factors[i];
                }
                if (grad_x) store<V>(grad_x + at, gradients);
            }
        }
        if (partials) sum_rows_into<V>(partials + (sample * chunks + chunk) * channels, sums, channel_of_block, channels);
    }
}

template <typename From, typename To, int V>
__device__ inline void backward_planes(const To* __restrict__ grad, const From* __restrict__ x,
                                       const float* __restrict__ scale, From* __restrict__ grad_x,
                                       float* __restrict__ partials, long long samples, int channels, long long pixels,
                                       int pixels_of_block) {
    const long long plane = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    const long long chunk = blockIdx.y, chunks = gridDim.y;
    const long long first = chunk * pixels_of_block;
    const long long last = first + pixels_of_block < pixels ? first + pixels_of_block : pixels;
    float sum = 0;
    if (plane < samples * channels) {
        const float factor = scale[plane];
#pragma unroll (V > 1 ? 4 : 1)
        for (long long pixel = first + threadIdx.x * V; pixel < last; pixel += blockDim.x * V) {
            const long long at = plane * pixels + pixel;
            float gradients[V], values[V];
            load<V>(grad + at, gradients);
            load<V>(x + at, values);
#pragma unroll
            for (int i = 0; i < V; ++i) {
                sum += gradients[i] * values[i];
                gradients[i] *= factor;
            }
            if (grad_x) store<V>(grad_x + at, gradients);
        }
    }
    if (!partials) return;
    sum = sum_over_lanes(sum);
    if (threadIdx.x == 0 && plane < samples * channels) {
        partials[(plane / channels * chunks + chunk) * channels + plane % channels] = sum;
    }
}

#define SIZED(From, To, V, NAME)                                                                                        \
    extern "C" __global__ void __launch_bounds__(THREADS) scale_in_channels_last_##NAME(                                \
        const From* __restrict__ x, To* __restrict__ y, const float* __restrict__ scale, long long samples,             \
        long long channels, long long pixels, long long blocks_of_channels, long long pixels_of_block) {                \
        channels_last<From, To, V>(x, y, scale, samples, (int)channels, pixels, (int)blocks_of_channels,                \
                                   (int)pixels_of_block);                                                               \
    }                                                                                                                   \
    extern "C" __global__ void __launch_bounds__(THREADS) scale_in_planes_##NAME(                                       \
        const From* __restrict__ x, To* __restrict__ y, const float* __restrict__ scale, long long samples,             \
        long long channels, long long pixels, long long, long long pixels_of_block) {                                   \
        planes<From, To, V>(x, y, scale, samples * channels, pixels, (int)pixels_of_block);                             \
    }                                                                                                                   \
    extern "C" __global__ void __launch_bounds__(THREADS) scale_in_backward_channels_last_##NAME(                       \
        const To* __restrict__ grad, const From* __restrict__ x, const float* __restrict__ scale,                       \
        From* __restrict__ grad_x, float* __restrict__ partials, long long samples, long long channels,                 \
        long long pixels, long long blocks_of_channels, long long pixels_of_block) {                                    \
        backward_channels_last<From, To, V>(grad, x, scale, grad_x, partials, samples, (int)channels, pixels,           \
                                            (int)blocks_of_channels, (int)pixels_of_block);                             \
    }                                                                                                                   \
    extern "C" __global__ void __launch_bounds__(THREADS) scale_in_backward_planes_##NAME(                              \
        const To* __restrict__ grad, const From* __restrict__ x, const float* __restrict__ scale,                       \
        From* __restrict__ grad_x, float* __restrict__ partials, long long samples, long long channels,                 \
        long long pixels, long long, long long pixels_of_block) {                                                       \
        backward_planes<From, To, V>(grad, x, scale, grad_x, partials, samples, (int)channels, pixels,                  \
                                     (int)pixels_of_block);                                                             \
    }
#define TRANSPOSED(From, To, NAME)                                                                                      \
    extern "C" __global__ void __launch_bounds__(THREADS) scale_in_transposed_##NAME(                                   \
        const From* __restrict__ x, To* __restrict__ y, const float* __restrict__ scale, long long samples,             \
        long long channels, long long pixels) {                                                                         \
        transposed<From, To>(x, y, scale, samples, (int)channels, pixels);                                              \
    }
