// One pixel (or one vector of pixels) of the HSD coordinates, shared by the CPU and CUDA kernels.
#pragma once

#include "base/isa.h"
#include "base/quotient.h"

namespace fastwsi::FASTWSI_ISA {

// d: densities of red, green and blue; x: c_x, c_y and their mean density. V is Scalar or a vector of it.
template <class Scalar, class V>
FASTWSI_INLINE void hsd_coordinates(const V (&d)[3], V (&x)[3]) {
    constexpr Scalar one = 1, one_third = static_cast<Scalar>(1.0 / 3.0);
    constexpr Scalar one_over_sqrt3 = static_cast<Scalar>(0.57735026918962576451);
    const V mean = (d[0] + d[1] + d[2]) * one_third;
    const V inverse = quotient(one, mean);
    x[0] = d[0] * inverse - one;
    x[1] = (d[1] - d[2]) * (inverse * one_over_sqrt3);
    x[2] = mean;
}

}  // namespace fastwsi::FASTWSI_ISA
