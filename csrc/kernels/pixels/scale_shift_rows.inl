// Included by scale_shift_cpu.cpp and scale_shift_avx2.cpp: the same code, each with its own flags.
#include "base/simd.h"
#include "kernels/pixels/scale_shift_math.h"
#include "kernels/pixels/scale_shift_rows.h"

namespace fastwsi::FASTWSI_ISA {
namespace {

template <class T, class Wide>
FASTWSI_INLINE void strided_run(const char* x, std::int64_t x_step, char* y, std::int64_t y_step,
                                std::int64_t n, Wide scale, Wide shift) {
    for (std::int64_t i = 0; i < n; ++i) {
        T value;
        memcpy(&value, x + i * x_step, sizeof value);
        scale_shift_value(value, scale, shift, &value);
        memcpy(y + i * y_step, &value, sizeof value);
    }
}

template <class T>
FASTWSI_INLINE void run_f32(const char* x, std::int64_t x_step, char* y, std::int64_t y_step, std::int64_t n,
                            double scale, double shift) {
    constexpr std::int64_t kSize = sizeof(T);
    const float a = static_cast<float>(scale), b = static_cast<float>(shift);
    std::int64_t i = 0;
    if (x_step == kSize && y_step == kSize) {
        for (; i + 8 <= n; i += 8)
            store8(load8(reinterpret_cast<const T*>(x) + i) * a + b, reinterpret_cast<T*>(y) + i);
    }
    strided_run<T>(x + i * x_step, x_step, y + i * y_step, y_step, n - i, a, b);
}

}  // namespace

void scale_shift_f32(const char* x, std::int64_t x_step, char* y, std::int64_t y_step, std::int64_t n,
                     double scale, double shift) {
    run_f32<float>(x, x_step, y, y_step, n, scale, shift);
}

void scale_shift_f16(const char* x, std::int64_t x_step, char* y, std::int64_t y_step, std::int64_t n,
                     double scale, double shift) {
    run_f32<Half>(x, x_step, y, y_step, n, scale, shift);
}

void scale_shift_bf16(const char* x, std::int64_t x_step, char* y, std::int64_t y_step, std::int64_t n,
                      double scale, double shift) {
    run_f32<BFloat16>(x, x_step, y, y_step, n, scale, shift);
}

}  // namespace fastwsi::FASTWSI_ISA
