// Rows of dense pooling, at the instruction set of the including unit. A row is `columns` positions of
// `lanes` float64 values each.
#pragma once

#include <cstdint>

#include "base/half.h"

namespace fastwsi {

// A rectangle of an array of 16- or 32-bit floats or of doubles; steps in bytes, lanes packed.
struct PoolRect {
    char* data;
    std::int64_t row_step, rows;
    std::int64_t column_step, columns, lanes;
};

// sum = the rectangle's rows added up, or sum += them.
using PoolSumRows = void(const PoolRect& x, double* sum, bool add);
// y = values * factor: a row of several lanes, or up to four rows of one, woven.
using PoolStore = void(const double* values, double factor, const PoolRect& y);
// One row with every value (`step` values from one to the next) repeated `stride` times, from `first` for the
// first `rest` of them.
using PoolSpread = void(const double* first, const double* others, std::int64_t step, std::int64_t stride,
                        std::int64_t rest, double factor, const PoolRect& y);
// a += b, n values.
using PoolAdd = void(double* a, const double* b, std::int64_t n);
// prefix += row; sum = prefix + suffix, n values.
using PoolAdvance = void(double* prefix, const double* row, const double* suffix, double* sum,
                         std::int64_t n);
// woven[i][j] = rows[j][i] for n columns of four rows that lie one behind the other.
using PoolWeave = void(const double* rows, std::int64_t n, double* woven);

// Cuts a row into strides: their sums, `wholes` of them, and the sums of their first `rest` columns, `rests`
// of them (rest = 0: none).
struct PoolCut {
    const double* row;
    std::int64_t lanes, stride, rest;
    double* whole;
    std::int64_t wholes;
    double* part;
    std::int64_t rests;
};
using PoolCutRow = void(const PoolCut& cut);

// sums[k] = values[k] + ... + values[k + length - 1] (+ last[k] unless null), for k < count; each position
// has `lanes` values. `suffix`: scratch for length * 4 values.
struct PoolSlide {
    const double* values;
    const double* last;
    std::int64_t lanes, length, count;
    double* suffix;
    double* sums;
};
using PoolSlideRow = void(const PoolSlide& slide);

#define FASTWSI_POOL_ROWS                                                 \
    PoolSumRows pool_sum_rows_f16, pool_sum_rows_bf16, pool_sum_rows_f32; \
    PoolStore pool_store_f16, pool_store_bf16, pool_store_f32;            \
    PoolSpread pool_spread_f16, pool_spread_bf16, pool_spread_f32;        \
    PoolAdd pool_add;                                                     \
    PoolAdvance pool_advance;                                             \
    PoolWeave pool_weave;                                                 \
    PoolCutRow pool_cut;                                                  \
    PoolSlideRow pool_slide;

namespace baseline {
FASTWSI_POOL_ROWS
PoolSumRows pool_sum_rows_f64;
PoolStore pool_store_f64;
PoolSpread pool_spread_f64;
}  // namespace baseline
namespace avx2 {
FASTWSI_POOL_ROWS
}
#undef FASTWSI_POOL_ROWS

}  // namespace fastwsi
