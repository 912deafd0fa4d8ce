// Included by accumulate_cpu.cpp and accumulate_avx2.cpp: the same code, each with its own flags.
#include "base/simd.h"
#include "kernels/heatmap/accumulate_math.h"
#include "kernels/heatmap/accumulate_rows.h"

namespace fastwsi::FASTWSI_ISA {
namespace {

typedef float f32x4 __attribute__((vector_size(16)));
typedef std::int32_t i32x4 __attribute__((vector_size(16)));
typedef std::int64_t i64x4 __attribute__((vector_size(32)));

template <class V>
FASTWSI_INLINE V load_as(const void* p) {
    V x;
    memcpy(&x, p, sizeof x);
    return x;
}

FASTWSI_INLINE i64x4 are_zero(const std::int32_t* counts) {
    return __builtin_convertvector(load_as<i32x4>(counts) == i32x4{}, i64x4);
}

FASTWSI_INLINE bool any_set(i64x4 mask) {
#if defined(__AVX2__)
    return _mm256_movemask_pd((__m256d)mask) != 0;
#else
    return (mask[0] | mask[1] | mask[2] | mask[3]) != 0;
#endif
}

template <class T>
FASTWSI_INLINE void add_row(const StitchRow& row) {
    const T* const tile = reinterpret_cast<const T*>(row.tile);
    double* const sums = reinterpret_cast<double*>(row.state);
    double* const errors = reinterpret_cast<double*>(row.errors);
    std::int64_t i = 0;
    for (; i + 8 <= row.n; i += 8) {
        f64x4 lost[2];
        for (int h = 0; h < 2; ++h) {
            double* const at = sums + i + 4 * h;
            const f64x4 values = load4(tile + i + 4 * h), total = two_sum(load4(at), values, lost[h]);
            // The first value replaces 0 rather than being added to it: -0 stays what it is.
            store4(are_zero(row.counts + i + 4 * h) ? values : total, at);
        }
        // Sums of like numbers lose nothing, and then this half of the state is not even read.
        if (!any_set((lost[0] != f64x4{}) | (lost[1] != f64x4{}))) continue;
        for (int h = 0; h < 2; ++h) {
            double* const at = errors + i + 4 * h;
            store4(load4(at) + lost[h], at);
        }
    }
    for (; i < row.n; ++i) {
        const double value = to_float(tile[i]);
        double lost;
        const double total = two_sum(sums[i], value, lost);
        sums[i] = row.counts[i] == 0 ? value : total;
        if (lost != 0.) errors[i] += lost;
    }
}

template <class T>
FASTWSI_INLINE void max_row_f64(const StitchRow& row) {
    const T* const tile = reinterpret_cast<const T*>(row.tile);
    double* const found = reinterpret_cast<double*>(row.state);
    std::int64_t i = 0;
    for (; i + 4 <= row.n; i += 4)
        store4(greatest(load4(found + i), load4(tile + i), are_zero(row.counts + i)), found + i);
    for (; i < row.n; ++i)
        found[i] = greatest(found[i], static_cast<double>(to_float(tile[i])), row.counts[i] == 0);
}

FASTWSI_INLINE f32x8 load_narrow(const double* p) {
    f32x8 x;
    for (int h = 0; h < 2; ++h) {
        const f32x4 half = __builtin_convertvector(load4(p + 4 * h), f32x4);
        memcpy(reinterpret_cast<char*>(&x) + h * sizeof half, &half, sizeof half);
    }
    return x;
}
template <class T>
FASTWSI_INLINE f32x8 load_narrow(const T* p) {
    return load8(p);
}

template <class T>
FASTWSI_INLINE void max_row_f32(const StitchRow& row) {
    const T* const tile = reinterpret_cast<const T*>(row.tile);
    float* const found = reinterpret_cast<float*>(row.state);
    std::int64_t i = 0;
    for (; i + 8 <= row.n; i += 8)
        store8(greatest(load8(found + i), load_narrow(tile + i), load_as<i32x8>(row.counts + i) == i32x8{}),
               found + i);
    for (; i < row.n; ++i)
        found[i] = greatest(found[i], static_cast<float>(to_float(tile[i])), row.counts[i] == 0);
}

template <class T>
FASTWSI_INLINE void any_row(DType state, bool maximum, const StitchRow& row) {
    if (!maximum) return add_row<T>(row);
    if (state == DType::f64) return max_row_f64<T>(row);
    max_row_f32<T>(row);
}

// Cut to float32's digits, with the last of them set where anything was left out: one more rounding, to 16
// bits, then gives what a single one would.
FASTWSI_INLINE f64x4 cut_to_odd(f64x4 x) {
    const i64x4 bits = (i64x4)x, rest = bits & 0x1fffffff;
    return (f64x4)((bits ^ rest) | ((rest != i64x4{}) & 0x20000000));
}

FASTWSI_INLINE f32x4 rounded(f64x4 x, const float*) { return __builtin_convertvector(x, f32x4); }
FASTWSI_INLINE f32x4 rounded(f64x4 x, const Half*) { return __builtin_convertvector(cut_to_odd(x), f32x4); }

// Eight cells.
template <class State, class Out, bool kMaximum>
FASTWSI_INLINE void average8(const State* state, const double* errors, const std::int32_t* counts,
                             double empty, Out* out) {
    f32x4 results[2];
    for (int h = 0; h < 2; ++h) {
        const i32x4 count = load_as<i32x4>(counts + 4 * h);
        f64x4 value = load4(state + 4 * h);
        if constexpr (!kMaximum)
            value = mean_of(value, load4(errors + 4 * h), __builtin_convertvector(count, f64x4));
        value = value == value ? value : splat4(__builtin_nan(""));  // the same one in any order of tiles
        value = are_zero(counts + 4 * h) ? splat4(empty) : value;
        results[h] = rounded(value, out);
    }
    f32x8 all;
    memcpy(&all, results, sizeof all);
    store8(all, out);
}

template <class State, class Out, bool kMaximum>
FASTWSI_INLINE void average_run(const AverageRow& row) {
    const State* const state = reinterpret_cast<const State*>(row.state);
    const double* const errors = reinterpret_cast<const double*>(row.errors);
    Out* const out = reinterpret_cast<Out*>(row.out);
    std::int64_t i = 0;
    for (; i + 8 <= row.n; i += 8)
        average8<State, Out, kMaximum>(state + i, errors + i, row.counts + i, row.empty, out + i);
    if (i == row.n) return;
    State last[8] = {};
    double last_errors[8] = {};
    std::int32_t last_counts[8] = {};
    Out results[8];
    const auto rest = static_cast<unsigned long>(row.n - i);
    memcpy(last, state + i, rest * sizeof(State));
    if (!kMaximum) memcpy(last_errors, errors + i, rest * sizeof(double));
    memcpy(last_counts, row.counts + i, rest * sizeof(std::int32_t));
    average8<State, Out, kMaximum>(last, last_errors, last_counts, row.empty, results);
    memcpy(out + i, results, rest * sizeof(Out));
}

template <class Out>
FASTWSI_INLINE void average_to(DType state, bool maximum, const AverageRow& row) {
    if (!maximum) return average_run<double, Out, false>(row);
    if (state == DType::f64) return average_run<double, Out, true>(row);
    average_run<float, Out, true>(row);
}

}  // namespace

void accumulate_row(DType tile, DType state, bool maximum, const StitchRow& row) {
    switch (tile) {
        case DType::f16: return any_row<Half>(state, maximum, row);
        case DType::bf16: return any_row<BFloat16>(state, maximum, row);
        case DType::f64: return any_row<double>(state, maximum, row);
        default: return any_row<float>(state, maximum, row);
    }
}

void count_row(std::int32_t* counts, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) ++counts[i];
}

void average_row(DType state, DType out, bool maximum, const AverageRow& row) {
    if (out == DType::f16) return average_to<Half>(state, maximum, row);
    average_to<float>(state, maximum, row);
}

}  // namespace fastwsi::FASTWSI_ISA
