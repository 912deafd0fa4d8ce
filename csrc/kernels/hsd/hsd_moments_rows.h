// Packed runs of pixels into moments, at the instruction set of the including unit.
#pragma once

#include <cstdint>

#include "kernels/hsd/hsd_moments.h"

namespace fastwsi {

// in: [n, 3] uint8; mask: [n] uint8 or nullptr; n >= 1.
using HsdMomentsRun = HsdSums(const std::uint8_t* in, const std::uint8_t* mask, std::int64_t n);

namespace baseline {
HsdMomentsRun hsd_moments_run;
}
namespace avx2 {
HsdMomentsRun hsd_moments_run;
}

}  // namespace fastwsi
