// A tile of positions copied between strided planes, at the instruction set of the including unit.
#pragma once

#include <cstdint>

namespace fastwsi {

struct OrientTile {
    const char* input;
    char* output;
    std::int64_t height, width;                         // positions, in the order of the output
    std::int64_t input_y, input_x, output_y, output_x;  // bytes from one row, one column to the next
    std::int64_t unit;                                  // bytes moved at each position
};

using OrientCopy = void(const OrientTile& tile);

namespace baseline {
OrientCopy orient_copy;
}
namespace avx2 {
OrientCopy orient_copy;
}

}  // namespace fastwsi
