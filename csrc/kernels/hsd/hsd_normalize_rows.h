// Packed runs of pixels through HSD normalisation, at the instruction set of the including unit.
// The prototypes are what `hsd_normalize_cpu.cpp` chooses between; the bodies stand in
// `hsd_normalize_rows.inl`, compiled once per unit.
#pragma once

#include <cstdint>

#include "base/half.h"
#include "kernels/hsd/hsd_normalize.h"

namespace fastwsi {

// in: [n, 3] uint8; out: [n, 3] uint8, may be the same memory.
using HsdPixelRun = void(const std::uint8_t* in, std::uint8_t* out, std::int64_t n,
                         const HsdTransform& transform);
// in: [n, 3] uint8; plane[c]: n contiguous elements of the run's type.
using HsdPlaneRun = void(const std::uint8_t* in, void* const (&plane)[3], std::int64_t n,
                         const HsdTransform& transform, const HsdPlaneScale& planes);

namespace baseline {
HsdPixelRun hsd_normalize_pixels;
HsdPlaneRun hsd_normalize_planes_f32, hsd_normalize_planes_f16, hsd_normalize_planes_bf16;
}  // namespace baseline

namespace avx2 {
HsdPixelRun hsd_normalize_pixels;
HsdPlaneRun hsd_normalize_planes_f32, hsd_normalize_planes_f16, hsd_normalize_planes_bf16;
}  // namespace avx2

}  // namespace fastwsi
