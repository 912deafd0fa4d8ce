// Values on their way into float64 sums and out of them, shared by the CPU and CUDA kernels.
#pragma once

#include "base/half.h"
#include "base/isa.h"

namespace fastwsi::FASTWSI_ISA {

template <class T>
FASTWSI_INLINE double widened(const T& x) {
    return to_float(x);
}

template <class T>
FASTWSI_INLINE void narrow(double x, T* y) {
    from_float(static_cast<float>(x), y);
}

FASTWSI_INLINE void narrow(double x, double* y) { *y = x; }

}  // namespace fastwsi::FASTWSI_ISA
