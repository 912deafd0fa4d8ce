// Packed runs of pixels for augment_patches, at the instruction set of the including unit. The bodies stand
// in `augment_patches_rows.inl`, compiled once per unit.
#pragma once

#include <cstdint>

#include "base/view.h"
#include "kernels/augment/colour.h"

namespace fastwsi {

// Where a run goes: its three planes; or its pixels, channels behind one another, from at[0] on. Bytes are
// always interleaved.
struct PatchOutput {
    void* at[3];
    bool interleaved;
};

// in: [n, 3] uint8. Adds each channel's values to its sum.
using PatchSums = void(const std::uint8_t* in, std::int64_t n, const PixelMap& map, double (&sums)[3]);

// The same, keeping the values in an output of floats; and what is left to do, in place, once the mean is
// known (with a map in mode `done`). Runs may be joined for the latter where they are of whole blocks.
using PatchBegin = void(const std::uint8_t* in, std::int64_t n, const PixelMap& map,
                        const PatchOutput& output, double (&sums)[3]);
using PatchEnd = void(const PatchOutput& output, std::int64_t n, std::uint32_t number, const PixelMap& map);

// in: [n, 3] uint8. `number`: of the first pixel in its patch.
using PatchStore = void(const std::uint8_t* in, std::int64_t n, std::uint32_t number, const PixelMap& map,
                        DType dtype, const PatchOutput& output);

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
