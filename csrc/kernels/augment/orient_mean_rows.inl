// Included by orient_mean_cpu.cpp and orient_mean_avx2.cpp: the same code, each with its own flags.
#include "base/simd.h"
#include "kernels/augment/orient_mean_math.h"
#include "kernels/augment/orient_mean_rows.h"

namespace fastwsi::FASTWSI_ISA {
namespace {

template <class T, class Wide>
FASTWSI_INLINE void add_rest(const char* values, Wide* sums, std::int64_t i, std::int64_t n, bool first) {
    for (; i < n; ++i) {
        T value;
        memcpy(&value, values + i * static_cast<std::int64_t>(sizeof value), sizeof value);
        sums[i] = first ? to_float(value) : sums[i] + to_float(value);
    }
}

template <class T>
FASTWSI_INLINE void add_run(const char* values, float* sums, std::int64_t n, bool first) {
    const T* const x = reinterpret_cast<const T*>(values);
    std::int64_t i = 0;
    if (first) {
        for (; i + 8 <= n; i += 8) store8(load8(x + i), sums + i);
    } else {
        for (; i + 8 <= n; i += 8) store8(load8(sums + i) + load8(x + i), sums + i);
    }
    add_rest<T>(values, sums, i, n, first);
}

template <class T, class Wide>
FASTWSI_INLINE void finish_rest(const Wide* sums, char* mean, std::int64_t i, std::int64_t n) {
    for (; i < n; ++i) {
        T value;
        orient_mean_value(sums[i], &value);
        memcpy(mean + i * static_cast<std::int64_t>(sizeof value), &value, sizeof value);
    }
}

template <class T>
FASTWSI_INLINE void finish_run(const float* sums, char* mean, std::int64_t n) {
    std::int64_t i = 0;
    for (; i + 8 <= n; i += 8) store8(load8(sums + i) * 0.125f, reinterpret_cast<T*>(mean) + i);
    finish_rest<T>(sums, mean, i, n);
}

}  // namespace

void orient_mean_add(DType dtype, const char* values, void* sums, std::int64_t n, bool first) {
    switch (dtype) {
        case DType::f16: return add_run<Half>(values, static_cast<float*>(sums), n, first);
        case DType::bf16: return add_run<BFloat16>(values, static_cast<float*>(sums), n, first);
        case DType::f64: return add_rest<double>(values, static_cast<double*>(sums), 0, n, first);
        default: return add_run<float>(values, static_cast<float*>(sums), n, first);
    }
}

void orient_mean_finish(DType dtype, const void* sums, char* mean, std::int64_t n) {
    const float* const floats = static_cast<const float*>(sums);
    switch (dtype) {
        case DType::f16: return finish_run<Half>(floats, mean, n);
        case DType::bf16: return finish_run<BFloat16>(floats, mean, n);
        case DType::f64: return finish_rest<double>(static_cast<const double*>(sums), mean, 0, n);
        default: return finish_run<float>(floats, mean, n);
    }
}

}  // namespace fastwsi::FASTWSI_ISA
