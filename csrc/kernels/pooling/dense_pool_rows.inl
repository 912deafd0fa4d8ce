// Included by dense_pool_cpu.cpp and dense_pool_avx2.cpp: the same code, each with its own flags.
#include "base/simd.h"
#include "kernels/pooling/dense_pool_math.h"
#include "kernels/pooling/dense_pool_rows.h"

namespace fastwsi::FASTWSI_ISA {
namespace {

FASTWSI_INLINE f64x4 load4(const double* p) {
    f64x4 x;
    memcpy(&x, p, sizeof x);
    return x;
}

FASTWSI_INLINE void store4(f64x4 x, double* p) { memcpy(p, &x, sizeof x); }

// Eight values of any type as doubles.
template <class T>
FASTWSI_INLINE void load_wide(const T* p, f64x4& low, f64x4& high) {
    const f32x8 x = load8(p);
    low = __builtin_convertvector(__builtin_shufflevector(x, x, 0, 1, 2, 3), f64x4);
    high = __builtin_convertvector(__builtin_shufflevector(x, x, 4, 5, 6, 7), f64x4);
}

FASTWSI_INLINE void load_wide(const double* p, f64x4& low, f64x4& high) {
    low = load4(p);
    high = load4(p + 4);
}

template <class T>
FASTWSI_INLINE T value_at(const char* p) {
    T x;
    memcpy(&x, p, sizeof x);
    return x;
}

// A run of n packed values in each of Rows rows. Many rows at once spare reading and writing `sum`.
template <class T, int Rows>
FASTWSI_INLINE void sum_run(const char* x, std::int64_t row_step, std::int64_t n, double* sum, bool add) {
    std::int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        f64x4 low = {}, high = {};
        for (int r = 0; r < Rows; ++r) {
            f64x4 a, b;
            load_wide(reinterpret_cast<const T*>(x + r * row_step) + i, a, b);
            low = r == 0 ? a : low + a;
            high = r == 0 ? b : high + b;
        }
        store4(add ? load4(sum + i) + low : low, sum + i);
        store4(add ? load4(sum + i + 4) + high : high, sum + i + 4);
    }
    for (; i < n; ++i) {
        double total = widened(value_at<T>(x + i * static_cast<std::int64_t>(sizeof(T))));
        for (int r = 1; r < Rows; ++r)
            total += widened(value_at<T>(x + r * row_step + i * static_cast<std::int64_t>(sizeof(T))));
        sum[i] = add ? sum[i] + total : total;
    }
}

template <class T, int Rows>
FASTWSI_INLINE void sum_strip(const PoolRect& x, std::int64_t row, double* sum, bool add) {
    const char* const first = x.data + row * x.row_step;
    if (x.column_step == x.lanes * static_cast<std::int64_t>(sizeof(T)))
        return sum_run<T, Rows>(first, x.row_step, x.columns * x.lanes, sum, add);
    for (std::int64_t c = 0; c < x.columns; ++c)
        sum_run<T, Rows>(first + c * x.column_step, x.row_step, x.lanes, sum + c * x.lanes, add);
}

// The order in which rows are added depends on their number alone.
template <class T>
FASTWSI_INLINE void sum_rows(const PoolRect& x, double* sum, bool add) {
    std::int64_t row = 0;
    for (; row + 8 <= x.rows; row += 8) sum_strip<T, 8>(x, row, sum, add || row > 0);
    for (; row + 2 <= x.rows; row += 2) sum_strip<T, 2>(x, row, sum, add || row > 0);
    if (row < x.rows) sum_strip<T, 1>(x, row, sum, add || row > 0);
}

template <class T>
FASTWSI_INLINE void store(const double* values, std::int64_t step, double factor, const PoolRect& y) {
    for (std::int64_t c = 0; c < y.columns; ++c)
        for (std::int64_t l = 0; l < y.lanes; ++l) {
            T value;
            narrow(values[c * step + l] * factor, &value);
            memcpy(y.data + c * y.column_step + l * static_cast<std::int64_t>(sizeof(T)), &value,
                   sizeof value);
        }
}

template <class T>
FASTWSI_INLINE void spread(const double* first, const double* others, std::int64_t step, std::int64_t stride,
                           std::int64_t rest, double factor, const PoolRect& y) {
    constexpr std::int64_t kSize = sizeof(T);
    for (std::int64_t c = 0, k = 0; c < y.columns; c += stride, ++k)
        for (std::int64_t l = 0; l < y.lanes; ++l) {
            T a, b;
            narrow(first[k * step + l] * factor, &a);
            narrow(others[k * step + l] * factor, &b);
            char* to = y.data + c * y.column_step + l * kSize;
            const std::int64_t left = y.columns - c, end = left < stride ? left : stride;
            const std::int64_t cut = rest < end ? rest : end;
            for (std::int64_t i = 0; i < cut; ++i, to += y.column_step) memcpy(to, &a, sizeof a);
            for (std::int64_t i = cut; i < end; ++i, to += y.column_step) memcpy(to, &b, sizeof b);
        }
}

FASTWSI_INLINE void get(const double* p, f64x4& x) { x = load4(p); }
FASTWSI_INLINE void get(const double* p, double& x) { x = *p; }
FASTWSI_INLINE void put(f64x4 x, double* p) { store4(x, p); }
FASTWSI_INLINE void put(double x, double* p) { *p = x; }

template <class V>
FASTWSI_INLINE V got(const double* p) {
    V x;
    get(p, x);
    return x;
}

// One lane, or a vector of them.
template <class V>
FASTWSI_INLINE void cut_lanes(const PoolCut& cut, std::int64_t lane) {
    const double* x = cut.row + lane;
    const std::int64_t count = cut.wholes > cut.rests ? cut.wholes : cut.rests;
    for (std::int64_t k = 0; k < count; ++k, x += cut.stride * cut.lanes) {
        V sum{};
        if (cut.rest > 0) {
            sum = got<V>(x);
            for (std::int64_t i = 1; i < cut.rest; ++i) sum += got<V>(x + i * cut.lanes);
            if (k < cut.rests) put(sum, cut.part + k * cut.lanes + lane);
            if (k >= cut.wholes) continue;
        } else {
            sum = got<V>(x);
        }
        for (std::int64_t i = cut.rest > 0 ? cut.rest : 1; i < cut.stride; ++i)
            sum += got<V>(x + i * cut.lanes);
        put(sum, cut.whole + k * cut.lanes + lane);
    }
}

// Every window lies in one or two runs of `length` values that begin at multiples of it: the end of the one,
// the beginning of the other. Sums from each value to its run's end come first.
template <class V>
FASTWSI_INLINE void slide_lanes(const PoolSlide& slide, std::int64_t lane) {
    const std::int64_t lanes = slide.lanes, length = slide.length;
    const double* const values = slide.values + lane;
    const double* const last = slide.last != nullptr ? slide.last + lane : nullptr;
    double* const sums = slide.sums + lane;
    constexpr std::int64_t kWidth = sizeof(V) / sizeof(double);
    const auto emit = [&](std::int64_t k, V sum) {
        put(last != nullptr ? sum + got<V>(last + k * lanes) : sum, sums + k * lanes);
    };
    for (std::int64_t run = 0; run < slide.count; run += length) {
        V sum = got<V>(values + (run + length - 1) * lanes);
        for (std::int64_t i = length - 2; i >= 0; --i) {
            put(sum, slide.suffix + (i + 1) * kWidth);
            sum += got<V>(values + (run + i) * lanes);
        }
        emit(run, sum);
        const std::int64_t left = slide.count - run, end = left < length ? left : length;
        if (end < 2) continue;
        sum = got<V>(values + (run + length) * lanes);
        for (std::int64_t i = 1;; ++i) {
            emit(run + i, got<V>(slide.suffix + i * kWidth) + sum);
            if (i + 1 == end) break;
            sum += got<V>(values + (run + length + i) * lanes);
        }
    }
}

template <class Body4, class Body1>
FASTWSI_INLINE void for_lanes(std::int64_t lanes, const Body4& four, const Body1& one) {
    std::int64_t lane = 0;
    for (; lane + 4 <= lanes; lane += 4) four(lane);
    for (; lane < lanes; ++lane) one(lane);
}

}  // namespace

void pool_add(double* a, const double* b, std::int64_t n) {
    std::int64_t i = 0;
    for (; i + 4 <= n; i += 4) store4(load4(a + i) + load4(b + i), a + i);
    for (; i < n; ++i) a[i] += b[i];
}

void pool_advance(double* prefix, const double* row, const double* suffix, double* sum, std::int64_t n) {
    std::int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const f64x4 x = load4(prefix + i) + load4(row + i);
        store4(x, prefix + i);
        store4(load4(suffix + i) + x, sum + i);
    }
    for (; i < n; ++i) {
        prefix[i] += row[i];
        sum[i] = suffix[i] + prefix[i];
    }
}

void pool_weave(const double* rows, std::int64_t n, double* woven) {
    std::int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const f64x4 a = load4(rows + i), b = load4(rows + n + i);
        const f64x4 c = load4(rows + 2 * n + i), d = load4(rows + 3 * n + i);
        const f64x4 ab0 = __builtin_shufflevector(a, b, 0, 4, 2, 6);
        const f64x4 ab1 = __builtin_shufflevector(a, b, 1, 5, 3, 7);
        const f64x4 cd0 = __builtin_shufflevector(c, d, 0, 4, 2, 6);
        const f64x4 cd1 = __builtin_shufflevector(c, d, 1, 5, 3, 7);
        store4(__builtin_shufflevector(ab0, cd0, 0, 1, 4, 5), woven + 4 * i);
        store4(__builtin_shufflevector(ab1, cd1, 0, 1, 4, 5), woven + 4 * i + 4);
        store4(__builtin_shufflevector(ab0, cd0, 2, 3, 6, 7), woven + 4 * i + 8);
        store4(__builtin_shufflevector(ab1, cd1, 2, 3, 6, 7), woven + 4 * i + 12);
    }
    for (; i < n; ++i)
        for (int j = 0; j < 4; ++j) woven[4 * i + j] = rows[j * n + i];
}

void pool_cut(const PoolCut& cut) {
    for_lanes(
        cut.lanes, [&](std::int64_t lane) { cut_lanes<f64x4>(cut, lane); },
        [&](std::int64_t lane) { cut_lanes<double>(cut, lane); });
}

void pool_slide(const PoolSlide& slide) {
    for_lanes(
        slide.lanes, [&](std::int64_t lane) { slide_lanes<f64x4>(slide, lane); },
        [&](std::int64_t lane) { slide_lanes<double>(slide, lane); });
}

#define FASTWSI_POOL_TYPE(name, T)                                                                      \
    void pool_sum_rows_##name(const PoolRect& x, double* sum, bool add) { sum_rows<T>(x, sum, add); }   \
    void pool_store_##name(const double* values, std::int64_t step, double factor, const PoolRect& y) { \
        store<T>(values, step, factor, y);                                                              \
    }                                                                                                   \
    void pool_spread_##name(const double* first, const double* others, std::int64_t step,               \
                            std::int64_t stride, std::int64_t rest, double factor, const PoolRect& y) { \
        spread<T>(first, others, step, stride, rest, factor, y);                                        \
    }
FASTWSI_POOL_TYPE(f16, Half)
FASTWSI_POOL_TYPE(bf16, BFloat16)
FASTWSI_POOL_TYPE(f32, float)

}  // namespace fastwsi::FASTWSI_ISA
