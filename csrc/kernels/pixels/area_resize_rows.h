// Rows of area_resize, at the instruction set of the including unit.
#pragma once

#include <cstdint>

#include "kernels/pixels/area_resize_math.h"

namespace fastwsi {

// sums[0 .. n) = the rows of a span added up: `row` is its first, the next ones `step` bytes apart.
using AreaDown = void(const std::uint8_t* row, std::int64_t step, const AreaSpan& span, std::uint32_t* sums,
                      std::int64_t n);
// One output row of n pixels of such sums, whose first value belongs to column `left`.
using AreaAcross = void(const std::uint32_t* sums, std::int64_t left, std::uint64_t total_down,
                        const AreaSpan* spans, std::int64_t n, int channels, std::uint8_t* out);

namespace baseline {
AreaDown area_down;
AreaAcross area_across;
}  // namespace baseline
namespace avx2 {
AreaDown area_down;
AreaAcross area_across;
}  // namespace avx2

}  // namespace fastwsi
