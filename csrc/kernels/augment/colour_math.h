// The colour steps of one pixel (or of a vector of pixels), shared by the CPU and CUDA kernels.
#pragma once

#include "base/isa.h"
#include "base/lanes.h"
#include "kernels/augment/colour.h"
#include "kernels/augment/lch_math.h"
#include "kernels/augment/noise_math.h"

namespace fastwsi::FASTWSI_ISA {

// True where the means are those of the image and have to be measured.
FASTWSI_INLINE bool measures_mean(const Colour& colour) {
    return (colour.steps & kContrastStep) != 0 && (colour.steps & kContrastMeanGiven) == 0;
}

// False where every value comes out as it went in, but for scale and shift.
FASTWSI_INLINE bool changes_colours(const Colour& colour) {
    return colour.steps != 0 || colour.brightness_mul != 1.f || colour.brightness_add != 0.f;
}

FASTWSI_INLINE ColourMode mode_of(const Colour& colour) {
    if ((colour.steps & kHueStep) != 0) return ColourMode::hue;
    return (colour.steps & kSaturationStep) != 0 ? ColourMode::saturation : ColourMode::plain;
}

// `mean`: of each channel where the contrast step stands, on [0, 1]; unused without such a step.
FASTWSI_INLINE PixelMap fold(const Colour& colour, const double (&mean)[3]) {
    PixelMap map = {};
    map.steps = colour.steps;
    map.mode = mode_of(colour);
    const bool contrast = (colour.steps & kContrastStep) != 0;
    const bool first = contrast && (colour.steps & kContrastFirst) != 0;
    const bool plain = map.mode == ColourMode::plain;
    // Brightness that leaves no colours must leave no hue either: the shape is then not that of the bytes.
    map.per_channel = first || !(colour.brightness_mul > 0.f);
    for (int k = 0; k < 3; ++k) map.lch_mul[k] = colour.lch_mul[k];
    for (int c = 0; c < 3; ++c) {
        const double gain = contrast ? static_cast<double>(colour.contrast) : 1.0;
        const double lift = contrast ? mean[c] * (1.0 - gain) : 0.0;
        double mul = static_cast<double>(colour.brightness_mul) / 255;
        double add = static_cast<double>(colour.brightness_add);
        if (first) {
            add += lift * static_cast<double>(colour.brightness_mul);
            mul *= gain;
        } else if (plain) {
            add = add * gain + lift;
            mul *= gain;
        }
        map.in_mul[c] = static_cast<float>(mul);
        map.in_add[c] = static_cast<float>(add);
        const bool after = contrast && !first && !plain;
        map.out_mul[c] = after ? colour.contrast : 1.f;
        map.out_add[c] = after ? static_cast<float>(lift) : 0.f;
        map.scale[c] = colour.scale[c];
        map.shift[c] = colour.shift[c];
    }
    map.saturation_mul = colour.saturation_mul;
    map.saturation_add = colour.saturation_add;
    map.hue = colour.hue;
    map.chroma_limit = (colour.steps & kSaturationStep) != 0 ? 0.f : 3e38f;
    map.noise_sigma = colour.noise_sigma;
    map.noise_threshold = colour.noise_threshold;
    for (int k = 0; k < 2; ++k) map.noise_key[k] = colour.noise_key[k];
    return map;
}

// The map whose values are averaged for the contrast step: all steps before it, and no scaling.
FASTWSI_INLINE PixelMap fold_for_mean(const Colour& colour) {
    Colour before = colour;
    before.steps &= kLchStep | kSaturationStep | kHueStep;
    if ((colour.steps & kContrastFirst) != 0) {
        before.steps &= kLchStep;
        before.brightness_mul = 1.f;
        before.brightness_add = 0.f;
    }
    const double unused[3] = {};
    return fold(before, unused);
}

// From values as in bytes (after the LCh step, see lch_math.h) to the values before the contrast step (in
// plain mode, after it).
//
// With v the largest of three values, d the spread and t[c] = (v - x[c]) / d the pixel's shape, the HSV steps
// need no saturation: a chroma k = s v in place of d gives x[c] = v - k t[c], and s -> clip(s f + a, 0, 1)
// is k -> clip(d f + v a, 0, v). Differences of bytes are exact, so the shape is taken before brightness.
template <ColourMode Mode, class V>
FASTWSI_INLINE void colour_pixel(const PixelMap& map, V (&x)[3]) {
    if (Mode == ColourMode::done) return;
    if (Mode == ColourMode::plain) {
        for (int c = 0; c < 3; ++c) x[c] = x[c] * map.in_mul[c] + map.in_add[c];
        return;
    }
    float mul = map.in_mul[0], add = map.in_add[0];
    if (map.per_channel) {
        for (int c = 0; c < 3; ++c) x[c] = x[c] * map.in_mul[c] + map.in_add[c];
        mul = 1.f;
        add = 0.f;
    }
    const V zero = lane<V>(0.f), one = lane<V>(1.f);
    const V top = larger(x[0], larger(x[1], x[2]));
    const V spread = top - smaller(x[0], smaller(x[1], x[2]));
    const V value = top * mul + add;
    const V chroma = spread * mul * map.saturation_mul + value * map.saturation_add;
    const V kept = smaller(larger(chroma, zero), larger(value, lane<V>(map.chroma_limit)));
    const auto grey = spread <= zero;
    const V inverse = quotient(1.f, choose(grey, one, spread));
    V t[3];
    if (Mode == ColourMode::saturation) {
        for (int c = 0; c < 3; ++c) t[c] = (top - x[c]) * inverse;
        for (int c = 1; c < 3; ++c) t[c] = choose(grey, one, t[c]);  // grey has the hue of red
    } else {
        const auto red = x[0] == top;
        const auto green = x[1] == top;
        const V side = choose(red, x[1] - x[2], choose(green, x[2] - x[0], x[0] - x[1]));
        const V sector = choose(red, zero, choose(green, lane<V>(2.f), lane<V>(4.f)));
        V h = side * inverse + (sector + map.hue);  // in [-1, 11)
        h = choose(h < zero, h + 6.f, h);
        h = choose(h >= lane<V>(6.f), h - 6.f, h);
        t[0] = 2.f - magnitude(h - 3.f);
        t[1] = magnitude(h - 2.f) - 1.f;
        t[2] = magnitude(h - 4.f) - 1.f;
        for (int c = 0; c < 3; ++c) t[c] = smaller(larger(t[c], zero), one);
    }
    for (int c = 0; c < 3; ++c) x[c] = value - kept * t[c];
}

// What follows the HSV steps: contrast, noise, one clip to [0, 1]. `number` of the pixel in its image.
template <class U, class V>
FASTWSI_INLINE void finish_pixel(const PixelMap& map, U number, V (&x)[3]) {
    if (map.mode != ColourMode::plain)
        for (int c = 0; c < 3; ++c) x[c] = x[c] * map.out_mul[c] + map.out_add[c];
    if ((map.steps & (kGaussianStep | kReplaceStep)) != 0) {
        const RandomWords<U> words(number, map.noise_key);
        if ((map.steps & kGaussianStep) != 0) {
            V normal[3];
            normal_noise(words, normal);
            for (int c = 0; c < 3; ++c) x[c] += normal[c] * map.noise_sigma;
        }
        if ((map.steps & kReplaceStep) != 0) {
            const auto chosen = words.bits24(0) < map.noise_threshold;
            if (any(chosen))
                for (int c = 0; c < 3; ++c)
                    x[c] = choose(chosen, float_of(words.bits24(1 + static_cast<std::uint32_t>(c))) * kUnit24,
                                  x[c]);
        }
    }
    const V zero = lane<V>(0.f), one = lane<V>(1.f);
    for (int c = 0; c < 3; ++c) x[c] = smaller(larger(x[c], zero), one);
}

}  // namespace fastwsi::FASTWSI_ISA
