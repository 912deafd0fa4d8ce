// Included by hsd_moments_cpu.cpp and hsd_moments_avx2.cpp: the same code, each with its own flags.
#include "base/simd.h"
#include "kernels/hsd/density.h"
#include "kernels/hsd/hsd_moments_math.h"
#include "kernels/hsd/hsd_moments_rows.h"

namespace fastwsi::FASTWSI_ISA {
namespace {

constexpr int kLanes = 4;

struct LaneSums {
    f64x4 count, first[3], second[4];
};

FASTWSI_INLINE f64x4 densities(const std::uint8_t* p, const double* table) {
    return f64x4{table[p[0]], table[p[3]], table[p[6]], table[p[9]]};
}

FASTWSI_INLINE void add_pixels(const std::uint8_t* p, const double* table, const f64x4 (&reference)[3],
                               LaneSums& sums) {
    const f64x4 d[3] = {densities(p, table), densities(p + 1, table), densities(p + 2, table)};
    f64x4 x[3];
    hsd_coordinates<double>(d, x);
    for (int k = 0; k < 3; ++k) {
        x[k] -= reference[k];
        sums.first[k] += x[k];
    }
    sums.second[0] += x[0] * x[0];
    sums.second[1] += x[0] * x[1];
    sums.second[2] += x[1] * x[1];
    sums.second[3] += x[2] * x[2];
}

FASTWSI_INLINE void add_weighted(const std::uint8_t* p, const double* table, const f64x4 (&reference)[3],
                                 f64x4 weight, LaneSums& sums) {
    const f64x4 d[3] = {densities(p, table), densities(p + 1, table), densities(p + 2, table)};
    f64x4 x[3], weighted[3];
    hsd_coordinates<double>(d, x);
    for (int k = 0; k < 3; ++k) {
        x[k] -= reference[k];
        weighted[k] = x[k] * weight;
        sums.first[k] += weighted[k];
    }
    sums.count += weight;
    sums.second[0] += weighted[0] * x[0];
    sums.second[1] += weighted[0] * x[1];
    sums.second[2] += weighted[1] * x[1];
    sums.second[3] += weighted[2] * x[2];
}

FASTWSI_INLINE double total(f64x4 x) { return (x[0] + x[1]) + (x[2] + x[3]); }

}  // namespace

HsdSums hsd_moments_run(const std::uint8_t* in, const std::uint8_t* mask, std::int64_t n) {
    const double* table = density_tables().f64;
    // The first pixel, masked or not: the same coordinates as the loop below computes for it.
    const std::uint8_t first_pixel[3 * kLanes] = {in[0], in[1], in[2], in[0], in[1], in[2],
                                                  in[0], in[1], in[2], in[0], in[1], in[2]};
    const f64x4 d[3] = {densities(first_pixel, table), densities(first_pixel + 1, table),
                        densities(first_pixel + 2, table)};
    f64x4 reference[3];
    hsd_coordinates<double>(d, reference);

    LaneSums sums = {};
    const auto weight_of = [&](std::int64_t i) { return mask == nullptr || mask[i] != 0 ? 1.0 : 0.0; };
    std::int64_t i = 0;
    if (mask == nullptr) {
        for (; i + kLanes <= n; i += kLanes) add_pixels(in + 3 * i, table, reference, sums);
    } else {
        for (; i + kLanes <= n; i += kLanes) {
            const f64x4 weight = {weight_of(i), weight_of(i + 1), weight_of(i + 2), weight_of(i + 3)};
            add_weighted(in + 3 * i, table, reference, weight, sums);
        }
    }
    const std::int64_t whole = i;
    if (i < n) {
        // The rest beside copies of the first pixel that weigh nothing.
        std::uint8_t pixels[3 * kLanes];
        f64x4 weight = {0, 0, 0, 0};
        memcpy(pixels, first_pixel, sizeof pixels);
        memcpy(pixels, in + 3 * i, static_cast<std::size_t>(3 * (n - i)));
        for (; i < n; ++i) weight[i - whole] = weight_of(i);
        add_weighted(pixels, table, reference, weight, sums);
    }
    HsdSums result;
    result.count = total(sums.count) + (mask == nullptr ? static_cast<double>(whole) : 0.0);
    for (int k = 0; k < 3; ++k) {
        result.reference[k] = reference[k][0];
        result.first[k] = total(sums.first[k]);
    }
    for (int k = 0; k < 4; ++k) result.second[k] = total(sums.second[k]);
    return result;
}

}  // namespace fastwsi::FASTWSI_ISA
