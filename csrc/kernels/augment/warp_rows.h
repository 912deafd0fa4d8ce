// Runs of output pixels of one row for warp, at the instruction set of the including unit. The bodies stand
// in `warp_rows.inl`, compiled once per unit.
#pragma once

#include <cstdint>

#include "kernels/augment/warp.h"

namespace fastwsi {

constexpr std::int64_t kWarpRun = 64;  // pixels of a run, at most

// Pixels x to x + n - 1 of row y, with colours and scaling. planes[c]: n contiguous elements of the dtype;
// for u8 planes[0]: [n, channels] uint8, where mode `done` leaves the values as they are.
using WarpRun = void(const WarpArgs& args, std::int64_t y, std::int64_t x, std::int64_t n,
                     const PixelMap& map, void* const (&planes)[3]);

namespace baseline {
WarpRun warp_run;
}
namespace avx2 {
WarpRun warp_run;
}

}  // namespace fastwsi
