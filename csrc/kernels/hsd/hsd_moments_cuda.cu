#include "base/cuda.h"
#include "kernels/hsd/hsd_device.cuh"
#include "kernels/hsd/hsd_moments.h"
#include "kernels/hsd/hsd_moments_math.h"

// Coordinates are computed in float32 and turned into fixed point with 24 fraction bits, so that the
// inner loop sums exactly in 64-bit integers (double arithmetic runs at 1/64 rate on most cards);
// every kFlush pixels a thread adds its integers to doubles. The order of every sum is fixed.

namespace fastwsi {
namespace {

constexpr int kBlocks = 1024;
constexpr int kTerms = 8;          // count, 3 first moments, 4 second moments
constexpr int kFlush = 128;        // |difference| <= 2^27, its square 2^54: 2^61 after 128 pixels
constexpr float kUnit = 16777216;  // 2^24

struct Sums {
    double term[kTerms];
};

__device__ __forceinline__ void fixed_point(const std::uint8_t* rgb, const float* table, int (&x)[3]) {
    const float d[3] = {table[rgb[0]], table[rgb[1]], table[rgb[2]]};
    float coordinate[3];
    baseline::hsd_coordinates<float>(d, coordinate);
#pragma unroll
    for (int k = 0; k < 3; ++k) x[k] = __float2int_rn(coordinate[k] * kUnit);
}

struct Accumulator {
    long long count = 0, first[3] = {}, second[4] = {};
    int pending = 0;

    __device__ __forceinline__ void add(const int (&x)[3], const int (&reference)[3]) {
        int delta[3];
#pragma unroll
        for (int k = 0; k < 3; ++k) {
            delta[k] = x[k] - reference[k];
            first[k] += delta[k];
        }
        second[0] += static_cast<long long>(delta[0]) * delta[0];
        second[1] += static_cast<long long>(delta[0]) * delta[1];
        second[2] += static_cast<long long>(delta[1]) * delta[1];
        second[3] += static_cast<long long>(delta[2]) * delta[2];
        ++count;
        ++pending;
    }

    __device__ __forceinline__ void flush(Sums& sums) {
        sums.term[0] += static_cast<double>(count);
#pragma unroll
        for (int k = 0; k < 3; ++k) sums.term[1 + k] += static_cast<double>(first[k]);
#pragma unroll
        for (int k = 0; k < 4; ++k) sums.term[4 + k] += static_cast<double>(second[k]);
        *this = Accumulator();
    }
};

using BlockSums = double[kTerms][kThreads];  // in shared memory

// Sums over the block in a fixed tree; afterwards every thread finds the totals in shared[k][0].
__device__ void reduce_block(const Sums& sums, BlockSums& shared) {
#pragma unroll
    for (int k = 0; k < kTerms; ++k) shared[k][threadIdx.x] = sums.term[k];
    for (int half = kThreads / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            for (int k = 0; k < kTerms; ++k) shared[k][threadIdx.x] += shared[k][threadIdx.x + half];
    }
    __syncthreads();
}

template <bool Packed>
__global__ void __launch_bounds__(kThreads)
    hsd_moments_kernel(const __grid_constant__ HsdMomentsArgs args, double* partial) {
    __shared__ float table[256];
    fill_density_table(table);
    int reference[3];
    const std::uint8_t reference_rgb[3] = {args.input[0], args.input[args.input_channel],
                                           args.input[2 * args.input_channel]};
    fixed_point(reference_rgb, table, reference);

    Sums sums = {};
    Accumulator accumulator;
    const std::int64_t columns = args.grid.columns(), rows = args.grid.rows();
    const std::int64_t in_step = args.grid.column_stride(0), mask_step = args.grid.column_stride(1);
    const std::int64_t steps = Packed ? (columns + kQuad - 1) / kQuad : columns;
    const std::int64_t total = rows * steps;
    const std::int64_t stride = std::int64_t{gridDim.x} * kThreads;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < total; i += stride) {
        const std::int64_t row = rows == 1 ? 0 : i / steps;
        const std::int64_t x = (i - row * steps) * (Packed ? kQuad : 1);
        std::int64_t offset[2];
        args.grid.row_offsets(row, offset);
        const std::uint8_t* const in = args.input + offset[0] + x * in_step;
        const std::uint8_t* const mask =
            args.mask == nullptr ? nullptr : args.mask + offset[1] + x * mask_step;
        const int pixels_here = Packed ? (columns - x < kQuad ? static_cast<int>(columns - x) : kQuad) : 1;
        std::uint8_t pixels[3 * kQuad];
        if (Packed && pixels_here == kQuad) {
            load_quad(in, pixels);
        } else {
            // Unrolled with a condition, so that `pixels` is indexed by constants and stays in registers.
#pragma unroll
            for (int p = 0; p < (Packed ? kQuad : 1); ++p)
                if (p < pixels_here)
#pragma unroll
                    for (int c = 0; c < 3; ++c) pixels[3 * p + c] = in[p * in_step + c * args.input_channel];
        }
#pragma unroll
        for (int p = 0; p < (Packed ? kQuad : 1); ++p) {
            if (p >= pixels_here || (mask != nullptr && mask[p * mask_step] == 0)) continue;
            int coordinates[3];
            fixed_point(pixels + 3 * p, table, coordinates);
            accumulator.add(coordinates, reference);
        }
        if (accumulator.pending > kFlush - kQuad) accumulator.flush(sums);
    }
    accumulator.flush(sums);
    __shared__ BlockSums shared;
    reduce_block(sums, shared);
    if (threadIdx.x < kTerms)
        partial[std::int64_t{blockIdx.x} * kTerms + threadIdx.x] = shared[threadIdx.x][0];
}

// One block: adds the partial sums in block order and undoes the fixed point.
__global__ void __launch_bounds__(kThreads)
    hsd_moments_finish(const __grid_constant__ HsdMomentsArgs args, const double* partial, int blocks,
                       double* result) {
    __shared__ float table[256];
    fill_density_table(table);
    Sums sums = {};
    for (int b = threadIdx.x; b < blocks; b += kThreads)
        for (int k = 0; k < kTerms; ++k) sums.term[k] += partial[std::int64_t{b} * kTerms + k];
    __shared__ BlockSums shared;
    reduce_block(sums, shared);
    if (threadIdx.x != 0) return;
    int reference[3];
    const std::uint8_t reference_rgb[3] = {args.input[0], args.input[args.input_channel],
                                           args.input[2 * args.input_channel]};
    fixed_point(reference_rgb, table, reference);
    constexpr double unit = 1.0 / kUnit;
    HsdSums* const out = reinterpret_cast<HsdSums*>(result);
    out->count = shared[0][0];
    for (int k = 0; k < 3; ++k) {
        out->reference[k] = reference[k] * unit;
        out->first[k] = shared[1 + k][0] * unit;
    }
    for (int k = 0; k < 4; ++k) out->second[k] = shared[4 + k][0] * unit * unit;
}

}  // namespace

std::int64_t hsd_moments_workspace() { return std::int64_t{kBlocks} * kTerms; }

void hsd_moments_cuda(const HsdMomentsArgs& args, double* workspace, double* result, int device,
                      void* stream) {
    const DeviceGuard guard(device);
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    const Grid<2>& grid = args.grid;
    if (grid.positions() == 0) {
        FASTWSI_CUDA_CHECK(cudaMemsetAsync(result, 0, sizeof(HsdSums), queue));
        return;
    }
    const bool packed =
        grid.column_stride(0) == 3 && args.input_channel == 1 && rows_aligned(grid, 0, args.input, 4);
    const std::int64_t columns = grid.columns();
    const std::int64_t steps = grid.rows() * (packed ? (columns + kQuad - 1) / kQuad : columns);
    const std::int64_t wanted = (steps + kThreads - 1) / kThreads;
    const int blocks = static_cast<int>(wanted < kBlocks ? wanted : kBlocks);
    if (packed) {
        hsd_moments_kernel<true><<<blocks, kThreads, 0, queue>>>(args, workspace);
    } else {
        hsd_moments_kernel<false><<<blocks, kThreads, 0, queue>>>(args, workspace);
    }
    FASTWSI_CUDA_CHECK(cudaGetLastError());
    hsd_moments_finish<<<1, kThreads, 0, queue>>>(args, workspace, blocks, result);
    FASTWSI_CUDA_CHECK(cudaGetLastError());
}

}  // namespace fastwsi
