// Copies pictures turned or mirrored: orientation 0 to 7, as base/orientation.h numbers them.
#pragma once

#include <cstdint>

#include "base/grid.h"

namespace fastwsi {

struct OrientArgs {
    // Arrays 0: input, 1: output; the axes that are neither the plane's nor in the unit nor `images`.
    Grid<2> outer;
    const char* input;
    char* output;
    std::int64_t height, width;       // of the input's plane, in positions
    std::int64_t input_y, input_x;    // bytes from one row, one column to the next
    std::int64_t output_y, output_x;  // likewise in the output's plane
    std::int64_t unit;                // bytes that lie side by side at a position, in both arrays
    // Images with an orientation each; a batch that shares one is a single image with one more outer axis.
    const std::uint8_t* orientations;  // [images], host memory
    std::int64_t images;
    std::int64_t input_image, output_image;  // bytes from one image to the next
};

void orient_cpu(const OrientArgs& args);
void orient_cuda(const OrientArgs& args, int device, void* stream);

}  // namespace fastwsi
