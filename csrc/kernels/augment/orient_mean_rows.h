// Packed runs of values summed and averaged, at the instruction set of the including unit.
#pragma once

#include <cstdint>

#include "base/view.h"

namespace fastwsi {

// sums: n floats, or doubles for f64. The first prediction of a run sets them, the others are added.
using OrientMeanAdd = void(DType dtype, const char* values, void* sums, std::int64_t n, bool first);
using OrientMeanFinish = void(DType dtype, const void* sums, char* mean, std::int64_t n);

namespace baseline {
OrientMeanAdd orient_mean_add;
OrientMeanFinish orient_mean_finish;
}  // namespace baseline
namespace avx2 {
OrientMeanAdd orient_mean_add;
OrientMeanFinish orient_mean_finish;
}  // namespace avx2

}  // namespace fastwsi
