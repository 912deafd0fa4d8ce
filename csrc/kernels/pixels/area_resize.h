// Pictures made smaller: each output pixel is the mean of the box of input pixels that it covers, parts of
// pixels counted in part. Made larger, they are interpolated linearly.
#pragma once

#include <cstdint>

namespace fastwsi {

constexpr double kLargestAreaScale = 4095;  // input pixels along a box: sums fit 32 bits

struct AreaResizeArgs {
    // Input rows whose pixels lie side by side, `channels` bytes each.
    const std::uint8_t* input;
    std::int64_t input_height, input_width;
    std::int64_t input_row;  // bytes from one row to the next
    std::uint8_t* output;    // likewise
    std::int64_t output_height, output_width;
    std::int64_t output_row;
    int channels;  // 1 to 4
    // Where the first box begins, and how long boxes are, in input pixels.
    double origin_y, origin_x;
    double scale_y, scale_x;
};

void area_resize_cpu(const AreaResizeArgs& args);
void area_resize_cuda(const AreaResizeArgs& args, int device, void* stream);

}  // namespace fastwsi
