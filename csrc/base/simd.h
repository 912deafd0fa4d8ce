// Eight floats or four doubles at a time, in one spelling for every instruction set: compiler vector
// types for arithmetic (the baseline lowers them to what the processor has), and intrinsics only
// where the types have no word for it. For per-ISA units alone; never include it in a header of
// another kind.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "base/isa.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace fastwsi::FASTWSI_ISA {

typedef float f32x8 __attribute__((vector_size(32)));
typedef double f64x4 __attribute__((vector_size(32)));
typedef std::int32_t i32x8 __attribute__((vector_size(32)));
typedef std::uint32_t u32x8 __attribute__((vector_size(32)));

FASTWSI_INLINE f32x8 splat8(float x) { return f32x8{x, x, x, x, x, x, x, x}; }
FASTWSI_INLINE f64x4 splat4(double x) { return f64x4{x, x, x, x}; }

// Where x is NaN, both give y. Intrinsics, since the compiler does not see max and min in a select.
#if defined(__AVX2__)
FASTWSI_INLINE f32x8 larger(f32x8 x, f32x8 y) { return (f32x8)_mm256_max_ps((__m256)x, (__m256)y); }
FASTWSI_INLINE f32x8 smaller(f32x8 x, f32x8 y) { return (f32x8)_mm256_min_ps((__m256)x, (__m256)y); }
FASTWSI_INLINE f64x4 larger(f64x4 x, f64x4 y) { return (f64x4)_mm256_max_pd((__m256d)x, (__m256d)y); }
FASTWSI_INLINE f64x4 smaller(f64x4 x, f64x4 y) { return (f64x4)_mm256_min_pd((__m256d)x, (__m256d)y); }
FASTWSI_INLINE f32x8 root(f32x8 x) { return (f32x8)_mm256_sqrt_ps((__m256)x); }
#else
FASTWSI_INLINE f32x8 larger(f32x8 x, f32x8 y) { return x > y ? x : y; }
FASTWSI_INLINE f32x8 smaller(f32x8 x, f32x8 y) { return x < y ? x : y; }
FASTWSI_INLINE f64x4 larger(f64x4 x, f64x4 y) { return x > y ? x : y; }
FASTWSI_INLINE f64x4 smaller(f64x4 x, f64x4 y) { return x < y ? x : y; }
FASTWSI_INLINE f32x8 root(f32x8 x) {
    for (int i = 0; i < 8; ++i) x[i] = __builtin_sqrtf(x[i]);
    return x;
}
#endif
FASTWSI_INLINE f32x8 magnitude(f32x8 x) { return (f32x8)((i32x8)x & 0x7fffffff); }
FASTWSI_INLINE f32x8 choose(i32x8 condition, f32x8 x, f32x8 y) { return condition ? x : y; }
FASTWSI_INLINE bool any(i32x8 condition) {
#if defined(__AVX2__)
    return _mm256_movemask_ps((__m256)condition) != 0;
#else
    std::int32_t found = 0;
    for (int i = 0; i < 8; ++i) found |= condition[i];
    return found != 0;
#endif
}

// NaN becomes `low`.
FASTWSI_INLINE f32x8 clamp8(f32x8 x, float low, float high) {
    return smaller(larger(x, splat8(low)), splat8(high));
}

// The two halves added up in float64.
FASTWSI_INLINE f64x4 widened_sum(f32x8 x) {
    typedef float f32x4 __attribute__((vector_size(16)));
    f32x4 halves[2];
    memcpy(halves, &x, sizeof x);
    return __builtin_convertvector(halves[0], f64x4) + __builtin_convertvector(halves[1], f64x4);
}

// Eight interleaved pixels to three planes; reads these 24 bytes and no more.
FASTWSI_INLINE void load_rgb8(const std::uint8_t* p, f32x8 (&rgb)[3]) {
#if defined(__AVX2__)
    // Pixels 0 to 3 stand at the start of the low lane, pixels 4 to 7 at the end of the high one.
    const __m256i bytes =
        _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
                                _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)), 1);
    constexpr char z = -128;                                                              // a zero byte
    const __m256i red = _mm256_setr_epi8(0, z, z, z, 3, z, z, z, 6, z, z, z, 9, z, z, z,  //
                                         4, z, z, z, 7, z, z, z, 10, z, z, z, 13, z, z, z);
    const __m256i green = _mm256_setr_epi8(1, z, z, z, 4, z, z, z, 7, z, z, z, 10, z, z, z,  //
                                           5, z, z, z, 8, z, z, z, 11, z, z, z, 14, z, z, z);
    const __m256i blue = _mm256_setr_epi8(2, z, z, z, 5, z, z, z, 8, z, z, z, 11, z, z, z,  //
                                          6, z, z, z, 9, z, z, z, 12, z, z, z, 15, z, z, z);
    rgb[0] = (f32x8)_mm256_cvtepi32_ps(_mm256_shuffle_epi8(bytes, red));
    rgb[1] = (f32x8)_mm256_cvtepi32_ps(_mm256_shuffle_epi8(bytes, green));
    rgb[2] = (f32x8)_mm256_cvtepi32_ps(_mm256_shuffle_epi8(bytes, blue));
#else
    for (int c = 0; c < 3; ++c)
        for (int i = 0; i < 8; ++i) rgb[c][i] = static_cast<float>(p[3 * i + c]);
#endif
}

// Three planes of eight to eight pixels, one behind the other.
FASTWSI_INLINE void interleave8(const f32x8 (&rgb)[3], f32x8 (&pixels)[3]) {
#if defined(__AVX2__)
    const __m256 r = (__m256)rgb[0], g = (__m256)rgb[1], b = (__m256)rgb[2];
    // Of each four pixels, by number: r0 r2 g0 g2, g1 g3 b1 b3, b0 b2 r1 r3.
    const __m256 rg = _mm256_shuffle_ps(r, g, _MM_SHUFFLE(2, 0, 2, 0));
    const __m256 gb = _mm256_shuffle_ps(g, b, _MM_SHUFFLE(3, 1, 3, 1));
    const __m256 br = _mm256_shuffle_ps(b, r, _MM_SHUFFLE(3, 1, 2, 0));
    const __m256 first = _mm256_shuffle_ps(rg, br, _MM_SHUFFLE(2, 0, 2, 0));   // r0 g0 b0 r1
    const __m256 second = _mm256_shuffle_ps(gb, rg, _MM_SHUFFLE(3, 1, 2, 0));  // g1 b1 r2 g2
    const __m256 third = _mm256_shuffle_ps(br, gb, _MM_SHUFFLE(3, 1, 3, 1));   // b2 r3 g3 b3
    // Pixels 0 to 3 stand in the low lanes, 4 to 7 in the high ones.
    pixels[0] = (f32x8)_mm256_permute2f128_ps(first, second, 0x20);
    pixels[1] = (f32x8)_mm256_permute2f128_ps(third, first, 0x30);
    pixels[2] = (f32x8)_mm256_permute2f128_ps(second, third, 0x31);
#else
    float packed[24];
    for (int i = 0; i < 8; ++i)
        for (int c = 0; c < 3; ++c) packed[3 * i + c] = rgb[c][i];
    memcpy(pixels, packed, sizeof packed);
#endif
}

FASTWSI_INLINE f32x8 load8(const float* p) {
    f32x8 x;
    memcpy(&x, p, sizeof x);
    return x;
}

FASTWSI_INLINE void store8(f32x8 x, float* p) { memcpy(p, &x, sizeof x); }

FASTWSI_INLINE f32x8 load8(const BFloat16* p) {
    typedef std::uint16_t u16x8 __attribute__((vector_size(16)));
    u16x8 packed;
    memcpy(&packed, p, sizeof packed);
    return (f32x8)(__builtin_convertvector(packed, u32x8) << 16);
}

FASTWSI_INLINE void store8(f32x8 x, BFloat16* p) {
    typedef std::uint16_t u16x8 __attribute__((vector_size(16)));
    const u32x8 bits = (u32x8)x;
    const u32x8 rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    const u32x8 quiet = bits >> 16 | 0x40u;
    const u32x8 chosen = x == x ? rounded : quiet;
    const u16x8 packed = __builtin_convertvector(chosen, u16x8);
    memcpy(p, &packed, sizeof packed);
}

#if defined(__AVX2__)
FASTWSI_INLINE f32x8 load8(const Half* p) {
    return (f32x8)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
FASTWSI_INLINE void store8(f32x8 x, Half* p) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT));
}
#else
FASTWSI_INLINE f32x8 load8(const Half* p) {
    f32x8 x;
    for (int i = 0; i < 8; ++i) x[i] = to_float(p[i]);
    return x;
}
FASTWSI_INLINE void store8(f32x8 x, Half* p) {
    for (int i = 0; i < 8; ++i) from_float(x[i], p + i);
}
#endif

// 2^t for t in [-126, 126]; relative error below 2e-7 (a minimax polynomial of degree 5, 9e-8, and
// float32 rounding). Adding 1.5 * 2^23 leaves round(t) in the low
// mantissa bits, from where one shift moves it into the exponent.
FASTWSI_INLINE f32x8 exp2_8(f32x8 t) {
    const f32x8 shifted = t + 12582912.f;
    const f32x8 f = t - (shifted - 12582912.f);
    f32x8 p = splat8(0.00132647261f);
    p = p * f + 0.00967151299f;
    p = p * f + 0.0555073358f;
    p = p * f + 0.240222424f;
    p = p * f + 0.693147004f;
    p = p * f + 1.f;
    return (f32x8)((i32x8)p + ((i32x8)shifted << 23));
}

FASTWSI_INLINE f64x4 load4(const double* p) {
    f64x4 x;
    memcpy(&x, p, sizeof x);
    return x;
}

FASTWSI_INLINE void store4(f64x4 x, double* p) { memcpy(p, &x, sizeof x); }

// Four values of any type as doubles. In intrinsics, since GCC takes a conversion of vectors apart.
#if defined(__AVX2__)
FASTWSI_INLINE f64x4 load4(const float* p) { return (f64x4)_mm256_cvtps_pd(_mm_loadu_ps(p)); }
FASTWSI_INLINE f64x4 load4(const Half* p) {
    return (f64x4)_mm256_cvtps_pd(_mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
FASTWSI_INLINE f64x4 load4(const BFloat16* p) {
    const __m128i bits = _mm_cvtepu16_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    return (f64x4)_mm256_cvtps_pd(_mm_castsi128_ps(_mm_slli_epi32(bits, 16)));
}
#else
template <class T>
FASTWSI_INLINE f64x4 load4(const T* p) {
    return f64x4{to_float(p[0]), to_float(p[1]), to_float(p[2]), to_float(p[3])};
}
#endif

// Sixteen pixels of three planes, each value in [0, 255], to 48 interleaved bytes, rounded to even.
FASTWSI_INLINE void store_rgb16(const f32x8 (&rgb)[3][2], std::uint8_t* p) {
#if defined(__AVX2__)
    __m128i plane[3];
    for (int c = 0; c < 3; ++c) {
        __m256i words =
            _mm256_packs_epi32(_mm256_cvtps_epi32((__m256)rgb[c][0]), _mm256_cvtps_epi32((__m256)rgb[c][1]));
        words = _mm256_permute4x64_epi64(words, 0xD8);  // undo the pack's interleaving of lanes
        plane[c] = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    }
    const __m128i r = plane[0], g = plane[1], b = plane[2];
    constexpr char z = -128;  // a zero byte
    const auto weave = [](__m128i x, __m128i y, __m128i w, __m128i ix, __m128i iy, __m128i iw) {
        return _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(x, ix), _mm_shuffle_epi8(y, iy)),
                            _mm_shuffle_epi8(w, iw));
    };
    const __m128i first = weave(r, g, b, _mm_setr_epi8(0, z, z, 1, z, z, 2, z, z, 3, z, z, 4, z, z, 5),
                                _mm_setr_epi8(z, 0, z, z, 1, z, z, 2, z, z, 3, z, z, 4, z, z),
                                _mm_setr_epi8(z, z, 0, z, z, 1, z, z, 2, z, z, 3, z, z, 4, z));
    const __m128i second = weave(r, g, b, _mm_setr_epi8(z, z, 6, z, z, 7, z, z, 8, z, z, 9, z, z, 10, z),
                                 _mm_setr_epi8(5, z, z, 6, z, z, 7, z, z, 8, z, z, 9, z, z, 10),
                                 _mm_setr_epi8(z, 5, z, z, 6, z, z, 7, z, z, 8, z, z, 9, z, z));
    const __m128i third = weave(r, g, b, _mm_setr_epi8(z, 11, z, z, 12, z, z, 13, z, z, 14, z, z, 15, z, z),
                                _mm_setr_epi8(z, z, 11, z, z, 12, z, z, 13, z, z, 14, z, z, 15, z),
                                _mm_setr_epi8(10, z, z, 11, z, z, 12, z, z, 13, z, z, 14, z, z, 15));
    __m128i* out = reinterpret_cast<__m128i*>(p);
    _mm_storeu_si128(out, first);
    _mm_storeu_si128(out + 1, second);
    _mm_storeu_si128(out + 2, third);
#else
    // Adding 2^23 leaves the rounded value in the lowest byte.
    for (int c = 0; c < 3; ++c)
        for (int half = 0; half < 2; ++half) {
            const i32x8 bits = (i32x8)(rgb[c][half] + 8388608.f);
            for (int i = 0; i < 8; ++i) p[3 * (8 * half + i) + c] = static_cast<std::uint8_t>(bits[i]);
        }
#endif
}

}  // namespace fastwsi::FASTWSI_ISA
