// How the colours of one image are varied. Values are on [0, 1]; the steps follow one another as listed,
// without clipping in between, and the result is clipped once.
#pragma once

#include <cstdint>

namespace fastwsi {

// Which steps are taken. A saturation step of factor 1 is not nothing: it clips saturations above 1.
enum ColourStep : std::uint32_t {
    kSaturationStep = 1,
    kHueStep = 2,
    kContrastStep = 4,
    kContrastFirst = 8,       // contrast comes before brightness, not after hue
    kContrastMeanGiven = 16,  // else the image's own means
    kGaussianStep = 32,
    kReplaceStep = 64,
    kLchStep = 128,  // before all others
};

struct Colour {
    std::uint32_t steps;
    float brightness_mul, brightness_add;  // x * mul + add
    float saturation_mul, saturation_add;  // of the S of HSV, clipped to [0, 1]
    float hue;                             // added to the hue, in sixths of a turn, in [0, 6)
    float contrast;                        // (x - mean) * contrast + mean, channel by channel
    float contrast_mean[3];
    float lch_mul[3];               // lightness, chroma and hue angle in CIE LCh are multiplied with them
    float noise_sigma;              // of the Gaussian noise added to each value
    std::uint32_t noise_threshold;  // a pixel is replaced where a 24-bit random number is below it
    std::uint32_t noise_key[2];     // from the image's seed
    float scale[3], shift[3];       // of the clipped value, on the way out
};

// `hue` with or without a saturation step; `done`: what comes in has all steps but the last behind it.
enum class ColourMode : std::uint8_t { plain, saturation, hue, done };

// A Colour whose means are known, folded for the pixel loop (colour_math.h). Values come in as in a byte
// (in mode `done` as they stand before contrast).
struct PixelMap {
    std::uint32_t steps;
    ColourMode mode;
    bool per_channel;            // hue and saturation are those after the input map, not those of the bytes
    float in_mul[3], in_add[3];  // value * mul + add; in plain mode with the contrast folded in
    float saturation_mul, saturation_add, hue;
    float chroma_limit;            // 0 where the saturation step caps chroma at the value, else infinite
    float out_mul[3], out_add[3];  // contrast, after the HSV steps
    float lch_mul[3];
    float noise_sigma;
    std::uint32_t noise_threshold, noise_key[2];
    float scale[3], shift[3];
};

}  // namespace fastwsi
