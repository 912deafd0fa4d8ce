// Included by act_gate.cpp and act_gate_avx2.cpp: the same code, each with its own flags.
#include "kernels/streaming/act_gate_rows.h"
#include "kernels/streaming/wide.h"

namespace fastwsi::FASTWSI_ISA {
namespace {

// Four of a vector's values as doubles, from `first` on.
template <int first>
FASTWSI_INLINE f64x4 doubles_of(f64x4 x) {
    return x;
}
template <int first>
FASTWSI_INLINE f64x4 doubles_of(f32x8 x) {
#if defined(__AVX2__)
    return (f64x4)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)x, first / 4));
#else
    return f64x4{to_float(x[first]), to_float(x[first + 1]), to_float(x[first + 2]), to_float(x[first + 3])};
#endif
}

// Adds to each lane's sum the lanes of several vectors, which are added up in pairs.
template <int first, class V>
FASTWSI_INLINE void add_fours(const V (&x)[4], double* sums) {
    const f64x4 pairs = (doubles_of<first>(x[0]) + doubles_of<first>(x[1])) +
                        (doubles_of<first>(x[2]) + doubles_of<first>(x[3]));
    store4(load4(sums + first) + pairs, sums + first);
}
template <int first, class V>
FASTWSI_INLINE void add_four(V x, double* sums) {
    store4(load4(sums + first) + doubles_of<first>(x), sums + first);
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
        if (kAct != Activation::none || grad != out) store_wide(result, out);
        return result;
    };
    const auto add_result = [](V result, double* sums) {
        add_four<0>(result, sums);
        if (kLanes == 8) add_four<kLanes - 4>(result, sums);
    };
    std::int64_t i = 0, at = 0;
    if (kSums) {  // four periods at a time, since to load and store the sums costs more than to add to them
        for (const std::int64_t p = run.period; i + 4 * p <= run.n; i += 4 * p)
            for (std::int64_t j = i; j < i + p; j += kLanes) {
                V results[4];
                for (int k = 0; k < 4; ++k)
                    results[k] = step(run.grad + j + k * p, run.value + j + k * p, run.out + j + k * p);
                add_fours<0>(results, run.sums + (j - i));
                if (kLanes == 8) add_fours<kLanes - 4>(results, run.sums + (j - i));
            }
    }
    for (; i + kLanes <= run.n; i += kLanes) {
        const V result = step(run.grad + i, run.value + i, run.out + i);
        if (kSums) {
            add_result(result, run.sums + at);
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
    if (kSums) add_result(result, run.sums + at);  // the lanes beyond the end are 0
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
