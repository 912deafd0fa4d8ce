// Runs of one channel through scale_shift, at the instruction set of the including unit.
#pragma once

#include <cstdint>

#include "base/half.h"

namespace fastwsi {

// x and y: n elements of the run's type, `step` bytes apart in each.
using ScaleShiftRun = void(const char* x, std::int64_t x_step, char* y, std::int64_t y_step, std::int64_t n,
                           double scale, double shift);

namespace baseline {
ScaleShiftRun scale_shift_f16, scale_shift_bf16, scale_shift_f32, scale_shift_f64;
}
namespace avx2 {
ScaleShiftRun scale_shift_f16, scale_shift_bf16, scale_shift_f32;
}

}  // namespace fastwsi
