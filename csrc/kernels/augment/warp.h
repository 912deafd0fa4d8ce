// Resampling of a large image by an inverse map, any band of output rows at a time: an affine map, a coarse
// grid of displacements interpolated smoothly, and colours on the way out.
#pragma once

#include <cstdint>

#include "base/view.h"
#include "kernels/augment/colour.h"

namespace fastwsi {

// Where each output pixel (x, y) is found: matrix * (x, y, 1) + displacement(x, y), in pixels of the full
// source image whose centres are whole numbers.
struct WarpMap {
    double matrix[6];                      // row-major 2 x 3
    const double* displacement;            // [grid_rows, grid_columns, 2] of (dx, dy), or null
    std::int64_t grid_rows, grid_columns;  // at least 2; the outer nodes lie on the outer output pixels
    bool cubic;                            // Catmull-Rom between nodes, else linear
    std::int64_t width, height;            // of the whole output
};

struct WarpArgs {
    WarpMap map;
    // The source: a rectangle of the full image. Strides in bytes.
    const std::uint8_t* source;
    std::int64_t source_row, source_column, source_channel;
    std::int64_t source_x, source_y, source_width, source_height;
    std::int64_t full_width, full_height;  // below 2^31 - 4
    int channels;                          // 3, or 1 for labels and the like
    bool bilinear;                         // else the nearest pixel
    std::uint8_t fill[3];                  // stands for every pixel outside the full image
    // The band: rows y0 <= y < y1 and columns x0 <= x < x1 of the output.
    std::int64_t x0, x1, y0, y1;
    void* output;                       // of pixel (x0, y0)
    DType dtype;                        // u8, f32, f16 or bf16
    std::int64_t row, column, channel;  // bytes, of the output
    Colour colour;  // with a given mean where there is contrast; of one channel, only scale and shift count
};

void warp_cpu(const WarpArgs& args);
void warp_cuda(const WarpArgs& args, int device, void* stream);

}  // namespace fastwsi
