// What both HSD kernels do on the device: the density table in shared memory and 4 packed pixels at
// a time through 3 words.
#pragma once

#include <cstdint>

#include "base/grid.h"

namespace fastwsi {
namespace {

constexpr int kThreads = 256;  // one per table entry
constexpr int kQuad = 4;       // pixels per thread and step: 12 bytes, 3 aligned words

// Logarithms of exact rationals in double, once per block: the fast device logarithm loses the
// relative precision near white that the ratios of densities need. Ends with a barrier.
__device__ __forceinline__ void fill_density_table(float* table) {
    table[threadIdx.x] =
        static_cast<float>(-log1p((static_cast<int>(threadIdx.x) - 256) / 257.0) * 1.4426950408889634074);
    __syncthreads();
}

__device__ __forceinline__ void load_quad(const std::uint8_t* p, std::uint8_t (&pixels)[3 * kQuad]) {
    const std::uint32_t* words = reinterpret_cast<const std::uint32_t*>(p);
#pragma unroll
    for (int w = 0; w < 3; ++w) {
        const std::uint32_t word = words[w];
#pragma unroll
        for (int b = 0; b < 4; ++b) pixels[4 * w + b] = static_cast<std::uint8_t>(word >> (8 * b));
    }
}

// True where every row of array `a` starts at a multiple of `alignment` bytes.
template <int N>
bool rows_aligned(const Grid<N>& grid, int a, const void* base, std::int64_t alignment) {
    if (reinterpret_cast<std::uintptr_t>(base) % static_cast<std::uintptr_t>(alignment) != 0) return false;
    for (int d = 0; d + 1 < grid.ndim; ++d)
        if (grid.stride[a][d] % alignment != 0) return false;
    return true;
}

// Blocks along a row (x) and rows (y): enough to fill the card, few enough to amortise the table.
inline dim3 launch_shape(std::int64_t rows, std::int64_t steps_per_row, int processors) {
    constexpr std::int64_t kBlocksPerProcessor = 8;
    const std::int64_t wanted = processors * kBlocksPerProcessor;
    const std::int64_t across = (steps_per_row + kThreads - 1) / kThreads;
    const std::int64_t x = across < wanted ? across : wanted;
    const std::int64_t room = (wanted + x - 1) / x;
    const std::int64_t y = rows < room ? rows : room;
    return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y < 65535 ? y : 65535));
}

}  // namespace
}  // namespace fastwsi
