// Runs of output pixels of one row for warp, at the instruction set of the including unit. The bodies stand in
// `warp_rows.inl`, compiled once per unit.
#pragma once

#include <cstdint>

#include "kernels/augment/warp.h"

namespace fastwsi {

constexpr std::int64_t kWarpRun = 64;  // pixels: what a run touches stays in the L1 cache


// Samples n <= kWarpRun pixels of row y from column x on into planes[channel][pixel], in [0, 255].
using WarpSample = void(const WarpArgs& args, std::int64_t y, std::int64_t x, std::int64_t n,
                        float (&planes)[3][kWarpRun]);

// What becomes of them: colours and scaling into planes[c], n contiguous elements of the dtype; for u8 into
// planes[0], [n, channels] uint8, where mode `done` leaves the colours as they are. `number`: of the first pixel
// in the whole output.
using WarpStore = void(const float (&values)[3][kWarpRun], std::int64_t n, std::uint32_t number,
                       const PixelMap& map, int channels, DType dtype, void* const (&planes)[3]);

namespace baseline {
WarpSample warp_sample;
WarpStore warp_store;
}  // namespace baseline

namespace avx2 {
WarpSample warp_sample;
WarpStore warp_store;
}  // namespace avx2

}  // namespace fastwsi
