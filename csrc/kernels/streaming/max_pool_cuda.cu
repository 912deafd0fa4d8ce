#include <cmath>
#include <type_traits>

#include "base/cuda.h"
#include "base/half.h"
#include "kernels/streaming/max_pool.h"

namespace fastwsi {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kNoWinner = 255;

// A thread's value: the plane (or in channels last the image), row, column and channel.
struct Cell {
    std::int64_t outer, row, column, channel;
};

// body(cell) for each value of a band: threads along its lines, blocks over lines.
template <class Body>
__device__ __forceinline__ void for_cells(const RowShape& shape, const Body& body) {
    const std::int64_t values = shape.channels_last ? shape.width * shape.channels : shape.width;
    const std::int64_t lines =
        (shape.channels_last ? shape.images : shape.images * shape.channels) * shape.height;
    const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (i >= values) return;
    const std::int64_t column = shape.channels_last ? i / shape.channels : i;
    const std::int64_t channel = shape.channels_last ? i - column * shape.channels : 0;
    for (std::int64_t line = blockIdx.y; line < lines; line += gridDim.y) {
        const std::int64_t outer = line / shape.height;
        body(Cell{outer, line - outer * shape.height, column, channel});
    }
}

template <class T>
__device__ __forceinline__ T* plane_of(const RowArray& array, const RowShape& shape, const Cell& cell) {
    const std::int64_t image = shape.channels_last ? cell.outer : cell.outer / shape.channels;
    const std::int64_t plane = shape.channels_last ? 0 : cell.outer - image * shape.channels;
    return reinterpret_cast<T*>(array.data + image * array.image + plane * array.channel) + cell.channel;
}

template <class T>
__device__ __forceinline__ T* in_row(T* plane, const RowArray& array, std::int64_t row) {
    typedef typename std::conditional<std::is_const<T>::value, const char, char>::type Byte;
    return reinterpret_cast<T*>(reinterpret_cast<Byte*>(plane) + row * array.row);
}

// Value is what lies in memory, T what is compared or added up.
template <class Value, class T>
__global__ void __launch_bounds__(kThreads) max_pool_kernel(const __grid_constant__ MaxPoolArgs args) {
    const MaxPoolAxis &down = args.y, &across = args.x;
    for_cells(args.pooled, [&](const Cell& cell) {
        const std::int64_t step = args.slab.channels_last ? args.slab.channels : 1;
        const Value* const slab = plane_of<const Value>(args.large, args.slab, cell);
        const std::int64_t top = cell.row * down.stride - down.pad;
        const std::int64_t left = cell.column * across.stride - across.pad;
        T best = -static_cast<T>(INFINITY);
        std::int64_t winner = kNoWinner;
        for (std::int64_t ky = 0; ky < down.kernel; ++ky) {
            const std::int64_t y = top + ky * down.dilation;
            if (y < 0 || y >= args.slab.height) continue;
            const Value* const row = in_row(slab, args.large, y);
            for (std::int64_t kx = 0; kx < across.kernel; ++kx) {
                const std::int64_t x = left + kx * across.dilation;
                if (x < 0 || x >= args.slab.width) continue;
                const T value = baseline::to_float(row[x * step]);
                if (winner != kNoWinner && !(value > best) && value == value) continue;
                best = value;
                winner = ky * across.kernel + kx;
            }
        }
        const std::int64_t at = cell.column * step;
        Value* const pooled = plane_of<Value>(args.small, args.pooled, cell);
        std::uint8_t* const index = plane_of<std::uint8_t>(args.index, args.pooled, cell);
        baseline::from_float(best, in_row(pooled, args.small, cell.row) + at);
        in_row(index, args.index, cell.row)[at] = static_cast<std::uint8_t>(winner);
    });
}

// A thread per cell of the slab looks for the windows that it won, so no two write to one place, and adds
// their gradients in the row-major order of the windows, as the CPU does.
template <class Value, class T>
__global__ void __launch_bounds__(kThreads)
    max_pool_backward_kernel(const __grid_constant__ MaxPoolArgs args) {
    const MaxPoolAxis &down = args.y, &across = args.x;
    for_cells(args.slab, [&](const Cell& cell) {
        const std::int64_t step = args.slab.channels_last ? args.slab.channels : 1;
        const Value* const grads = plane_of<const Value>(args.small, args.pooled, cell);
        const std::uint8_t* const winners = plane_of<const std::uint8_t>(args.index, args.pooled, cell);
        Value* const to =
            in_row(plane_of<Value>(args.large, args.slab, cell), args.large, cell.row) + cell.column * step;
        T sum = baseline::to_float(*to);
        for (std::int64_t ky = down.kernel - 1; ky >= 0; --ky) {
            const std::int64_t y = cell.row + down.pad - ky * down.dilation, oy = y / down.stride;
            if (y < 0 || oy * down.stride != y || oy >= args.pooled.height) continue;
            for (std::int64_t kx = across.kernel - 1; kx >= 0; --kx) {
                const std::int64_t x = cell.column + across.pad - kx * across.dilation;
                const std::int64_t ox = x / across.stride;
                if (x < 0 || ox * across.stride != x || ox >= args.pooled.width) continue;
                if (in_row(winners, args.index, oy)[ox * step] != ky * across.kernel + kx) continue;
                sum += baseline::to_float(in_row(grads, args.small, oy)[ox * step]);
            }
        }
        baseline::from_float(sum, to);
    });
}

dim3 blocks_over(const RowShape& shape) {
    constexpr std::int64_t kMost = 65535;
    const std::int64_t lines = shape.outers() * shape.height;
    return dim3(static_cast<unsigned>((shape.line() - 1) / kThreads + 1),
                static_cast<unsigned>(lines < kMost ? lines : kMost));
}

template <class Value, class T>
void launch(const MaxPoolArgs& args, bool backward, cudaStream_t stream) {
    if (backward) {
        max_pool_backward_kernel<Value, T><<<blocks_over(args.slab), kThreads, 0, stream>>>(args);
    } else {
        max_pool_kernel<Value, T><<<blocks_over(args.pooled), kThreads, 0, stream>>>(args);
    }
    FASTWSI_CUDA_CHECK(cudaGetLastError());
}

void choose(const MaxPoolArgs& args, bool backward, int device, void* stream) {
    const DeviceGuard guard(device);
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    switch (args.dtype) {
        case DType::f16: return launch<Half, float>(args, backward, queue);
        case DType::bf16: return launch<BFloat16, float>(args, backward, queue);
        case DType::f64: return launch<double, double>(args, backward, queue);
        default: return launch<float, float>(args, backward, queue);
    }
}

}  // namespace

void max_pool_cuda(const MaxPoolArgs& args, int device, void* stream) { choose(args, false, device, stream); }

void max_pool_backward_cuda(const MaxPoolArgs& args, int device, void* stream) {
    choose(args, true, device, stream);
}

}  // namespace fastwsi
