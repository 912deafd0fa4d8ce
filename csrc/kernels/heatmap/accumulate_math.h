// One cell of a stitched heatmap, or a vector of them, shared by the CPU and CUDA kernels.
#pragma once

#include <cstdint>

#include "base/isa.h"

namespace fastwsi::FASTWSI_ISA {

// The nearest double to sum + value, and what that rounding left out: exact whichever is larger. Where the
// result is not finite the error is NaN, and mean_of asks for it no more.
template <class V>
FASTWSI_INLINE V two_sum(V sum, V value, V& error) {
    const V total = sum + value;
    const V part = total - sum;
    error = (sum - (total - part)) + (value - part);
    return total;
}

// NaN stays, and of two zeros the positive one does, whichever came first.
template <class V, class Mask>
FASTWSI_INLINE V greatest(V found, V value, Mask fresh) {
    const V zero = V{};
    const V kept = ((found == zero) & (value == zero)) ? found + value : found;
    return ((value > found) | (value != value) | fresh) ? value : kept;
}

template <class V>
FASTWSI_INLINE V mean_of(V sum, V error, V count) {
    // Adding +0 would take the sign of a sum of negative zeros.
    return (((error == V{}) | (sum - sum != V{})) ? sum : sum + error) / count;
}

}  // namespace fastwsi::FASTWSI_ISA
