// out = act(x * scale[c] + shift[c] + residual): batch norm in evaluation, a sum and an activation in one
// pass, with the bits of torch's three.
#pragma once

#include "base/view.h"
#include "kernels/streaming/activation.h"
#include "kernels/streaming/row_tasks.h"

namespace fastwsi {

struct AffineActArgs {
    RowShape shape;
    DType dtype;  // f32 or f64, of everything
    RowArray x, residual, out;
    const void* scale;  // a value per channel; null: no affine step, and `shift` is null too
    const void* shift;
    Activation act;
    double slope;   // of leaky_relu
    bool contract;  // x * scale + shift is rounded once, as torch does where it was compiled so
};

void affine_act_cpu(const AffineActArgs& args);

}  // namespace fastwsi
