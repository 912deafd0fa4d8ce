// The words that per-element maths needs beside + - * /, for one float as for a vector of them: what is
// written once in a `*_math.h` serves the CPU's vectors and the GPU's threads.
#pragma once

#include <cstdint>

#include "base/isa.h"
#include "base/quotient.h"

#if !defined(__CUDACC__)
#include "base/simd.h"
#else

namespace fastwsi::FASTWSI_ISA {

FASTWSI_INLINE float larger(float x, float y) { return x > y ? x : y; }
FASTWSI_INLINE float smaller(float x, float y) { return x < y ? x : y; }
FASTWSI_INLINE float magnitude(float x) { return x < 0.f ? -x : x; }
FASTWSI_INLINE float choose(bool condition, float x, float y) { return condition ? x : y; }
FASTWSI_INLINE bool any(bool condition) { return condition; }

}  // namespace fastwsi::FASTWSI_ISA

#endif

namespace fastwsi::FASTWSI_ISA {

template <class V>
FASTWSI_INLINE V lane(float x) {
    return V{} + x;
}

}  // namespace fastwsi::FASTWSI_ISA
