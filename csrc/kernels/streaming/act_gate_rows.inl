// Included by act_gate.cpp and act_gate_avx2.cpp: the same code, each with its own flags.
#include "kernels/streaming/act_gate_rows.h"
#include "kernels/streaming/wide.h"

namespace fastwsi::FASTWSI_ISA {
namespace {

FASTWSI_INLINE void add_to(f64x4 x, double* sums) { store4(load4(sums) + x, sums); }
FASTWSI_INLINE void add_to(f32x8 x, double* sums) {
#if defined(__AVX2__)
    add_to((f64x4)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)x)), sums);
    add_to((f64x4)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)x, 1)), sums + 4);
#else
    for (int i = 0; i < 8; ++i) sums[i] += to_float(x[i]);
#endif
}

// NaN as torch has it: relu lets its gradient through, relu6 (in torch's vectors, not its rests) does not.
template <Activation kAct, class V, class Mask>
FASTWSI_INLINE V gated(V g, V v, V slope, V six) {
    const V zero = {};
    if (kAct == Activation::relu) return (V)(~(v <= zero) & (Mask)g);
    if (kAct == Activation::relu6) return (V)((v > zero) & (v < six) & (Mask)g);
    if (kAct == Activation::leaky_relu) return v > zero ? g : g * slope;
    return g;
}

template <bool kSums, Activation kAct, class T>
FASTWSI_INLINE void gate_loop(const GateRun<T>& run) {
    typedef typename Wide<T>::V V;
    typedef typename Wide<T>::Mask Mask;
    constexpr std::int64_t kLanes = Wide<T>::kLanes;
    const V slope = splat_wide(run.slope), six = splat_wide(T{6});
    const auto step = [&](const T* grad, const T* value, T* out) {
        const V result = gated<kAct, V, Mask>(load_wide(grad), load_wide(value), slope, six);
        store_wide(result, out);
        return result;
    };
    std::int64_t i = 0, at = 0;
    for (; i + kLanes <= run.n; i += kLanes) {
        const V result = step(run.grad + i, run.value + i, run.out + i);
        if (kSums) {
            add_to(result, run.sums + at);
            at += kLanes;
            if (at == run.period) at = 0;
        }
    }
    if (i == run.n) return;
    T grad[kLanes] = {}, value[kLanes] = {};
    const std::size_t bytes = static_cast<std::size_t>(run.n - i) * sizeof(T);
    memcpy(grad, run.grad + i, bytes);
    memcpy(value, run.value + i, bytes);
    const V result = step(grad, value, grad);
    memcpy(run.out + i, grad, bytes);
    if (kSums) add_to(result, run.sums + at);  // the lanes beyond the end are 0
}

template <bool kSums, class T>
FASTWSI_INLINE void choose_gate(const GateRun<T>& run) {
    switch (run.act) {
        case Activation::none: return gate_loop<kSums, Activation::none>(run);
        case Activation::relu: return gate_loop<kSums, Activation::relu>(run);
        case Activation::relu6: return gate_loop<kSums, Activation::relu6>(run);
        case Activation::leaky_relu: return gate_loop<kSums, Activation::leaky_relu>(run);
    }
}

template <class T>
FASTWSI_INLINE void gate_any(const GateRun<T>& run) {
    run.sums != nullptr ? choose_gate<true>(run) : choose_gate<false>(run);
}

}  // namespace

void gate_run_f32(const GateRun<float>& run) { gate_any(run); }
void gate_run_f64(const GateRun<double>& run) { gate_any(run); }

}  // namespace fastwsi::FASTWSI_ISA
