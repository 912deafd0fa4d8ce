// out = act(x * scale[c] + shift[c] + residual): batch norm in evaluation, a sum and an activation in one
// pass, with the bits of torch's three.
#pragma once

#include "base/view.h"
#include "kernels/streaming/activation.h"
#include "kernels/streaming/row_tasks.h"

namespace fastwsi {

struct AffineActArgs {
    RowShape shape;
    DType dtype;  // f32 or f64, of everything; on a GPU also f16 and bf16 beside a scale and shift in f32
    RowArray x, residual, out;
    const void* scale;  // a value per channel; null: no affine step, and `shift` is null too
    const void* shift;
    Activation act;
    double slope;   // of leaky_relu
    bool contract;  // x * scale + shift is rounded once, as torch does where it was compiled so; GPUs always
                    // do
};

void affine_act_cpu(const AffineActArgs& args);
void affine_act_cuda(const AffineActArgs& args, int device, void* stream);

}  // namespace fastwsi
