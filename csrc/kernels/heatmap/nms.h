// Peaks of heatmaps: again and again the largest cell left, which takes its neighbourhood out.
#pragma once

#include <cstdint>
#include <vector>

#include "base/view.h"
#include "kernels/heatmap/nms_math.h"

namespace fastwsi {

struct NmsArgs {
    const void* map;
    DType dtype;  // f16, bf16, f32 or f64
    std::int64_t maps, height, width;
    std::int64_t map_stride, row_stride, column_stride;  // bytes
    NmsRegion region;
    double threshold;  // a number of the map's dtype; not NaN
};

struct NmsDetection {
    std::int64_t place;   // see NmsKey
    std::uint64_t score;  // the cell's own bytes, first
};

// A map may change while it is read, by another thread's hand: what is found is anything then, but memory is
// safe and the work ends.

// One list per map, each in the order reported; no lists where maps have no cells.
using NmsLists = std::vector<std::vector<NmsDetection>>;

NmsLists nms_cpu(const NmsArgs& args, std::int64_t max_points);  // of each map

// On the device, detections come in no order. A changing map may give counts above the capacity, of which
// the lists hold as many as they can.
struct NmsDevice {
    std::int64_t* order;    // (maps, capacity): NmsKey::order, kNmsNone beyond the count
    std::int64_t* place;    // likewise
    std::int64_t* count;    // (maps)
    void* scratch;          // nms_scratch_bytes() of them, aligned to 16
    std::int64_t capacity;  // nms_most() of a map
};

std::int64_t nms_scratch_bytes(const NmsArgs& args);
void nms_cuda(const NmsArgs& args, const NmsDevice& device_arrays, int device, void* stream);

// Turns sorted places into what callers want: packed arrays (maps, length), -1, -1 and 0 where there is
// nothing, and counts cut to length. `length` may be less than the capacity.
struct NmsRead {
    const std::int64_t* place;  // (maps, capacity), sorted
    std::int64_t capacity, length;
    std::int64_t *x, *y, *count;
    void* score;  // of the map's dtype
};

void nms_read_cuda(const NmsArgs& args, const NmsRead& read, int device, void* stream);

}  // namespace fastwsi
