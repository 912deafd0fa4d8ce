// Included by hsd_normalize_cpu.cpp and hsd_normalize_avx2.cpp: the same code, each with its own flags.
#include <cstring>

#include "base/simd.h"
#include "kernels/hsd/density.h"
#include "kernels/hsd/hsd_normalize_math.h"
#include "kernels/hsd/hsd_normalize_rows.h"

namespace fastwsi::FASTWSI_ISA {
namespace {

constexpr int kBlock = 16;  // pixels per step: one 48-byte store

// Table look-ups stay scalar: on the processors measured, a vector gather took 1.5 times as long.
FASTWSI_INLINE f32x8 densities(const std::uint8_t* p, const float* table) {
    return f32x8{table[p[0]],  table[p[3]],  table[p[6]],  table[p[9]],
                 table[p[12]], table[p[15]], table[p[18]], table[p[21]]};
}

FASTWSI_INLINE void normalize_block(const std::uint8_t* p, const float* table, const HsdTransform& t,
                                    f32x8 (&intensity)[3][2]) {
    // Unrolled, so that the two halves overlap: one alone is a chain of some 90 cycles.
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half, p += 24) {
        const f32x8 d[3] = {densities(p, table), densities(p + 1, table), densities(p + 2, table)};
        f32x8 log_intensity[3];
        hsd_log_intensity(d, t, log_intensity);
        for (int c = 0; c < 3; ++c) intensity[c][half] = exp2_8(clamp8(log_intensity[c], 0.f, 8.f)) - 1.f;
    }
}

template <class T>
void normalize_planes(const std::uint8_t* in, void* const (&plane)[3], std::int64_t n,
                      const HsdTransform& transform, const HsdPlaneScale& planes) {
    const float* table = density_tables().f32;
    const HsdTransform t = transform;
    const HsdPlaneScale s = planes;
    const auto block = [&](const std::uint8_t* p, T* const(&out)[3]) {
        f32x8 intensity[3][2];
        normalize_block(p, table, t, intensity);
        for (int c = 0; c < 3; ++c)
            for (int half = 0; half < 2; ++half)
                store8(intensity[c][half] * s.scale[c] + s.shift[c], out[c] + 8 * half);
    };
    T* const out[3] = {static_cast<T*>(plane[0]), static_cast<T*>(plane[1]), static_cast<T*>(plane[2])};
    std::int64_t i = 0;
    for (; i + kBlock <= n; i += kBlock) block(in + 3 * i, {out[0] + i, out[1] + i, out[2] + i});
    if (i == n) return;
    // The rest goes through a full block beside the arrays, so that every pixel takes one code path.
    const std::size_t rest = static_cast<std::size_t>(n - i);
    std::uint8_t pixels[3 * kBlock] = {};
    T values[3][kBlock];
    memcpy(pixels, in + 3 * i, 3 * rest);
    block(pixels, {values[0], values[1], values[2]});
    for (int c = 0; c < 3; ++c) memcpy(out[c] + i, values[c], rest * sizeof(T));
}

}  // namespace

void hsd_normalize_pixels(const std::uint8_t* in, std::uint8_t* out, std::int64_t n,
                          const HsdTransform& transform) {
    const float* table = density_tables().f32;
    const HsdTransform t = transform;
    f32x8 intensity[3][2];
    std::int64_t i = 0;
    for (; i + kBlock <= n; i += kBlock) {
        normalize_block(in + 3 * i, table, t, intensity);
        store_rgb16(intensity, out + 3 * i);
    }
    if (i == n) return;
    const std::size_t rest = static_cast<std::size_t>(3 * (n - i));
    std::uint8_t pixels[3 * kBlock] = {};
    memcpy(pixels, in + 3 * i, rest);
    normalize_block(pixels, table, t, intensity);
    store_rgb16(intensity, pixels);
    memcpy(out + 3 * i, pixels, rest);
}

void hsd_normalize_planes_f32(const std::uint8_t* in, void* const (&plane)[3], std::int64_t n,
                              const HsdTransform& transform, const HsdPlaneScale& planes) {
    normalize_planes<float>(in, plane, n, transform, planes);
}

void hsd_normalize_planes_f16(const std::uint8_t* in, void* const (&plane)[3], std::int64_t n,
                              const HsdTransform& transform, const HsdPlaneScale& planes) {
    normalize_planes<Half>(in, plane, n, transform, planes);
}

void hsd_normalize_planes_bf16(const std::uint8_t* in, void* const (&plane)[3], std::int64_t n,
                               const HsdTransform& transform, const HsdPlaneScale& planes) {
    normalize_planes<BFloat16>(in, plane, n, transform, planes);
}

}  // namespace fastwsi::FASTWSI_ISA
