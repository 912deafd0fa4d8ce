// Included by dense_pool_cpu.cpp and dense_pool_avx2.cpp: the same code, each with its own flags.
#include "base/simd.h"
#include "kernels/pooling/dense_pool_math.h"
#include "kernels/pooling/dense_pool_rows.h"

namespace fastwsi::FASTWSI_ISA {
namespace {

template <class T>
FASTWSI_INLINE T value_at(const char* p) {
    T x;
    memcpy(&x, p, sizeof x);
    return x;
}

template <class T>
FASTWSI_INLINE void put_narrow(double x, char* p) {
    T value;
    narrow(x, &value);
    memcpy(p, &value, sizeof value);
}

// A run of n packed values in each of Rows rows. Many rows at once spare reading and writing `sum`.
template <class T, int Rows>
FASTWSI_INLINE void sum_run(const char* x, std::int64_t row_step, std::int64_t n, double* sum, bool add) {
    constexpr std::int64_t kLine = 64 / sizeof(T);
    std::int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        // Rows are short streams: the processor sees each one too late. The next rows come Rows further on.
        if (Rows == 8 && i % kLine == 0)
            for (int r = 8; r < 16; ++r)
                __builtin_prefetch(reinterpret_cast<const T*>(x + r * row_step) + i, 0, 2);
        f64x4 low = {}, high = {};
        for (int r = 0; r < Rows; ++r) {
            const T* const row = reinterpret_cast<const T*>(x + r * row_step) + i;
            const f64x4 a = load4(row), b = load4(row + 4);
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

FASTWSI_INLINE void transpose4(f64x4 (&x)[4]) {
    const f64x4 ab0 = __builtin_shufflevector(x[0], x[1], 0, 4, 2, 6);
    const f64x4 ab1 = __builtin_shufflevector(x[0], x[1], 1, 5, 3, 7);
    const f64x4 cd0 = __builtin_shufflevector(x[2], x[3], 0, 4, 2, 6);
    const f64x4 cd1 = __builtin_shufflevector(x[2], x[3], 1, 5, 3, 7);
    x[0] = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
    x[1] = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
    x[2] = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
    x[3] = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
}

template <class T>
FASTWSI_INLINE void store_narrow(f64x4 x, T* p) {
    for (int i = 0; i < 4; ++i) put_narrow<T>(x[i], reinterpret_cast<char*>(p + i));
}
#if defined(__AVX2__)
FASTWSI_INLINE void store_narrow(f64x4 x, float* p) { _mm_storeu_ps(p, _mm256_cvtpd_ps((__m256d)x)); }
FASTWSI_INLINE void store_narrow(f64x4 x, Half* p) {
    const __m128i packed = _mm_cvtps_ph(_mm256_cvtpd_ps((__m256d)x), _MM_FROUND_TO_NEAREST_INT);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), packed);
}
#endif

template <class T>
FASTWSI_INLINE void store_lanes(const double* values, double factor, std::int64_t lanes, char* to) {
    std::int64_t l = 0;
    for (; l + 4 <= lanes; l += 4) store_narrow(load4(values + l) * factor, reinterpret_cast<T*>(to) + l);
    for (; l < lanes; ++l) put_narrow<T>(values[l] * factor, to + l * static_cast<std::int64_t>(sizeof(T)));
}

// Four rows woven into one of four lanes, back into four packed rows: the columns before the one returned.
template <class T>
FASTWSI_INLINE std::int64_t store_woven(const double* values, double factor, const PoolRect& y) {
    std::int64_t c = 0;
    for (; c + 4 <= y.columns; c += 4) {
        f64x4 x[4];
        for (int j = 0; j < 4; ++j) x[j] = load4(values + 4 * (c + j)) * factor;
        transpose4(x);
        for (int j = 0; j < 4; ++j) store_narrow(x[j], reinterpret_cast<T*>(y.data + j * y.row_step) + c);
    }
    return c;
}

template <class T>
FASTWSI_INLINE void store(const double* values, double factor, const PoolRect& y) {
    constexpr std::int64_t kSize = sizeof(T);
    std::int64_t c = 0;
    if (y.lanes > 1) {
        for (; c < y.columns; ++c)
            store_lanes<T>(values + c * y.lanes, factor, y.lanes, y.data + c * y.column_step);
        return;
    }
    if (y.rows == 4 && y.column_step == kSize) c = store_woven<T>(values, factor, y);
    for (; c < y.columns; ++c)
        for (std::int64_t r = 0; r < y.rows; ++r)
            put_narrow<T>(values[4 * c + r] * factor, y.data + r * y.row_step + c * y.column_step);
}

// n copies of a value, packed.
template <class T>
FASTWSI_INLINE void repeat(double x, std::int64_t n, char* to) {
    constexpr std::int64_t kSize = sizeof(T);
    T four[4];
    for (int i = 0; i < 4; ++i) narrow(x, four + i);
    std::int64_t i = 0;
    for (; i + 4 <= n; i += 4) memcpy(to + i * kSize, four, sizeof four);
    for (; i < n; ++i) memcpy(to + i * kSize, four, sizeof four[0]);
}

template <class T>
FASTWSI_INLINE void spread_packed(const double* first, const double* others, std::int64_t step,
                                  std::int64_t stride, std::int64_t rest, double factor, const PoolRect& y) {
    constexpr std::int64_t kSize = sizeof(T);
    char* to = y.data;
    for (std::int64_t left = y.columns, k = 0; left > 0; left -= stride, ++k) {
        const std::int64_t end = left < stride ? left : stride, cut = rest < end ? rest : end;
        if (cut > 0) repeat<T>(first[k * step] * factor, cut, to);
        repeat<T>(others[k * step] * factor, end - cut, to + cut * kSize);
        to += end * kSize;
    }
}

template <class T>
FASTWSI_INLINE void spread(const double* first, const double* others, std::int64_t step, std::int64_t stride,
                           std::int64_t rest, double factor, const PoolRect& y) {
    if (y.lanes == 1 && y.column_step == sizeof(T))
        return spread_packed<T>(first, others, step, stride, rest, factor, y);
    char* to = y.data;
    for (std::int64_t c = 0, k = 0; c < y.columns; c += stride, ++k) {
        const std::int64_t left = y.columns - c, end = left < stride ? left : stride;
        const std::int64_t cut = rest < end ? rest : end;
        for (std::int64_t i = 0; i < end; ++i, to += y.column_step) {
            if (y.lanes > 1 && i != 0 && i != cut) {  // as the column before
                memcpy(to, to - y.column_step, static_cast<std::size_t>(y.lanes) * sizeof(T));
                continue;
            }
            const double* const from = (i < cut ? first : others) + k * step;
            store_lanes<T>(from, factor, y.lanes, to);
        }
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
    const auto sum_of = [&](const double* x, std::int64_t count) {  // in the order of four_sums
        V total{};
        std::int64_t i = 0;
        if (count >= 4) {
            V sums[4];
            for (int j = 0; j < 4; ++j) sums[j] = got<V>(x + j * cut.lanes);
            for (i = 4; i + 4 <= count; i += 4)
                for (int j = 0; j < 4; ++j) sums[j] += got<V>(x + (i + j) * cut.lanes);
            total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        }
        for (; i < count; ++i) total += got<V>(x + i * cut.lanes);
        return total;
    };
    const double* x = cut.row + lane;
    const std::int64_t count = cut.wholes > cut.rests ? cut.wholes : cut.rests;
    for (std::int64_t k = 0; k < count; ++k, x += cut.stride * cut.lanes) {
        V sum{};
        if (cut.rest > 0) {
            sum = sum_of(x, cut.rest);
            if (k < cut.rests) put(sum, cut.part + k * cut.lanes + lane);
        }
        if (k >= cut.wholes) continue;
        const V others = sum_of(x + cut.rest * cut.lanes, cut.stride - cut.rest);
        put(sum + others, cut.whole + k * cut.lanes + lane);
    }
}

// The sums of `count` columns from p, p + step, p + 2 step and p + 3 step.
FASTWSI_INLINE f64x4 four_sums(const double* p, std::int64_t step, std::int64_t count) {
    f64x4 total = {};
    std::int64_t i = 0;
    if (count >= 4) {
        f64x4 x[4];
        for (int j = 0; j < 4; ++j) x[j] = load4(p + j * step);
        for (i = 4; i + 4 <= count; i += 4)
            for (int j = 0; j < 4; ++j) x[j] += load4(p + j * step + i);
        transpose4(x);
        total = (x[0] + x[1]) + (x[2] + x[3]);
    }
    for (; i < count; ++i) total += f64x4{p[i], p[step + i], p[2 * step + i], p[3 * step + i]};
    return total;
}

// A single lane: four strides at a time.
FASTWSI_INLINE void cut_single(const PoolCut& cut) {
    const std::int64_t count = cut.wholes > cut.rests ? cut.wholes : cut.rests;
    for (std::int64_t k = 0; k < count; k += 4) {
        const double* const x = cut.row + k * cut.stride;
        f64x4 part = {}, whole;
        if (cut.rest > 0) {
            part = four_sums(x, cut.stride, cut.rest);
            store4(part, cut.part + k);
        }
        if (k >= cut.wholes) continue;
        if (cut.stride == 2 && cut.rest == 0) {
            const f64x4 a = load4(x), b = load4(x + 4);
            whole =
                part + __builtin_shufflevector(a, b, 0, 2, 4, 6) + __builtin_shufflevector(a, b, 1, 3, 5, 7);
        } else {
            whole = part + four_sums(x + cut.rest, cut.stride, cut.stride - cut.rest);
        }
        store4(whole, cut.whole + k);
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
        f64x4 x[4] = {load4(rows + i), load4(rows + n + i), load4(rows + 2 * n + i), load4(rows + 3 * n + i)};
        transpose4(x);
        for (int j = 0; j < 4; ++j) store4(x[j], woven + 4 * (i + j));
    }
    for (; i < n; ++i)
        for (int j = 0; j < 4; ++j) woven[4 * i + j] = rows[j * n + i];
}

void pool_cut(const PoolCut& cut) {
    if (cut.lanes == 1) return cut_single(cut);
    std::int64_t lane = 0;
    for (; lane + 4 <= cut.lanes; lane += 4) cut_lanes<f64x4>(cut, lane);
    for (; lane < cut.lanes; ++lane) cut_lanes<double>(cut, lane);
}

void pool_slide(const PoolSlide& slide) {
    std::int64_t lane = 0;
    for (; lane + 4 <= slide.lanes; lane += 4) slide_lanes<f64x4>(slide, lane);
    for (; lane < slide.lanes; ++lane) slide_lanes<double>(slide, lane);
}

#define FASTWSI_POOL_TYPE(name, T)                                                                      \
    void pool_sum_rows_##name(const PoolRect& x, double* sum, bool add) { sum_rows<T>(x, sum, add); }   \
    void pool_store_##name(const double* values, double factor, const PoolRect& y) {                    \
        store<T>(values, factor, y);                                                                    \
    }                                                                                                   \
    void pool_spread_##name(const double* first, const double* others, std::int64_t step,               \
                            std::int64_t stride, std::int64_t rest, double factor, const PoolRect& y) { \
        spread<T>(first, others, step, stride, rest, factor, y);                                        \
    }
FASTWSI_POOL_TYPE(f16, Half)
FASTWSI_POOL_TYPE(bf16, BFloat16)
FASTWSI_POOL_TYPE(f32, float)
#undef FASTWSI_POOL_TYPE

}  // namespace fastwsi::FASTWSI_ISA
