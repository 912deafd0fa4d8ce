// The colour steps of one pixel on the device, whichever a map has.
#pragma once

#include "kernels/augment/colour_math.h"

namespace fastwsi {
namespace {

__device__ __forceinline__ void colour_in_mode(const PixelMap& map, float (&rgb)[3]) {
    if ((map.steps & kLchStep) != 0) baseline::lch_pixel(map.lch_mul, rgb);
    switch (map.mode) {
        case ColourMode::plain: return baseline::colour_pixel<ColourMode::plain>(map, rgb);
        case ColourMode::saturation: return baseline::colour_pixel<ColourMode::saturation>(map, rgb);
        default: return baseline::colour_pixel<ColourMode::hue>(map, rgb);
    }
}

}  // namespace
}  // namespace fastwsi
