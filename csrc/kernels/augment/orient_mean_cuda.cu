#include <algorithm>
#include <cstdint>

#include "base/cuda.h"
#include "kernels/augment/orient_mean.h"
#include "kernels/augment/orient_mean_math.h"

namespace fastwsi {
namespace {

constexpr int kSide = 32;  // positions of a tile, in both directions
constexpr int kLanes = 8;  // rows of a tile that a block works on at a time
constexpr int kThreads = kSide * kLanes;
constexpr int kRows = kSide / kLanes;  // rows, and so sums, of each thread

struct Tiles {
    OrientMeanArgs args;  // one value a position
    std::int64_t limit;   // positions of the plane: the last row of a folded one may be shorter
};

__device__ __forceinline__ std::int64_t magnitude(std::int64_t x) { return x < 0 ? -x : x; }

// A tile of means per block and step. A prediction whose neighbours lie down the mean's columns goes
// through shared memory: threads side by side then read memory that lies side by side.
template <class T, class Wide>
__global__ void __launch_bounds__(kThreads) orient_mean_kernel(const __grid_constant__ Tiles tiles) {
    __shared__ Wide turned[kSide][kSide + 1];  // the odd pitch spreads a column over the banks
    const OrientMeanArgs& args = tiles.args;
    const int tx = threadIdx.x % kSide, ty = threadIdx.x / kSide;
    const std::int64_t down = (args.height + kSide - 1) / kSide, across = (args.width + kSide - 1) / kSide;
    const std::int64_t inner = args.outer.columns(), count = args.outer.positions() * down * across;
    for (std::int64_t i = blockIdx.x; i < count; i += gridDim.x) {
        const std::int64_t x0 = i % across * kSide, y0 = i / across % down * kSide;
        const std::int64_t position = i / across / down;
        std::int64_t offset[kOrientations + 1];
        args.outer.row_offsets(position / inner, offset);
        const std::int64_t column = position % inner;
        const auto inside = [&](int y, int x) {
            return y0 + y < args.height && x0 + x < args.width &&
                   (y0 + y) * args.width + x0 + x < tiles.limit;
        };
        Wide sums[kRows];
#pragma unroll 1
        for (int k = 0; k < kOrientations; ++k) {
            const char* const in = args.prediction[k] + offset[k] + column * args.outer.column_stride(k) +
                                   y0 * args.y[k] + x0 * args.x[k];
            const bool through = magnitude(args.y[k]) < magnitude(args.x[k]);  // same for the block
            if (through) {
                __syncthreads();  // the tile before has been read
                for (int r = ty; r < kSide; r += kLanes)
                    if (inside(tx, r))
                        turned[r][tx] = baseline::to_float(
                            *reinterpret_cast<const T*>(in + tx * args.y[k] + r * args.x[k]));
                __syncthreads();
            }
#pragma unroll
            for (int j = 0; j < kRows; ++j) {
                const int r = ty + j * kLanes;
                if (!inside(r, tx)) continue;
                const Wide value = through ? turned[tx][r]
                                           : baseline::to_float(*reinterpret_cast<const T*>(
                                                 in + r * args.y[k] + tx * args.x[k]));
                sums[j] = k == 0 ? value : sums[j] + value;
            }
        }
        char* const out = args.mean + offset[kOrientations] +
                          column * args.outer.column_stride(kOrientations) + y0 * args.y[kOrientations] +
                          x0 * args.x[kOrientations];
#pragma unroll
        for (int j = 0; j < kRows; ++j) {
            const int r = ty + j * kLanes;
            if (inside(r, tx))
                baseline::orient_mean_value(sums[j], reinterpret_cast<T*>(out + r * args.y[kOrientations] +
                                                                          tx * args.x[kOrientations]));
        }
    }
}

// The same work with one value a position, and a single long row folded into many short ones.
Tiles tiles_of(const OrientMeanArgs& args) {
    Tiles tiles{args, args.height * args.width};
    OrientMeanArgs& one = tiles.args;
    if (args.values > 1) {
        std::int64_t item[kOrientations + 1];
        for (std::int64_t& bytes : item) bytes = item_size(args.dtype);
        one.outer.push(args.values, item);
        one.values = 1;
    }
    if (args.height == 1 && args.width > kSide) {
        one.height = (args.width + kSide - 1) / kSide;
        one.width = kSide;
        for (int a = 0; a <= kOrientations; ++a) one.y[a] = kSide * args.x[a];
    }
    return tiles;
}

template <class T, class Wide>
void launch(const Tiles& tiles, int processors, cudaStream_t stream) {
    const OrientMeanArgs& args = tiles.args;
    const std::int64_t wanted =
        args.outer.positions() * ((args.height + kSide - 1) / kSide) * ((args.width + kSide - 1) / kSide);
    const unsigned blocks = static_cast<unsigned>(std::min(wanted, std::int64_t{processors} * 32));
    orient_mean_kernel<T, Wide><<<blocks, kThreads, 0, stream>>>(tiles);
    FASTWSI_CUDA_CHECK(cudaGetLastError());
}

}  // namespace

void orient_mean_cuda(const OrientMeanArgs& args, int device, void* stream) {
    const DeviceGuard guard(device);
    if (args.outer.positions() == 0 || args.height == 0 || args.width == 0 || args.values == 0) return;
    const int processors = multiprocessors(device);
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    const Tiles tiles = tiles_of(args);
    switch (args.dtype) {
        case DType::f16: return launch<Half, float>(tiles, processors, queue);
        case DType::bf16: return launch<BFloat16, float>(tiles, processors, queue);
        case DType::f64: return launch<double, double>(tiles, processors, queue);
        default: return launch<float, float>(tiles, processors, queue);
    }
}

}  // namespace fastwsi
