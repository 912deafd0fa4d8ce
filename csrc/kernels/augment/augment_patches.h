// Patches cut from slides, oriented, varied in colour, and scaled to a network's input: 8-bit RGB in, planes
// or pixels of floats out. Each source pixel is read once from memory; where contrast needs the patch's mean,
// a second time from the cache.
#pragma once

#include <cstdint>

#include "base/view.h"
#include "kernels/augment/colour.h"

namespace fastwsi {

// One patch. Crop and orientation are folded into the pointer and the strides: rows and columns are the
// output's. All strides in bytes, of any sign.
struct Patch {
    const std::uint8_t* source;
    std::int64_t row, column, channel;
    void* output;
    Colour colour;
};

// What all patches share.
struct PatchLayout {
    std::int64_t height, width;         // of the output
    DType dtype;                        // f32, f16, bf16, or u8: the clipped value times 255, rounded to even
    std::int64_t row, column, channel;  // bytes, of the output
};

void augment_patches_cpu(const PatchLayout& layout, const Patch* patches, std::int64_t count);

// `workspace`: on the device, augment_patches_workspace(layout, count) doubles; null where no patch's mean is
// to be measured.
std::int64_t augment_patches_workspace(const PatchLayout& layout, std::int64_t count);
void augment_patches_cuda(const PatchLayout& layout, const Patch* patches, std::int64_t count,
                          double* workspace, int device, void* stream);

}  // namespace fastwsi
