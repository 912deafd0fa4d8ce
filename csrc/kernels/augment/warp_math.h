// Where an output pixel is found in the source, shared by the CPU and CUDA kernels. All in float64: images
// have more pixels along a side than float32 has digits.
#pragma once

#include <cstdint>

#include "base/isa.h"
#include "kernels/augment/warp.h"

namespace fastwsi::FASTWSI_ISA {

// A place between nodes of the displacement grid, along one axis.
struct GridPlace {
    std::int64_t cell;  // the node before it
    double t;           // 0 at that node, 1 at the next
};

FASTWSI_INLINE double grid_scale(std::int64_t nodes, std::int64_t pixels) {
    return pixels > 1 ? static_cast<double>(nodes - 1) / static_cast<double>(pixels - 1) : 0.0;
}

FASTWSI_INLINE GridPlace grid_place(std::int64_t pixel, double scale, std::int64_t nodes) {
    const double at = static_cast<double>(pixel) * scale;
    std::int64_t cell = static_cast<std::int64_t>(at);
    if (cell > nodes - 2) cell = nodes - 2;
    return {cell, at - static_cast<double>(cell)};
}

// Weights of nodes cell - 1 to cell + 2. Nodes beyond the border go on in a straight line; their weights are
// passed on to the two nodes that span it.
FASTWSI_INLINE void node_weights(const GridPlace& place, std::int64_t nodes, bool cubic,
                                 double (&weight)[4]) {
    const double t = place.t;
    if (!cubic) {
        weight[0] = weight[3] = 0;
        weight[1] = 1 - t;
        weight[2] = t;
        return;
    }
    weight[0] = ((2 - t) * t - 1) * t / 2;
    weight[1] = ((3 * t - 5) * t * t + 2) / 2;
    weight[2] = ((4 - 3 * t) * t + 1) * t / 2;
    weight[3] = (t - 1) * t * t / 2;
    if (place.cell == 0) {
        weight[1] += 2 * weight[0];
        weight[2] -= weight[0];
        weight[0] = 0;
    }
    if (place.cell == nodes - 2) {
        weight[2] += 2 * weight[3];
        weight[1] -= weight[3];
        weight[3] = 0;
    }
}

// Weight 0 stands for nodes that are not there: any other may be read in their place.
FASTWSI_INLINE std::int64_t existing_node(std::int64_t node, std::int64_t nodes) {
    return node < 0 ? 0 : node < nodes ? node : nodes - 1;
}

// Coordinates far outside are brought near, where they still mean "outside"; NaN is outside, too.
constexpr double kFarBefore = -3.0;
FASTWSI_INLINE double far_behind(std::int64_t size) { return static_cast<double>(size) + 2; }

FASTWSI_INLINE double near_image(double x, std::int64_t size) {
    const double far = far_behind(size);
    return x > kFarBefore ? (x < far ? x : far) : kFarBefore;
}

}  // namespace fastwsi::FASTWSI_ISA
