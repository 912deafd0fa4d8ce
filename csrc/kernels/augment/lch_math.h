// Lightness, chroma and hue angle of one pixel (or of a vector of pixels) in CIE LCh, multiplied. sRGB and
// its white D65; shared by the CPU and CUDA kernels.
#pragma once

#include "base/functions.h"
#include "base/isa.h"

namespace fastwsi::FASTWSI_ISA {

template <class V>
FASTWSI_INLINE V power(V x, float exponent) {
    return power_of_two(natural_log(x) * (exponent * 1.44269504f));
}

template <class V>
FASTWSI_INLINE V cube_root(V x) {
    const V y = power(x, 1.f / 3);
    return y - (y - quotient(x, y * y)) * (1.f / 3);  // one step of Newton's: the cube takes errors threefold
}

// To linear light, and back; below the threshold sRGB is a straight line.
template <class V>
FASTWSI_INLINE V to_linear(V x) {
    const V curved = power((x + 0.055f) * (1.f / 1.055f), 2.4f);
    return choose(x <= lane<V>(0.04045f), x * (1.f / 12.92f), curved);
}

template <class V>
FASTWSI_INLINE V from_linear(V x) {
    const V curved = power(larger(x, lane<V>(0.001f)), 1.f / 2.4f) * 1.055f - 0.055f;
    return choose(x <= lane<V>(0.0031308f), x * 12.92f, curved);
}

// CIE's cube root with a straight line near black, and back.
template <class V>
FASTWSI_INLINE V to_lab_scale(V t) {
    const V line = t * (24389.f / 27 / 116) + 16.f / 116;
    return choose(t > lane<V>(216.f / 24389), cube_root(larger(t, lane<V>(0.001f))), line);
}

template <class V>
FASTWSI_INLINE V from_lab_scale(V f) {
    return choose(f > lane<V>(6.f / 29), f * f * f, (f - 16.f / 116) * (116.f * 27 / 24389));
}

// x: values as in bytes, before and after; they may leave [0, 255]. mul: of lightness, chroma and hue.
template <class V>
FASTWSI_INLINE void lch_pixel(const float (&mul)[3], V (&x)[3]) {
    // Linear sRGB to XYZ relative to the white point, and back.
    const float to_xyz[3][3] = {{0.433887346f, 0.376224009f, 0.189888645f},
                                {0.212639006f, 0.715168679f, 0.072192315f},
                                {0.017750040f, 0.109447621f, 0.872802339f}};
    const float from_xyz[3][3] = {{3.080399091f, -1.537383178f, -0.543015913f},
                                  {-0.921223359f, 1.875967502f, 0.045255857f},
                                  {0.052873939f, -0.203976959f, 1.151103020f}};
    V linear[3], f[3];
    for (int c = 0; c < 3; ++c) linear[c] = to_linear(x[c] * (1.f / 255));
    for (int k = 0; k < 3; ++k)
        f[k] = to_lab_scale(linear[0] * to_xyz[k][0] + linear[1] * to_xyz[k][1] + linear[2] * to_xyz[k][2]);
    const V a = (f[0] - f[1]) * 500.f, b = (f[1] - f[2]) * 200.f;
    V sine, cosine;
    sincos_turns(turns_of(b, a) * (mul[2] - 1.f), sine, cosine);  // from the hue to its multiple
    const V new_a = (a * cosine - b * sine) * mul[1], new_b = (a * sine + b * cosine) * mul[1];
    f[1] = (f[1] * 116.f - 16.f) * (mul[0] / 116) + 16.f / 116;
    f[0] = f[1] + new_a * (1.f / 500);
    f[2] = f[1] - new_b * (1.f / 200);
    for (int k = 0; k < 3; ++k) f[k] = from_lab_scale(f[k]);
    for (int c = 0; c < 3; ++c)
        x[c] = from_linear(f[0] * from_xyz[c][0] + f[1] * from_xyz[c][1] + f[2] * from_xyz[c][2]) * 255.f;
}

}  // namespace fastwsi::FASTWSI_ISA
