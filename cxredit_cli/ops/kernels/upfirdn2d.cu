// Up-sample by zero-insertion, pad, filter, down-sample, in one pass. See upfirdn2d.py for the conventions.
//
// The tensor is [samples, height, width, channels]: channels_last as it lies, and NCHW as samples * channels planes of
// one channel. A thread has V adjacent channels. The up-sampled and the padded image exist nowhere.
#include "common.cuh"

struct Geometry {
    int height, width, channels, out_height, out_width;
    int up, down, pad_left, pad_top, taps_high, taps_wide;
    bool flip;
    float gain;
    const float* __restrict__ filter;  // [taps_high, taps_wide]

    // The factor of the padded image's pixel that is (i, j) behind the output's first: a correlation.
    __device__ float tap(int i, int j) const {
        const int row = flip ? i : taps_high - 1 - i, column = flip ? j : taps_wide - 1 - j;
        return filter[row * taps_wide + column] * gain;
    }
};

// The index of the first tap at or behind `position`, in the up-sampled image, that meets a pixel and no inserted zero.
__device__ inline int first_tap(int position, int up) {
    const int behind = position % up;
    return behind > 0 ? up - behind : -behind;
}

// One output pixel by the definition; `x` points at the sample's first pixel and this thread's first channel.
template <int V, typename T>
__device__ inline void gather(const T* __restrict__ x, const Geometry& g, int out_row, int out_column, float (&sum)[V]) {
    const int top = out_row * g.down - g.pad_top, left = out_column * g.down - g.pad_left;
#pragma unroll
    for (int v = 0; v < V; ++v) sum[v] = 0;
    for (int i = first_tap(top, g.up); i < g.taps_high; i += g.up) {
        const int row = (top + i) / g.up;
        if (static_cast<unsigned>(row) >= static_cast<unsigned>(g.height)) continue;
        for (int j = first_tap(left, g.up); j < g.taps_wide; j += g.up) {
            const int column = (left + j) / g.up;
            if (static_cast<unsigned>(column) >= static_cast<unsigned>(g.width)) continue;
            float pixel[V];
            load<V>(x + (static_cast<long long>(row) * g.width + column) * g.channels, pixel);
            const float factor = g.tap(i, j);
#pragma unroll
            for (int v = 0; v < V; ++v) sum[v] += factor * pixel[v];
        }
    }
}

// Not inlined where it is the rare case: the common one keeps its registers, and compiling takes half the time.
template <int V, typename T>
__device__ __noinline__ void gather_into(const T* __restrict__ x, T* __restrict__ y, const Geometry& g, int row, int column) {
    float sum[V];
    gather<V>(x, g, row, column, sum);
    store<V>(y + (static_cast<long long>(row) * g.out_width + column) * g.channels, sum);
}

// Which part of a sample a thread has. Adjacent threads: `lanes` vectors of channels, then columns, so that a block
// reads a compact piece of the image, whose overlap its cache serves.
struct Place {
    int column, channel, row;
};

__device__ inline Place place_of(unsigned index, unsigned lanes, unsigned columns, unsigned vectors, int V) {
    const unsigned lane = index % lanes;
    index /= lanes;
    const unsigned column = index % columns;
    index /= columns;
    const unsigned groups = vectors / lanes;
    const unsigned group = index % groups;
    return {static_cast<int>(column), static_cast<int>((group * lanes + lane) * V), static_cast<int>(index / groups)};
}

template <typename T, int V>
__device__ inline void general(const T* __restrict__ x, T* __restrict__ y, const Geometry& g, long long samples,
                               unsigned lanes) {
    const unsigned vectors = g.channels / V;
    const unsigned in_sample = static_cast<unsigned>(g.out_height) * g.out_width * vectors;
    const unsigned stride = gridDim.x * blockDim.x;
    for (long long sample = blockIdx.y * blockDim.y + threadIdx.y; sample < samples; sample += gridDim.y * blockDim.y) {
        for (unsigned index = blockIdx.x * blockDim.x + threadIdx.x; index < in_sample; index += stride) {
            const Place at = place_of(index, lanes, g.out_width, vectors, V);
            float sum[V];
            gather<V>(x + sample * g.height * g.width * g.channels + at.channel, g, at.row, at.column, sum);
            const long long pixel = (sample * g.out_height + at.row) * g.out_width + at.column;
            store<V>(y + pixel * g.channels + at.channel, sum);
        }
    }
}

// A filter of 4 x 4 taps that is a column times a row: first along the rows, then along the columns. A thread goes
// down a strip of the image and keeps the rows that it has filtered, so that each is read and filtered once.
template <int UP, int DOWN, int COLUMNS>
struct March {
    static constexpr int IN_COLUMNS = UP == 2 ? COLUMNS + 2 : (COLUMNS - 1) * DOWN + 4;
    static constexpr int OUT_COLUMNS = UP * COLUMNS;
    static constexpr int WINDOW = UP == 2 ? 3 : 4;     // filtered rows that an output row, or a pair of them, needs
    static constexpr int STEPS = WINDOW / DOWN;        // after so many steps the window is in the same registers again
};

struct Factors {
    float down_column[4], along_row[4];
};

// Split the filter into its factors; false if it is no such product. All threads must come here.
__device__ inline bool factorise(const Geometry& g, Factors& factors) {
    __shared__ float taps[16], down_column[4], along_row[4];
    const int thread = thread_in_block();
    if (thread < 16) taps[thread] = g.tap(thread / 4, thread % 4);
    __syncthreads();
    if (thread < 4) {
        float of_row = 0, of_column = 0, total = 0;
        for (int i = 0; i < 4; ++i) of_row += taps[4 * thread + i];
        for (int i = 0; i < 4; ++i) of_column += taps[4 * i + thread];
        for (int i = 0; i < 16; ++i) total += taps[i];
        down_column[thread] = of_row;
        along_row[thread] = of_column / total;
    }
    __syncthreads();
    bool equal = true;
    if (thread < 16) {
        float largest = 0;
        for (int i = 0; i < 16; ++i) largest = fmaxf(largest, fabsf(taps[i]));
        // Written so that a sum of zero, which makes no numbers, is no product either.
        equal = fabsf(taps[thread] - down_column[thread / 4] * along_row[thread % 4]) <= 3e-7f * largest;
    }
    for (int i = 0; i < 4; ++i) {
        factors.down_column[i] = down_column[i];
        factors.along_row[i] = along_row[i];
    }
    return __syncthreads_and(equal);
}

// Read COLUMNS (and their neighbours) of one input row and filter along it. Outside the image there are zeros.
template <int UP, int DOWN, int COLUMNS, int V, typename T>
__device__ inline void filter_row(const T* __restrict__ x, const Geometry& g, const Factors& factors, int row, int column,
                                  float (&filtered)[UP * COLUMNS][V]) {
    typedef March<UP, DOWN, COLUMNS> M;
    float pixels[M::IN_COLUMNS][V];
    const bool inside = static_cast<unsigned>(row) < static_cast<unsigned>(g.height);
    const long long start = (static_cast<long long>(row) * g.width + column) * g.channels;
#pragma unroll
    for (int i = 0; i < M::IN_COLUMNS; ++i) {
        if (inside && static_cast<unsigned>(column + i) < static_cast<unsigned>(g.width)) {
            load<V>(x + start + static_cast<long long>(i) * g.channels, pixels[i]);
        } else {
#pragma unroll
            for (int v = 0; v < V; ++v) pixels[i][v] = 0;
        }
    }
    const float* t = factors.along_row;
#pragma unroll
    for (int i = 0; i < COLUMNS; ++i) {
#pragma unroll
        for (int v = 0; v < V; ++v) {
            if (UP == 2) {
                filtered[2 * i][v] = t[0] * pixels[i][v] + t[2] * pixels[i + 1][v];
                filtered[2 * i + 1][v] = t[1] * pixels[i + 1][v] + t[3] * pixels[i + 2][v];
            } else {
                filtered[i][v] = t[0] * pixels[i * DOWN][v] + t[1] * pixels[i * DOWN + 1][v] +
                                 t[2] * pixels[i * DOWN + 2][v] + t[3] * pixels[i * DOWN + 3][v];
            }
        }
    }
}

// Write the part of an output row that lies within the image; two pixels of one channel at once where they can be.
template <int OUT_COLUMNS, int V, typename T>
__device__ inline void write_row(T* __restrict__ y, const Geometry& g, int row, int column,
                                 const float (&values)[OUT_COLUMNS][V]) {
    if (static_cast<unsigned>(row) >= static_cast<unsigned>(g.out_height)) return;
    const long long start = (static_cast<long long>(row) * g.out_width + column) * g.channels;
#pragma unroll
    for (int i = 0; i < OUT_COLUMNS; i += 2) {
        const bool first = static_cast<unsigned>(column + i) < static_cast<unsigned>(g.out_width);
        const bool second = i + 1 < OUT_COLUMNS && column + i + 1 < g.out_width;
        T* address = y + start + static_cast<long long>(i) * g.channels;
        if (V == 1 && first && second && g.channels == 1 && reinterpret_cast<size_t>(address) % (2 * sizeof(T)) == 0) {
            const float pair[2] = {values[i][0], values[i + (i + 1 < OUT_COLUMNS)][0]};
            store<2>(address, pair);
        } else {
            if (first) store<V>(address, values[i]);
            if (second) store<V>(address + g.channels, values[i + (i + 1 < OUT_COLUMNS)]);
        }
    }
}

// `origin_in` and `origin_out`: the input and the output pixel, per axis, that the first thread starts with. Where the
// padding of a doubled image is odd, the first pair of output pixels lies half outside: origin_out is -1.
template <typename T, int V, int UP, int DOWN, int COLUMNS>
__device__ inline void march(const T* __restrict__ x, T* __restrict__ y, const Geometry& g, long long samples,
                             unsigned lanes, int origin_in_x, int origin_in_y, int origin_out_x, int origin_out_y,
                             int strip) {
    typedef March<UP, DOWN, COLUMNS> M;
    Factors factors;
    const bool product = factorise(g, factors);
    const unsigned vectors = g.channels / V;
    const unsigned columns = (g.out_width - origin_out_x + M::OUT_COLUMNS - 1) / M::OUT_COLUMNS;
    const unsigned strips = (g.out_height - origin_out_y + UP * strip - 1) / (UP * strip);
    const unsigned in_sample = columns * vectors * strips;
    const unsigned stride = gridDim.x * blockDim.x;
    for (long long sample = blockIdx.y * blockDim.y + threadIdx.y; sample < samples; sample += gridDim.y * blockDim.y) {
        for (unsigned index = blockIdx.x * blockDim.x + threadIdx.x; index < in_sample; index += stride) {
            const Place at = place_of(index, lanes, columns, vectors, V);
            const T* from = x + sample * g.height * g.width * g.channels + at.channel;
            T* to = y + sample * g.out_height * g.out_width * g.channels + at.channel;
            const int out_column = origin_out_x + at.column * M::OUT_COLUMNS;
            const int in_column = origin_in_x + at.column * COLUMNS * DOWN;
            const int out_row = origin_out_y + at.row * strip * UP;
            const int in_row = origin_in_y + at.row * strip * DOWN;
            if (!product) {
                for (int row = out_row < 0 ? 0 : out_row; row < out_row + strip * UP && row < g.out_height; ++row) {
                    for (int column = out_column < 0 ? 0 : out_column;
                         column < out_column + M::OUT_COLUMNS && column < g.out_width; ++column) {
                        gather_into<V>(from, to, g, row, column);
                    }
                }
                continue;
            }
            float window[M::WINDOW][M::OUT_COLUMNS][V];
#pragma unroll
            for (int i = 0; i < M::WINDOW - DOWN; ++i) {
                filter_row<UP, DOWN, COLUMNS, V>(from, g, factors, in_row + i, in_column, window[i]);
            }
            for (int first = 0; first < strip && out_row + first * UP < g.out_height; first += M::STEPS) {
#pragma unroll
                for (int step = 0; step < M::STEPS; ++step) {
#pragma unroll
                    for (int i = 0; i < DOWN; ++i) {
                        const int behind = step * DOWN + M::WINDOW - DOWN + i;
                        filter_row<UP, DOWN, COLUMNS, V>(from, g, factors, in_row + first * DOWN + behind, in_column,
                                                         window[behind % M::WINDOW]);
                    }
                    const float* t = factors.down_column;
                    float sums[UP][M::OUT_COLUMNS][V];
#pragma unroll
                    for (int c = 0; c < M::OUT_COLUMNS; ++c) {
#pragma unroll
                        for (int v = 0; v < V; ++v) {
                            float rows[M::WINDOW];
#pragma unroll
                            for (int i = 0; i < M::WINDOW; ++i) rows[i] = window[(step * DOWN + i) % M::WINDOW][c][v];
                            if (UP == 2) {
                                sums[0][c][v] = t[0] * rows[0] + t[2] * rows[1];
                                sums[UP - 1][c][v] = t[1] * rows[1] + t[3] * rows[2];
                            } else {
                                sums[0][c][v] = t[0] * rows[0] + t[1] * rows[1] + t[2] * rows[2] + t[3] * rows[M::WINDOW - 1];
                            }
                        }
                    }
#pragma unroll
                    for (int i = 0; i < UP; ++i) write_row(to, g, out_row + (first + step) * UP + i, out_column, sums[i]);
                }
            }
        }
    }
}

#define GEOMETRY                                                                                                        \
    const Geometry g = {(int)height, (int)width, (int)channels, (int)out_height, (int)out_width, (int)up, (int)down,    \
                        (int)pad_left, (int)pad_top, (int)taps_high, (int)taps_wide, flip != 0, (float)gain, filter}
#define PARAMETERS(T)                                                                                                   \
    const T *__restrict__ x, T *__restrict__ y, const float *__restrict__ filter, long long samples, long long height,  \
        long long width, long long channels, long long out_height, long long out_width, long long up, long long down,   \
        long long pad_left, long long pad_top, long long taps_high, long long taps_wide, long long flip, double gain,   \
        long long lanes

#define GENERAL(T, V, NAME)                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS) upfirdn2d_general_##NAME(PARAMETERS(T)) {                     \
        GEOMETRY;                                                                                                       \
        general<T, V>(x, y, g, samples, (unsigned)lanes);                                                               \
    }
#define MARCH(T, V, UP, DOWN, COLUMNS, NAME)                                                                            \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                               \
        upfirdn2d_##NAME(PARAMETERS(T), long long origin_in_x, long long origin_in_y, long long origin_out_x,           \
                         long long origin_out_y, long long strip) {                                                     \
        GEOMETRY;                                                                                                       \
        march<T, V, UP, DOWN, COLUMNS>(x, y, g, samples, (unsigned)lanes, (int)origin_in_x, (int)origin_in_y,           \
                                       (int)origin_out_x, (int)origin_out_y, (int)strip);                               \
    }
