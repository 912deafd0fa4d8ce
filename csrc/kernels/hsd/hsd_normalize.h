// HSD stain normalisation: 8-bit RGB in, 8-bit RGB or scaled planes out, one pass over memory.
#pragma once

#include <cstdint>

#include "base/grid.h"

namespace fastwsi {

// The whole normalisation of one image, folded into one linear map and one scalar (the derivation
// stands in python/fastwsi/kernels/hsd_statistics.py). With d the three densities of a pixel in
// bits and D their mean, the new densities are (gain + offset / D) * (weight d).
struct HsdTransform {
    float weight[9];  // row-major 3 x 3
    float gain;       // s_R / s
    float offset3;    // three times offset = m_R - gain * m, in bits: the kernel divides by 3 D
};

// Planes leave as intensity * scale + shift, intensity being in [0, 255] and not rounded.
struct HsdPlaneScale {
    float scale[3];
    float shift[3];
};

struct HsdNormalizeArgs {
    // Arrays 0: the uint8 input, 1: the output; one position per pixel.
    Grid<2> grid;
    const std::uint8_t* input;
    void* output;
    std::int64_t input_channel;   // bytes from a pixel's red to its green, and to its blue
    std::int64_t output_channel;  // likewise in the output
    DType output_dtype;           // u8: rounded intensities; f32, f16, bf16: scaled planes
    HsdTransform transform;
    HsdPlaneScale planes;  // unused for u8
};

// `count` images (or whole batches that share a transform), each with its own arguments but one dtype.
void hsd_normalize_cpu(const HsdNormalizeArgs* images, std::int64_t count);
void hsd_normalize_cuda(const HsdNormalizeArgs* images, std::int64_t count, int device, void* stream);

}  // namespace fastwsi
