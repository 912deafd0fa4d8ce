// One pixel (or one vector of pixels) of HSD normalisation, shared by the CPU and CUDA kernels.
#pragma once

#include "base/isa.h"
#include "base/quotient.h"
#include "kernels/hsd/hsd_normalize.h"

namespace fastwsi::FASTWSI_ISA {

constexpr float kLog2Of257 = 8.00562454919388f;

// d: densities in bits. log_intensity[c] = log2(I'_c + 1); the caller clamps it to [0, 8], which
// clips I' to [0, 255], and takes exp2 minus 1. V is float or a vector of floats.
template <class V>
FASTWSI_INLINE void hsd_log_intensity(const V (&d)[3], const HsdTransform& t, V (&log_intensity)[3]) {
    const V ratio = quotient(t.offset3, d[0] + d[1] + d[2]) + t.gain;
    for (int c = 0; c < 3; ++c) {
        const float* w = t.weight + 3 * c;
        log_intensity[c] = kLog2Of257 - ratio * (d[0] * w[0] + d[1] * w[1] + d[2] * w[2]);
    }
}

}  // namespace fastwsi::FASTWSI_ISA
