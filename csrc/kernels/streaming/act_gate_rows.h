// Packed runs through act_gate, at the instruction set of the including unit.
#pragma once

#include <cstdint>

#include "kernels/streaming/activation.h"

namespace fastwsi {

template <class T>
struct GateRun {
    const T* grad;
    const T* value;
    T* out;  // may be grad
    std::int64_t n;
    Activation act;
    T slope;              // of leaky_relu
    double* sums;         // null, or `period` of them: the result i is added to sums[i % period]
    std::int64_t period;  // a multiple of 8
};

namespace baseline {
void gate_run_f32(const GateRun<float>& run);
void gate_run_f64(const GateRun<double>& run);
}  // namespace baseline
namespace avx2 {
void gate_run_f32(const GateRun<float>& run);
void gate_run_f64(const GateRun<double>& run);
}  // namespace avx2

}  // namespace fastwsi
