// Packed rows of cells, at the instruction set of the including unit.
#pragma once

#include <cstdint>

#include "base/view.h"

namespace fastwsi {

struct StitchRow {
    const char* tile;
    char* state;
    char* errors;  // of sums
    const std::int32_t* counts;
    std::int64_t n;
};

struct AverageRow {
    const char* state;
    const char* errors;
    const std::int32_t* counts;
    char* out;
    std::int64_t n;
    double empty;
};

using AccumulateRun = void(DType tile, DType state, bool maximum, const StitchRow& row);
using CountRun = void(std::int32_t* counts, std::int64_t n);  // one tile more
using AverageRun = void(DType state, DType out, bool maximum, const AverageRow& row);

namespace baseline {
AccumulateRun accumulate_row;
CountRun count_row;
AverageRun average_row;
}  // namespace baseline
namespace avx2 {
AccumulateRun accumulate_row;
CountRun count_row;
AverageRun average_row;
}  // namespace avx2

}  // namespace fastwsi
