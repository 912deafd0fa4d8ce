// The table in which Python hands over what is done to each image: one row of float64 per image. The columns
// are written in python/fastwsi/kernels/patch_params.py, in this order.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "base/view.h"
#include "bindings/call.h"
#include "kernels/augment/colour.h"

namespace fastwsi {

enum TableColumn : int {
    kOriginX,
    kOriginY,
    kOrientation,
    kSteps,
    kBrightnessMul,
    kBrightnessAdd,
    kSaturationMul,
    kSaturationAdd,
    kHue,
    kContrast,
    kContrastMean,  // three
    kNoiseSigma = kContrastMean + 3,
    kNoiseThreshold,
    kNoiseKey,               // two
    kScale = kNoiseKey + 2,  // three
    kShift = kScale + 3,     // three
    kLchMul = kShift + 3,    // three
    kTableColumns = kLchMul + 3,
};

inline Colour colour_from(const double* row) {
    const auto f32 = [&](int column) { return static_cast<float>(row[column]); };
    const auto u32 = [&](int column) { return static_cast<std::uint32_t>(row[column]); };
    Colour colour = {};
    colour.steps = u32(kSteps);
    colour.brightness_mul = f32(kBrightnessMul);
    colour.brightness_add = f32(kBrightnessAdd);
    colour.saturation_mul = f32(kSaturationMul);
    colour.saturation_add = f32(kSaturationAdd);
    colour.hue = f32(kHue);
    colour.contrast = f32(kContrast);
    colour.noise_sigma = f32(kNoiseSigma);
    colour.noise_threshold = u32(kNoiseThreshold);
    for (int k = 0; k < 2; ++k) colour.noise_key[k] = u32(kNoiseKey + k);
    for (int c = 0; c < 3; ++c) {
        colour.contrast_mean[c] = f32(kContrastMean + c);
        colour.lch_mul[c] = f32(kLchMul + c);
        colour.scale[c] = f32(kScale + c);
        colour.shift[c] = f32(kShift + c);
    }
    return colour;
}

// The rows, checked to be `count` of them.
inline const double* table_rows(const View& table, std::int64_t count) {
    const bool packed = table.ndim == 2 && (table.shape[0] == 0 || table.stride[1] == 8) &&
                        (table.shape[0] <= 1 || table.stride[0] == 8 * kTableColumns);
    FASTWSI_CHECK(table.device == Device::cpu && table.dtype == DType::f64 && packed &&
                      table.shape[0] == count && table.shape[1] == kTableColumns,
                  "table: got shape ", shape_text(table), " of ", name_of(table.dtype), ", expected (", count,
                  ", ", int{kTableColumns}, ") of float64 on the CPU, contiguous");
    return static_cast<const double*>(table.data);
}

}  // namespace fastwsi
