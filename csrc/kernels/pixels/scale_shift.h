// y = x * scale[c] + shift[c]: puts image channels on a network's input scale, or takes them off it.
#pragma once

#include <cstdint>

#include "base/grid.h"

namespace fastwsi {

constexpr int kMaxChannels = 16;

struct ScaleShiftArgs {
    // Arrays 0: input, 1: output; one position per pixel, channels apart.
    Grid<2> grid;
    const void* input;
    void* output;
    DType dtype;  // f16, bf16, f32 or f64, the same for both
    int channels;
    std::int64_t input_channel;   // bytes from one channel to the next
    std::int64_t output_channel;  // likewise in the output
    double scale[kMaxChannels];   // float32 arithmetic uses them rounded to float32
    double shift[kMaxChannels];
};

void scale_shift_cpu(const ScaleShiftArgs& args);
void scale_shift_cuda(const ScaleShiftArgs& args, int device, void* stream);

}  // namespace fastwsi
