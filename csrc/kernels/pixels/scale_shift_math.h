// One value of scale_shift, shared by the CPU and CUDA kernels.
#pragma once

#include "base/half.h"
#include "base/isa.h"

namespace fastwsi::FASTWSI_ISA {

// 16-bit types are computed in float32 and rounded once.
template <class T, class Wide>
FASTWSI_INLINE void scale_shift_value(const T& x, Wide scale, Wide shift, T* y) {
    from_float(to_float(x) * scale + shift, y);
}

}  // namespace fastwsi::FASTWSI_ISA
