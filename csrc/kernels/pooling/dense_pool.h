// Means over large overlapping windows, and their gradient. Sums of float64 values, none of which is ever
// taken away again: rounding stays small whatever leaves a window, and a NaN or infinity touches the windows
// that hold it and no other.
#pragma once

#include <cstdint>

#include "base/grid.h"

namespace fastwsi {

// One axis. Windows begin every `stride` positions, so an axis is cut where they begin and where they end:
// a window is `whole()` strides and the first `rest()` positions of the next one.
struct PoolAxis {
    std::int64_t large, small;            // positions before and after pooling
    std::int64_t window, stride;          // in positions before pooling
    std::int64_t large_step, small_step;  // bytes from one position to the next

    FASTWSI_HOST_DEVICE std::int64_t whole() const { return window / stride; }
    FASTWSI_HOST_DEVICE std::int64_t rest() const { return window % stride; }
    // Strides that hold a position before pooling, the last one cut off.
    FASTWSI_HOST_DEVICE std::int64_t strides() const { return (large - 1) / stride + 1; }
};

struct DensePoolArgs {
    PoolAxis y, x;
    Grid<2> planes;      // arrays 0: large, 1: small
    char* large;         // the input; its gradient, backward
    char* small;         // the output; its gradient, backward
    DType dtype;         // f16, bf16, f32 or f64, the same for both
    std::int64_t lanes;  // values that lie side by side at each position (channels last); else 1
    double* scratch;     // CUDA: memory for dense_pool_scratch() values
};

void dense_pool_cpu(const DensePoolArgs& args);
void dense_pool_backward_cpu(const DensePoolArgs& args);
void dense_pool_cuda(const DensePoolArgs& args, int device, void* stream);
void dense_pool_backward_cuda(const DensePoolArgs& args, int device, void* stream);

// Values of a plane's lane that the CUDA kernels keep between their passes. Forward: windows down the
// columns, then windows. Backward: per stride down and per column of the output one sum, or two where windows
// end within a stride; then the same across.
inline std::int64_t dense_pool_scratch(const PoolAxis& y, const PoolAxis& x, bool backward) {
    if (!backward) return y.small * (x.large + x.small);
    const std::int64_t down = y.strides() * (y.rest() > 0 ? 2 : 1);
    return down * (x.small + x.strides() * (x.rest() > 0 ? 2 : 1));
}

}  // namespace fastwsi
