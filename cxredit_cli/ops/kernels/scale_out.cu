// Scale-out of a modulated convolution, with all that follows it, and its backward:
//
//     z = x * scale[n, c] + noise[n, pixel] * strength + bias[c],   a = clamp(gain * act(z)),   y = a * next_scale[n, c]
//
// A null pointer leaves its part out. Layouts as in scale_in.cu. With every part absent but the bias this is bias_act.
#include "common.cuh"

struct Activation {
    float gain, slope, limit;  // slope below zero: 1 is linear. limit: infinity does not clamp

    // a(z), and its derivative: torch passes the gradient at the limit itself, and at zero the slope below it.
    __device__ float of(float z, float& derivative) const {
        derivative = z > 0 ? gain : gain * slope;
        const float a = z * derivative;
        // Comparisons, and not fminf and fmaxf, which would turn a NaN into the limit.
        if (a > limit || a < -limit) {
            derivative = 0;
            return a > 0 ? limit : -limit;
        }
        return a;
    }
};

struct Parts {
    const float *__restrict__ scale, *__restrict__ noise, *__restrict__ strength, *__restrict__ bias, *__restrict__ next;
    long long noise_stride;  // between the noise of two samples: 0 where they share it

    __device__ float noise_strength() const { return strength ? *strength : 1.0f; }
};

template <typename T, int V>
__device__ inline void channels_last(const T* __restrict__ x, T* __restrict__ y, const Parts& parts, const Activation& act,
                                     long long samples, int channels, long long pixels, int blocks_of_channels,
                                     int pixels_of_block) {
    const int channel = (blockIdx.x % blocks_of_channels * blockDim.x + threadIdx.x) * V;
    if (channel >= channels) return;
    const long long first = static_cast<long long>(blockIdx.x / blocks_of_channels) * pixels_of_block;
    const long long last = first + pixels_of_block < pixels ? first + pixels_of_block : pixels;
    const float strength = parts.noise_strength();
    float bias[V];
    load_or<V>(parts.bias, channel, 0, bias);
    for (long long sample = blockIdx.y; sample < samples; sample += gridDim.y) {
        float scale[V], next[V];
        load_or<V>(parts.scale, sample * channels + channel, 1, scale);
        load_or<V>(parts.next, sample * channels + channel, 1, next);
#pragma unroll (V > 1 ? 4 : 1)
        for (long long pixel = first + threadIdx.y; pixel < last; pixel += blockDim.y) {
            const long long at = (sample * pixels + pixel) * channels + channel;
            const float noise = parts.noise ? parts.noise[sample * parts.noise_stride + pixel] * strength : 0;
            float values[V], derivative;
            load<V>(x + at, values);
#pragma unroll
            for (int i = 0; i < V; ++i) values[i] = act.of(values[i] * scale[i] + noise + bias[i], derivative) * next[i];
            store<V>(y + at, values);
        }
    }
}

template <typename T, int V>
__device__ inline void planes(const T* __restrict__ x, T* __restrict__ y, const Parts& parts, const Activation& act,
                              long long samples, int channels, long long pixels, int pixels_of_block) {
    const long long plane = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    if (plane >= samples * channels) return;
    const long long sample = plane / channels;
    const float strength = parts.noise_strength();
    const float bias = parts.bias ? parts.bias[plane % channels] : 0;
    const float scale = parts.scale ? parts.scale[plane] : 1, next = parts.next ? parts.next[plane] : 1;
    const long long step = static_cast<long long>(gridDim.y) * pixels_of_block;
    for (long long first = static_cast<long long>(blockIdx.y) * pixels_of_block; first < pixels; first += step) {
        const long long last = first + pixels_of_block < pixels ? first + pixels_of_block : pixels;
#pragma unroll (V > 1 ? 4 : 1)
        for (long long pixel = first + threadIdx.x * V; pixel < last; pixel += blockDim.x * V) {
            const long long at = plane * pixels + pixel;
            float values[V], noise[V], derivative;
            load_or<V>(parts.noise, sample * parts.noise_stride + pixel, 0, noise);
            load<V>(x + at, values);
#pragma unroll
            for (int i = 0; i < V; ++i) {
                values[i] = act.of(values[i] * scale + noise[i] * strength + bias, derivative) * next;
            }
            store<V>(y + at, values);
        }
    }
}

// Which sums over a chunk of pixels are wanted; each is a slice of partials [wanted, samples, chunks, channels], in this
// order. sums.cu adds the chunks up.
enum Wanted { SCALE = 1, BIAS = 2, NEXT = 4 };

// One element: t = dL/dz; returns dL/dx and adds to the sums.
struct Sums {
    float scale, bias, next;
};

__device__ inline float backward_of(float grad, float x, float scale, float noise, float strength, float bias, float next,
                                    const Activation& act, Sums& sums, float& t) {
    float derivative;
    const float a = act.of(x * scale + noise * strength + bias, derivative);
    t = grad * next * derivative;
    sums.scale += t * x;
    sums.bias += t;
    sums.next += grad * a;
    return t * scale;
}

// strength_partials [blocks]: the sum of dL/dz times the noise, over all that a block has.
// noise_partials [blocks_of_channels, samples, pixels]: the gradient of the noise from these channels.
template <typename T, int V>
__device__ inline void backward_channels_last(const T* __restrict__ grad, const T* __restrict__ x, T* __restrict__ grad_x,
                                              float* __restrict__ partials, float* __restrict__ strength_partials,
                                              float* __restrict__ noise_partials, const Parts& parts, const Activation& act, int wanted, long long samples,
                                              int channels, long long pixels, int blocks_of_channels,
                                              int pixels_of_block) {
    const int block_of_channels = blockIdx.x % blocks_of_channels;
    const int channel_of_block = block_of_channels * blockDim.x * V, channel = channel_of_block + threadIdx.x * V;
    const bool has_channel = channel < channels;
    const long long chunk = blockIdx.x / blocks_of_channels, chunks = gridDim.x / blocks_of_channels;
    const long long first = chunk * pixels_of_block;
    const long long last = first + pixels_of_block < pixels ? first + pixels_of_block : pixels;
    const float strength = parts.noise_strength();
    float strength_sum = 0;
    float bias[V];
    load_or<V>(has_channel ? parts.bias : nullptr, channel, 0, bias);
    for (long long sample = blockIdx.y; sample < samples; sample += gridDim.y) {
        float scale[V], next[V];
        Sums sums[V] = {};
        load_or<V>(has_channel ? parts.scale : nullptr, sample * channels + channel, 1, scale);
        load_or<V>(has_channel ? parts.next : nullptr, sample * channels + channel, 1, next);
        // The same number of rounds for every thread of a warp: they add up the noise's gradient together.
#pragma unroll (V > 1 ? 2 : 1)
        for (long long row = first; row < last; row += blockDim.y) {
            const long long pixel = row + threadIdx.y;
            float of_pixel = 0;
            if (has_channel && pixel < last) {
                const long long at = (sample * pixels + pixel) * channels + channel;
                const float noise = parts.noise ? parts.noise[sample * parts.noise_stride + pixel] : 0;
                float gradients[V], values[V], t;
                load<V>(grad + at, gradients);
                load<V>(x + at, values);
#pragma unroll
                for (int i = 0; i < V; ++i) {
                    gradients[i] = backward_of(gradients[i], values[i], scale[i], noise, strength, bias[i], next[i], act,
                                               sums[i], t);
                    of_pixel += t;
                }
                strength_sum += of_pixel * noise;
                if (grad_x) store<V>(grad_x + at, gradients);
            }
            if (noise_partials) {
                for (int distance = blockDim.x / 2; distance > 0; distance /= 2) {
                    of_pixel += __shfl_xor_sync(0xffffffffu, of_pixel, distance);
                }
                if (threadIdx.x == 0 && pixel < last) {
                    noise_partials[(block_of_channels * samples + sample) * pixels + pixel] = of_pixel * strength;
                }
            }
        }
        float* out = partials + (sample * chunks + chunk) * channels;
        const long long slice = samples * chunks * channels;
        float values[V];
#define SUM(NAME, FIELD)                                                     \
    if (wanted & NAME) {                                                     \
        _Pragma("unroll") for (int i = 0; i < V; ++i) values[i] = sums[i].FIELD; \
        sum_rows_into<V>(out, values, channel_of_block, channels);           \
        out += slice;                                                        \
    }
        SUM(SCALE, scale)
        SUM(BIAS, bias)
        SUM(NEXT, next)
#undef SUM
    }
    if (strength_partials) {
        strength_sum = sum_over_block(strength_sum);
        if (thread_in_block() == 0) strength_partials[blockIdx.y * gridDim.x + blockIdx.x] = strength_sum;
    }
}

template <typename T, int V>
__device__ inline void backward_planes(const T* __restrict__ grad, const T* __restrict__ x, T* __restrict__ grad_x,
                                       float* __restrict__ partials, float* __restrict__ strength_partials,
                                       const Parts& parts, const Activation& act, int wanted, long long samples,
                                       int channels, long long pixels, int pixels_of_block) {
    const long long plane = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    const bool has_plane = plane < samples * channels;
    const long long sample = plane / channels, channel = plane % channels;
    const long long chunk = blockIdx.y, chunks = gridDim.y;
    const long long first = chunk * pixels_of_block;
    const long long last = first + pixels_of_block < pixels ? first + pixels_of_block : pixels;
    const float strength = parts.noise_strength();
    Sums sums = {};
    float strength_sum = 0;
    if (has_plane) {
        const float bias = parts.bias ? parts.bias[channel] : 0;
        const float scale = parts.scale ? parts.scale[plane] : 1, next = parts.next ? parts.next[plane] : 1;
#pragma unroll (V > 1 ? 2 : 1)
        for (long long pixel = first + threadIdx.x * V; pixel < last; pixel += blockDim.x * V) {
            const long long at = plane * pixels + pixel;
            float gradients[V], values[V], noise[V], t;
            load_or<V>(parts.noise, sample * parts.noise_stride + pixel, 0, noise);
            load<V>(grad + at, gradients);
            load<V>(x + at, values);
#pragma unroll
            for (int i = 0; i < V; ++i) {
                gradients[i] = backward_of(gradients[i], values[i], scale, noise[i], strength, bias, next, act, sums, t);
                strength_sum += t * noise[i];
            }
            if (grad_x) store<V>(grad_x + at, gradients);
        }
    }
    float* out = partials + (sample * chunks + chunk) * channels + channel;
    const long long slice = samples * chunks * channels;
#define SUM(NAME, FIELD)                                    \
    if (wanted & NAME) {                                    \
        const float sum = sum_over_lanes(sums.FIELD);       \
        if (threadIdx.x == 0 && has_plane) *out = sum;      \
        out += slice;                                       \
    }
    SUM(SCALE, scale)
    SUM(BIAS, bias)
    SUM(NEXT, next)
#undef SUM
    if (strength_partials) {
        strength_sum = sum_over_block(strength_sum);
        if (thread_in_block() == 0) strength_partials[blockIdx.y * gridDim.x + blockIdx.x] = strength_sum;
    }
}

#define PARTS_AND_SIZES                                                                                                 \
    const float *__restrict__ scale, const float *__restrict__ noise, const float *__restrict__ strength,               \
        const float *__restrict__ bias, const float *__restrict__ next, long long noise_stride, double gain,            \
        double slope, double limit, long long samples, long long channels, long long pixels,                            \
        long long blocks_of_channels, long long pixels_of_block
#define STRUCTS                                                                                                         \
    const Parts parts = {scale, noise, strength, bias, next, noise_stride};                                             \
    const Activation act = {(float)gain, (float)slope, (float)limit}

#define FORWARD(T, V, NAME)                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                               \
        scale_out_channels_last_##NAME(const T* __restrict__ x, T* __restrict__ y, PARTS_AND_SIZES) {                   \
        STRUCTS;                                                                                                        \
        channels_last<T, V>(x, y, parts, act, samples, (int)channels, pixels, (int)blocks_of_channels,                  \
                            (int)pixels_of_block);                                                                      \
    }                                                                                                                   \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                               \
        scale_out_planes_##NAME(const T* __restrict__ x, T* __restrict__ y, PARTS_AND_SIZES) {                          \
        STRUCTS;                                                                                                        \
        planes<T, V>(x, y, parts, act, samples, (int)channels, pixels, (int)pixels_of_block);                           \
    }
#define BACKWARD(T, V, NAME)                                                                                            \
    extern "C" __global__ void __launch_bounds__(THREADS) scale_out_backward_channels_last_##NAME(                      \
        const T* __restrict__ grad, const T* __restrict__ x, T* __restrict__ grad_x, float* __restrict__ partials,      \
        float* __restrict__ strength_partials, float* __restrict__ noise_partials, long long wanted, PARTS_AND_SIZES) { \
        STRUCTS;                                                                                                        \
        backward_channels_last<T, V>(grad, x, grad_x, partials, strength_partials, noise_partials, parts, act,          \
                                     (int)wanted, samples, (int)channels, pixels, (int)blocks_of_channels,              \
                                     (int)pixels_of_block);                                                             \
    }                                                                                                                   \
    extern "C" __global__ void __launch_bounds__(THREADS) scale_out_backward_planes_##NAME(                             \
        const T* __restrict__ grad, const T* __restrict__ x, T* __restrict__ grad_x, float* __restrict__ partials,      \
        float* __restrict__ strength_partials, float* __restrict__, long long wanted, PARTS_AND_SIZES) {                \
        STRUCTS;                                                                                                        \
        backward_planes<T, V>(grad, x, grad_x, partials, strength_partials, parts, act, (int)wanted, samples,           \
                              (int)channels, pixels, (int)pixels_of_block);                                             \
    }
