// Division for per-element maths: exact on the CPU, to 2 units in the last place on the GPU, where the exact
// one costs more than the rest of a short kernel. Operands stay far from the ends of float's range.
#pragma once

#include "base/isa.h"

namespace fastwsi::FASTWSI_ISA {

template <class Scalar, class V>
FASTWSI_INLINE V quotient(Scalar numerator, V denominator) {
#if defined(__CUDA_ARCH__)
    static_assert(sizeof(V) == sizeof(float), "kernels on the GPU compute in float32");
    return __fdividef(numerator, denominator);
#else
    return numerator / denominator;
#endif
}

}  // namespace fastwsi::FASTWSI_ISA
