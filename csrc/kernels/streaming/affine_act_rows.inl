// Included by affine_act.cpp and affine_act_avx2.cpp: the same code, each with its own flags. The build keeps
// the compiler from contracting x * scale + shift by itself in both.
#include "kernels/streaming/affine_act_rows.h"
#include "kernels/streaming/wide.h"

namespace fastwsi::FASTWSI_ISA {
namespace {

#if defined(__FMA__) && defined(__AVX2__)
FASTWSI_INLINE f32x8 fused(f32x8 x, f32x8 a, f32x8 b) {
    return (f32x8)_mm256_fmadd_ps((__m256)x, (__m256)a, (__m256)b);
}
FASTWSI_INLINE f64x4 fused(f64x4 x, f64x4 a, f64x4 b) {
    return (f64x4)_mm256_fmadd_pd((__m256d)x, (__m256d)a, (__m256d)b);
}
#else
// Without the instruction the library computes it: right, and slow. Only torch on a processor that has the
// instruction contracts, and there the wide unit is chosen.
FASTWSI_INLINE f32x8 fused(f32x8 x, f32x8 a, f32x8 b) {
    for (int i = 0; i < 8; ++i) x[i] = __builtin_fmaf(x[i], a[i], b[i]);
    return x;
}
FASTWSI_INLINE f64x4 fused(f64x4 x, f64x4 a, f64x4 b) {
    for (int i = 0; i < 4; ++i) x[i] = __builtin_fma(x[i], a[i], b[i]);
    return x;
}
#endif

template <bool kResidual, bool kLeaky, bool kContract, class T>
FASTWSI_INLINE void affine_loop(const AffineRun<T>& run) {
    typedef typename Wide<T>::V V;
    constexpr std::int64_t kLanes = Wide<T>::kLanes;
    const V low = splat_wide(run.low), high = splat_wide(run.high), slope = splat_wide(run.slope);
    const auto step = [&](const T* x, const T* residual, std::int64_t at, T* out) {
        const V a = load_wide(run.scale + at), b = load_wide(run.shift + at);
        V v = load_wide(x);
        v = kContract ? fused(v, a, b) : v * a + b;
        if (kResidual) v = v + load_wide(residual);
        // Of two operands that compare equal or are NaN, larger() and smaller() give the second.
        v = kLeaky ? (v > splat_wide(T{0}) ? v : v * slope) : smaller(high, larger(low, v));
        store_wide(v, out);
    };
    std::int64_t i = 0, at = 0;
    for (; i + kLanes <= run.n; i += kLanes) {
        step(run.x + i, run.residual + i, at, run.out + i);
        at += kLanes;
        if (at == run.period) at = 0;
    }
    if (i == run.n) return;
    T x[kLanes] = {}, residual[kLanes] = {};
    const std::size_t bytes = static_cast<std::size_t>(run.n - i) * sizeof(T);
    memcpy(x, run.x + i, bytes);
    if (kResidual) memcpy(residual, run.residual + i, bytes);
    step(x, residual, at, x);
    memcpy(run.out + i, x, bytes);
}

template <bool kResidual, class T>
FASTWSI_INLINE void choose_loop(const AffineRun<T>& run) {
    if (run.leaky) {
        run.contract ? affine_loop<kResidual, true, true>(run) : affine_loop<kResidual, true, false>(run);
    } else {
        run.contract ? affine_loop<kResidual, false, true>(run) : affine_loop<kResidual, false, false>(run);
    }
}

template <class T>
FASTWSI_INLINE void affine_any(const AffineRun<T>& run) {
    run.residual != nullptr ? choose_loop<true>(run) : choose_loop<false>(run);
}

}  // namespace

void affine_run_f32(const AffineRun<float>& run) { affine_any(run); }
void affine_run_f64(const AffineRun<double>& run) { affine_any(run); }

}  // namespace fastwsi::FASTWSI_ISA
