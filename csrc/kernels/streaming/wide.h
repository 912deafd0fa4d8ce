// Vectors of float or double under one name each, for units that are written once for both. For per-ISA units
// alone, like base/simd.h.
#pragma once

#include "base/simd.h"

namespace fastwsi::FASTWSI_ISA {

typedef std::int64_t i64x4 __attribute__((vector_size(32)));

template <class T>
struct Wide;
template <>
struct Wide<float> {
    typedef f32x8 V;
    typedef i32x8 Mask;
    static constexpr std::int64_t kLanes = 8;
};
template <>
struct Wide<double> {
    typedef f64x4 V;
    typedef i64x4 Mask;
    static constexpr std::int64_t kLanes = 4;
};

template <class T>
FASTWSI_INLINE typename Wide<T>::V load_wide(const T* p) {
    typename Wide<T>::V x;
    memcpy(&x, p, sizeof x);
    return x;
}

template <class T>
FASTWSI_INLINE void store_wide(typename Wide<T>::V x, T* p) {
    memcpy(p, &x, sizeof x);
}

FASTWSI_INLINE f32x8 splat_wide(float x) { return splat8(x); }
FASTWSI_INLINE f64x4 splat_wide(double x) { return splat4(x); }

// Where the mask's sign is set, x, else y. Intrinsics, since the compiler compares a mask anew.
#if defined(__AVX2__)
FASTWSI_INLINE f32x8 where_sign(i32x8 mask, f32x8 x, f32x8 y) {
    return (f32x8)_mm256_blendv_ps((__m256)y, (__m256)x, (__m256)mask);
}
FASTWSI_INLINE f64x4 where_sign(i64x4 mask, f64x4 x, f64x4 y) {
    return (f64x4)_mm256_blendv_pd((__m256d)y, (__m256d)x, (__m256d)mask);
}
#else
FASTWSI_INLINE f32x8 where_sign(i32x8 mask, f32x8 x, f32x8 y) {
    return (f32x8)((mask & (i32x8)x) | (~mask & (i32x8)y));
}
FASTWSI_INLINE f64x4 where_sign(i64x4 mask, f64x4 x, f64x4 y) {
    return (f64x4)((mask & (i64x4)x) | (~mask & (i64x4)y));
}
#endif

}  // namespace fastwsi::FASTWSI_ISA
