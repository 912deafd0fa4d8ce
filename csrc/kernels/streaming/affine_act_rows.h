// Packed runs through affine_act, at the instruction set of the including unit.
#pragma once

#include <cstdint>

namespace fastwsi {

template <class T>
struct AffineRun {
    const T* x;
    const T* residual;  // or null
    T* out;             // may be x or residual
    std::int64_t n;
    const T* scale;       // of the value i: scale[i % period]
    const T* shift;       // likewise
    std::int64_t period;  // a multiple of 8
    T low, high;          // the activation: clamping to [low, high], or where `leaky` ...
    T slope;              // ... this factor below 0
    bool leaky, contract;
};

namespace baseline {
void affine_run_f32(const AffineRun<float>& run);
void affine_run_f64(const AffineRun<double>& run);
}  // namespace baseline
namespace avx2 {
void affine_run_f32(const AffineRun<float>& run);
void affine_run_f64(const AffineRun<double>& run);
}  // namespace avx2

}  // namespace fastwsi
