// 16-bit floats as storage, with conversions that round to nearest even. Usable in every unit: the
// functions are inlined per instruction set (see isa.h) and need no hardware support on the CPU.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/isa.h"

namespace fastwsi {

struct Half {
    std::uint16_t bits;
};

struct BFloat16 {
    std::uint16_t bits;
};

namespace FASTWSI_ISA {

FASTWSI_INLINE std::uint32_t bits_of(float x) {
    std::uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

FASTWSI_INLINE float float_from(std::uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

FASTWSI_INLINE float to_float(float x) { return x; }
FASTWSI_INLINE double to_float(double x) { return x; }
FASTWSI_INLINE float to_float(BFloat16 x) { return float_from(std::uint32_t{x.bits} << 16); }

FASTWSI_INLINE float to_float(Half x) {
#if defined(__CUDA_ARCH__)
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
    return wide;
#else
    const std::uint32_t sign = std::uint32_t{x.bits & 0x8000u} << 16;
    const std::uint32_t magnitude = x.bits & 0x7fffu;
    if (magnitude >= 0x7c00u) return float_from(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    // Shifted into place the exponent is 112 too small; a multiplication mends that and turns half's
    // subnormals into normal floats on the way.
    return float_from(sign | bits_of(float_from(magnitude << 13) * 0x1p112f));
#endif
}

FASTWSI_INLINE void from_float(float x, float* out) { *out = x; }
FASTWSI_INLINE void from_float(double x, double* out) { *out = x; }

FASTWSI_INLINE void from_float(float x, BFloat16* out) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out->bits) : "f"(x));
#else
    const std::uint32_t bits = bits_of(x);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    const std::uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    out->bits = static_cast<std::uint16_t>(nan ? bits >> 16 | 0x40u : rounded);
#endif
}

FASTWSI_INLINE void from_float(float x, Half* out) {
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out->bits) : "f"(x));
#else
    const std::uint32_t bits = bits_of(x);
    const std::uint32_t sign = bits >> 16 & 0x8000u;
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    std::uint32_t half;
    if (magnitude > 0x7f800000u) {
        half = 0x7e00u | (magnitude >> 13 & 0x3ffu);  // NaN keeps its leading payload bits
    } else if (magnitude >= 0x477ff000u) {
        half = 0x7c00u;  // rounds to 65536 or more
    } else if (magnitude < 0x38800000u) {
        // Subnormal in half: adding 0.5 lets the float unit round at the bit that half keeps.
        half = bits_of(float_from(magnitude) + 0.5f) - 0x3f000000u;
    } else {
        half = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    }
    out->bits = static_cast<std::uint16_t>(sign | half);
#endif
}

}  // namespace FASTWSI_ISA
}  // namespace fastwsi
