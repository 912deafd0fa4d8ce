// The gradient of an activation, read off the activation's output, and its sum over each channel.
#pragma once

#include "base/view.h"
#include "kernels/streaming/activation.h"
#include "kernels/streaming/row_tasks.h"

namespace fastwsi {

struct ActGateArgs {
    RowShape shape;
    DType dtype;  // f32 or f64, on a GPU also f16 or bf16, of grad, value and out
    RowArray grad, value, out;
    Activation act;
    double slope;  // of leaky_relu
    double* sums;  // one per channel, added to; or null. On the CPU alone
};

void act_gate_cpu(const ActGateArgs& args);
void act_gate_cuda(const ActGateArgs& args, int device, void* stream);

}  // namespace fastwsi
