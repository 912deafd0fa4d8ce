// One value of orient_mean, shared by the CPU and CUDA kernels.
#pragma once

#include "base/half.h"
#include "base/isa.h"

namespace fastwsi::FASTWSI_ISA {

// The sum of eight, in float32 or float64, to their mean: an exact step before the one rounding.
template <class T, class Wide>
FASTWSI_INLINE void orient_mean_value(Wide sum, T* mean) {
    from_float(sum * Wide{0.125}, mean);
}

}  // namespace fastwsi::FASTWSI_ISA
