// Optical density of an 8-bit intensity, in bits: log2(257 / (I + 1)), 0.0056 at 255 and 8.006 at 0.
// Never zero, so chromatic coordinates (ratios of densities) are finite for every pixel.
#pragma once

namespace fastwsi {

struct DensityTables {
    float f32[256];
    double f64[256];
};

const DensityTables& density_tables();

}  // namespace fastwsi
