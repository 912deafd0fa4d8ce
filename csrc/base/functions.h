// Transcendental functions for per-element maths: the GPU has its own, the CPU gets short series that are
// good to a few units in the last place of float32 on the ranges stated.
#pragma once

#include "base/lanes.h"

namespace fastwsi::FASTWSI_ISA {

#if defined(__CUDACC__)

FASTWSI_INLINE float root(float x) { return sqrtf(x); }
FASTWSI_INLINE float natural_log(float x) { return logf(x); }
FASTWSI_INLINE void sincos_turns(float turns, float& sine, float& cosine) {
    sincospif(2.f * turns, &sine, &cosine);
}
FASTWSI_INLINE float power_of_two(float x) { return exp2f(x); }
FASTWSI_INLINE float turns_of(float y, float x) {
    const float turns = atan2f(y, x) * 0.159154943f;
    return turns < 0.f ? turns + 1.f : turns;
}
FASTWSI_INLINE float float_of(std::uint32_t x) { return static_cast<float>(x); }

#else

FASTWSI_INLINE f32x8 float_of(u32x8 x) { return __builtin_convertvector((i32x8)x, f32x8); }  // x < 2^31

// ln x for normal x > 0, to a relative error of 3e-7, next to 1 as well.
FASTWSI_INLINE f32x8 natural_log(f32x8 x) {
    // x = m 2^e with m in [sqrt(1/2), sqrt(2)), and ln m = 2 artanh(f / (2 + f)) for f = m - 1.
    const i32x8 bits = (i32x8)x - 0x3f3504f3;
    const f32x8 exponent = __builtin_convertvector(bits >> 23, f32x8);
    const f32x8 f = (f32x8)((bits & 0x7fffff) + 0x3f3504f3) - 1.f;
    const f32x8 s = f / (f + 2.f), w = s * s;
    f32x8 p = w * (1.f / 9) + 1.f / 7;
    p = p * w + 1.f / 5;
    p = p * w + 1.f / 3;
    p = p * w + 1.f;
    return exponent * 0.693147181f + 2.f * s * p;
}

FASTWSI_INLINE f32x8 power_of_two(f32x8 x) { return exp2_8(clamp8(x, -126.f, 126.f)); }

// The angle of (x, y) in [0, 1] turns, to an absolute error of 1e-7; 0 at the origin.
FASTWSI_INLINE f32x8 turns_of(f32x8 y, f32x8 x) {
    const f32x8 ax = magnitude(x), ay = magnitude(y), zero = splat8(0.f);
    const f32x8 wide = larger(ax, ay);
    const f32x8 ratio = smaller(ax, ay) / larger(wide, splat8(1e-30f));  // tan of an angle up to 45 degrees
    // Above 22.5 degrees the angle is measured from 45.
    const i32x8 steep = ratio > splat8(0.414213562f);
    const f32x8 t = choose(steep, (ratio - 1.f) / (ratio + 1.f), ratio), w = t * t;
    f32x8 p = w * (1.f / 13) - 1.f / 11;
    p = p * w + 1.f / 9;
    p = p * w - 1.f / 7;
    p = p * w + 1.f / 5;
    p = p * w - 1.f / 3;
    f32x8 turns = (p * w * t + t) * 0.159154943f + choose(steep, splat8(0.125f), zero);
    turns = choose(ay > ax, 0.25f - turns, turns);
    turns = choose(x < zero, 0.5f - turns, turns);
    return choose(y < zero, 1.f - turns, turns);
}

// sin and cos of 2 pi turns for turns in [-1, 1], to an absolute error of 1e-7.
FASTWSI_INLINE void sincos_turns(f32x8 turns, f32x8& sine, f32x8& cosine) {
    const f32x8 shifted = turns * 4.f + 12582912.f;  // leaves the nearest quarter turn in the low bits
    const f32x8 x = (turns * 4.f - (shifted - 12582912.f)) * 1.57079633f;
    const f32x8 w = x * x;
    f32x8 s = w * (1.f / 362880) - 1.f / 5040;
    s = s * w + 1.f / 120;
    s = s * w - 1.f / 6;
    s = s * w * x + x;
    f32x8 c = w * (1.f / 40320) - 1.f / 720;
    c = c * w + 1.f / 24;
    c = c * w - 0.5f;
    c = c * w + 1.f;
    const i32x8 quarter = (i32x8)shifted;
    const i32x8 odd = (quarter & 1) != 0;
    sine = (f32x8)((i32x8)choose(odd, c, s) ^ (quarter & 2) << 30);
    cosine = (f32x8)((i32x8)choose(odd, s, c) ^ ((quarter + 1) & 2) << 30);
}

#endif

}  // namespace fastwsi::FASTWSI_ISA
