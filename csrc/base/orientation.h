// The eight ways to lay a rectangle on its grid, as strides. Orientation k flips left-right first where
// k >= 4, then turns k % 4 quarters counter-clockwise; odd k exchange height and width.
#pragma once

#include <cstdint>

#include "base/isa.h"

namespace fastwsi {

// A rectangle of positions in memory: (y, x) lies `offset + y * stride_y + x * stride_x` bytes from a base.
struct Plane {
    std::int64_t offset;
    std::int64_t height, width;
    std::int64_t stride_y, stride_x;  // may be negative
};

// Internal linkage, so that no wide unit's copy can serve the baseline (see isa.h).
FASTWSI_INLINE bool transposes(int k) { return (k & 1) != 0; }

FASTWSI_INLINE int inverse_orientation(int k) { return k < 4 ? (4 - k) & 3 : k; }

// The same memory read in the order of the oriented picture: where its (y, x) come from.
FASTWSI_INLINE Plane oriented(std::int64_t height, std::int64_t width, std::int64_t stride_y,
                              std::int64_t stride_x, int k) {
    Plane plane = {0, height, width, stride_y, stride_x};
    if (k >= 4) {
        plane.offset = (width - 1) * stride_x;
        plane.stride_x = -stride_x;
    }
    for (int turn = 0; turn < (k & 3); ++turn)  // new (y, x) is old (x, width - 1 - y)
        plane = {plane.offset + (plane.width - 1) * plane.stride_x, plane.width, plane.height,
                 -plane.stride_x, plane.stride_y};
    return plane;
}

}  // namespace fastwsi
