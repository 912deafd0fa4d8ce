// Packed runs of pixels for augment_patches, at the instruction set of the including unit. The bodies stand
// in `augment_patches_rows.inl`, compiled once per unit.
#pragma once

#include <cstdint>

#include "base/view.h"
#include "kernels/augment/colour.h"

namespace fastwsi {

struct FloatPlanes {
    float* of[3];
};

// in: [n, 3] uint8. Adds each channel's values to its sum.
using PatchSums = void(const std::uint8_t* in, std::int64_t n, const PixelMap& map, double (&sums)[3]);

// The same, keeping the values in planes of n floats; and what is left to do, in place, once the mean is
// known (with a map in mode `done`).
using PatchBegin = void(const std::uint8_t* in, std::int64_t n, const PixelMap& map,
                        const FloatPlanes& planes, double (&sums)[3]);
using PatchEnd = void(const FloatPlanes& planes, std::int64_t n, std::uint32_t number, const PixelMap& map);

// in: [n, 3] uint8. planes[c]: n contiguous elements of the dtype; for u8 planes[0]: [n, 3] uint8.
// `number`: of the first pixel in its patch.
using PatchStore = void(const std::uint8_t* in, std::int64_t n, std::uint32_t number, const PixelMap& map,
                        DType dtype, void* const (&planes)[3]);

namespace baseline {
PatchSums patch_sums;
PatchBegin patch_begin;
PatchEnd patch_end;
PatchStore patch_store;
}  // namespace baseline

namespace avx2 {
PatchSums patch_sums;
PatchBegin patch_begin;
PatchEnd patch_end;
PatchStore patch_store;
}  // namespace avx2

}  // namespace fastwsi
