// The mean of what a network says of the eight orientations of a picture, each taken back first.
#pragma once

#include <cstdint>

#include "base/grid.h"

namespace fastwsi {

constexpr int kOrientations = 8;
constexpr std::int64_t kOrientMeanValues = 2048;  // that one tile may hold

struct OrientMeanArgs {
    // Arrays 0 to 7: the predictions, 8: the mean; the axes that are neither the plane's nor in `values`.
    Grid<kOrientations + 1> outer;
    const char* prediction[kOrientations];  // where the mean's position (0, 0) comes from
    char* mean;
    DType dtype;                        // f16, bf16, f32 or f64, the same for all
    std::int64_t height, width;         // of the mean's plane, in positions
    std::int64_t y[kOrientations + 1];  // bytes from one of the mean's rows to the next, in each array
    std::int64_t x[kOrientations + 1];  // likewise for columns
    std::int64_t values;                // that lie side by side at a position; at most kOrientMeanValues
};

void orient_mean_cpu(const OrientMeanArgs& args);
void orient_mean_cuda(const OrientMeanArgs& args, int device, void* stream);

}  // namespace fastwsi
