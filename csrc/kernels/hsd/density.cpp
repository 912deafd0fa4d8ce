#include "kernels/hsd/density.h"

#include <cmath>

namespace fastwsi {

const DensityTables& density_tables() {
    static const DensityTables tables = [] {
        DensityTables t;
        for (int i = 0; i < 256; ++i) {
            t.f64[i] = -std::log1p((i - 256) / 257.0) / std::log(2.0);
            t.f32[i] = static_cast<float>(t.f64[i]);
        }
        return t;
    }();
    return tables;
}

}  // namespace fastwsi
