// The gradient of an activation, read off the activation's output, and its sum over each channel.
#pragma once

#include "base/view.h"
#include "kernels/streaming/activation.h"
#include "kernels/streaming/row_tasks.h"

namespace fastwsi {

struct ActGateArgs {
    RowShape shape;
    DType dtype;  // f32 or f64, of grad, value and out
    RowArray grad, value, out;
    Activation act;
    double slope;  // of leaky_relu
    double* sums;  // one per channel, added to; or null
};

void act_gate_cpu(const ActGateArgs& args);

}  // namespace fastwsi
