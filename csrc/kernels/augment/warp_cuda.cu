#include "base/cuda.h"
#include "base/half.h"
#include "kernels/augment/colour_device.cuh"
#include "kernels/augment/warp.h"
#include "kernels/augment/warp_math.h"

namespace fastwsi {
namespace {

// Tiles of the output whose sources lie close together whatever the rotation.
constexpr int kTileWidth = 32;
constexpr int kTileHeight = 8;
constexpr int kThreads = kTileWidth * kTileHeight;

__device__ __forceinline__ void displace(const WarpMap& map, std::int64_t y, std::int64_t x, double& sx,
                                         double& sy) {
    double across[4], down[4];
    const baseline::GridPlace column =
        baseline::grid_place(x, baseline::grid_scale(map.grid_columns, map.width), map.grid_columns);
    const baseline::GridPlace line =
        baseline::grid_place(y, baseline::grid_scale(map.grid_rows, map.height), map.grid_rows);
    baseline::node_weights(column, map.grid_columns, map.cubic, across);
    baseline::node_weights(line, map.grid_rows, map.cubic, down);
    double dx = 0, dy = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        const double* const row =
            map.displacement +
            2 * map.grid_columns * baseline::existing_node(line.cell - 1 + j, map.grid_rows);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const double* const node =
                row + 2 * baseline::existing_node(column.cell - 1 + i, map.grid_columns);
            dx += down[j] * across[i] * node[0];
            dy += down[j] * across[i] * node[1];
        }
    }
    sx += dx;
    sy += dy;
}

__device__ __forceinline__ float pixel_value(const WarpArgs& args, std::int64_t x, std::int64_t y, int c) {
    const std::int64_t column = x - args.source_x, row = y - args.source_y;
    const bool inside = column >= 0 && row >= 0 && column < args.source_width && row < args.source_height;
    return static_cast<float>(
        inside ? args.source[row * args.source_row + column * args.source_column + c * args.source_channel]
               : args.fill[c]);
}

__device__ __forceinline__ float mixed(float a, float b, float t) { return a + (b - a) * t; }

template <int Channels>
__device__ __forceinline__ void sample(const WarpArgs& args, std::int64_t y, std::int64_t x,
                                       float (&value)[3]) {
    const double* const m = args.map.matrix;
    const double column = static_cast<double>(x), line = static_cast<double>(y);
    double sx = m[0] * column + (m[1] * line + m[2]), sy = m[3] * column + (m[4] * line + m[5]);
    if (args.map.displacement != nullptr) displace(args.map, y, x, sx, sy);
    const double shift = args.bilinear ? 0.0 : 0.5;
    sx = baseline::near_image(sx + shift, args.full_width);
    sy = baseline::near_image(sy + shift, args.full_height);
    const std::int64_t left = static_cast<std::int64_t>(floor(sx)),
                       top = static_cast<std::int64_t>(floor(sy));
    const float fx = static_cast<float>(sx - static_cast<double>(left));
    const float fy = static_cast<float>(sy - static_cast<double>(top));
#pragma unroll
    for (int c = 0; c < Channels; ++c) {
        value[c] = pixel_value(args, left, top, c);
        if (!args.bilinear) continue;
        const float above = mixed(value[c], pixel_value(args, left + 1, top, c), fx);
        const float below =
            mixed(pixel_value(args, left, top + 1, c), pixel_value(args, left + 1, top + 1, c), fx);
        value[c] = mixed(above, below, fy);
    }
}

// `in_bytes`: no colour step has been taken, and values are still as in a byte, where rounding them is exact.
template <class T>
__device__ __forceinline__ void store_value(float x, bool in_bytes, const PixelMap& map, int c, char* out) {
    if constexpr (sizeof(T) == 1) {
        *reinterpret_cast<T*>(out) = static_cast<T>(__float2int_rn(in_bytes ? x : x * 255.f));
    } else {
        if (in_bytes) x *= 1.f / 255;
        baseline::from_float(x * map.scale[c] + map.shift[c], reinterpret_cast<T*>(out));
    }
}

template <class T, int Channels>
__global__ void __launch_bounds__(kThreads)
    warp_kernel(const __grid_constant__ WarpArgs args, const __grid_constant__ PixelMap map) {
    const std::int64_t across = (args.x1 - args.x0 + kTileWidth - 1) / kTileWidth;
    const std::int64_t tiles = (args.y1 - args.y0 + kTileHeight - 1) / kTileHeight * across;
    const bool in_bytes = Channels == 1 || map.mode == ColourMode::done;
    for (std::int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const std::int64_t x = args.x0 + tile % across * kTileWidth + threadIdx.x;
        const std::int64_t y = args.y0 + tile / across * kTileHeight + threadIdx.y;
        if (x >= args.x1 || y >= args.y1) continue;
        float value[3] = {};
        sample<Channels>(args, y, x, value);
        if (!in_bytes) {
            colour_in_mode(map, value);
            baseline::finish_pixel(map, static_cast<std::uint32_t>(y * args.map.width + x), value);
        }
        char* const out =
            static_cast<char*>(args.output) + (y - args.y0) * args.row + (x - args.x0) * args.column;
#pragma unroll
        for (int c = 0; c < Channels; ++c) store_value<T>(value[c], in_bytes, map, c, out + c * args.channel);
    }
}

template <class T>
void launch(const WarpArgs& args, const PixelMap& map, int processors, cudaStream_t stream) {
    const std::int64_t tiles = ((args.x1 - args.x0 + kTileWidth - 1) / kTileWidth) *
                               ((args.y1 - args.y0 + kTileHeight - 1) / kTileHeight);
    const std::int64_t limit = std::int64_t{processors} * 64;
    const unsigned blocks = static_cast<unsigned>(tiles < limit ? tiles : limit);
    const dim3 threads(kTileWidth, kTileHeight);
    if (args.channels == 3) {
        warp_kernel<T, 3><<<blocks, threads, 0, stream>>>(args, map);
    } else {
        warp_kernel<T, 1><<<blocks, threads, 0, stream>>>(args, map);
    }
    FASTWSI_CUDA_CHECK(cudaGetLastError());
}

}  // namespace

void warp_cuda(const WarpArgs& args, int device, void* stream) {
    const DeviceGuard guard(device);
    if (args.x1 <= args.x0 || args.y1 <= args.y0) return;
    double mean[3];
    for (int c = 0; c < 3; ++c) mean[c] = static_cast<double>(args.colour.contrast_mean[c]);
    PixelMap map = baseline::fold(args.colour, mean);
    if (args.dtype == DType::u8 && !baseline::changes_colours(args.colour)) map.mode = ColourMode::done;
    const int processors = multiprocessors(device);
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    switch (args.dtype) {
        case DType::u8: return launch<std::uint8_t>(args, map, processors, queue);
        case DType::f16: return launch<Half>(args, map, processors, queue);
        case DType::bf16: return launch<BFloat16>(args, map, processors, queue);
        default: return launch<float>(args, map, processors, queue);
    }
}

}  // namespace fastwsi
