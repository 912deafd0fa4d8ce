// Count, mean and scatter of the chromatic coordinates (c_x, c_y) and the density D of 8-bit RGB pixels.
#pragma once

#include <cstdint>

#include "base/grid.h"

namespace fastwsi {

struct HsdMomentsArgs {
    // Arrays 0: the uint8 input, 1: the mask (where there is one); one position per pixel.
    Grid<2> grid;
    const std::uint8_t* input;
    const std::uint8_t* mask;    // nullptr: every pixel counts; else those whose byte is not 0
    std::int64_t input_channel;  // bytes from a pixel's red to its green, and to its blue
};

// Sums of x = (c_x, c_y, D in bits) minus a reference pixel's x. Taking a pixel of the data itself as
// reference keeps the cancellation in the variance small, and makes it exactly 0 for constant images.
struct HsdSums {
    double count;
    double reference[3];
    double first[3];   // sum of x - reference
    double second[4];  // sums of products: xx, xy, yy, DD
};
constexpr int kHsdSumsDoubles = 11;
static_assert(sizeof(HsdSums) == kHsdSumsDoubles * sizeof(double), "copied as plain doubles");

// Central moments: what a reader wants, and what merges.
struct HsdCentral {
    double count = 0;
    double mean[3] = {};
    double scatter[4] = {};  // sums of products of deviations from the mean: xx, xy, yy, DD
};

HsdCentral central(const HsdSums& sums);
void merge(HsdCentral& into, const HsdCentral& other);  // Chan, Golub and LeVeque 1979

HsdCentral hsd_moments_cpu(const HsdMomentsArgs& args);

// Writes HsdSums to `result` on the device (11 doubles) without synchronising. `workspace` holds
// hsd_moments_workspace() doubles on the device.
std::int64_t hsd_moments_workspace();
void hsd_moments_cuda(const HsdMomentsArgs& args, double* workspace, double* result, int device,
                      void* stream);

}  // namespace fastwsi
