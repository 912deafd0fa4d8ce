// Max pooling of a slab of rows that stands in cells which are outside of every window, and its gradient.
#pragma once

#include "base/view.h"
#include "kernels/streaming/row_tasks.h"

namespace fastwsi {

struct MaxPoolAxis {
    std::int64_t pad;  // cells before the first
    std::int64_t kernel, stride, dilation;

    // Where the window `i` begins, and the places in it that meet one of `size` cells: [first, last).
    std::int64_t begin(std::int64_t i) const { return i * stride - pad; }
    std::int64_t first(std::int64_t i) const {
        const std::int64_t at = begin(i);
        return at >= 0 ? 0 : (-at - 1) / dilation + 1;
    }
    std::int64_t last(std::int64_t i, std::int64_t size) const {
        const std::int64_t room = size - begin(i);
        const std::int64_t places = room <= 0 ? 0 : (room - 1) / dilation + 1;
        return places < kernel ? places : kernel;
    }

    // The windows that lie within `size` cells: [inner_begin, inner_end) of `count`.
    std::int64_t inner_begin(std::int64_t count) const {
        const std::int64_t i = (pad + stride - 1) / stride;
        return i < count ? i : count;
    }
    std::int64_t inner_end(std::int64_t count, std::int64_t size) const {
        const std::int64_t begin_most = size + pad - (kernel - 1) * dilation - 1, low = inner_begin(count);
        const std::int64_t end = begin_most < 0 ? 0 : begin_most / stride + 1;
        return end < low ? low : end < count ? end : count;
    }
};

struct MaxPoolArgs {
    RowShape slab, pooled;
    DType dtype;  // f32 or f64, of `large` and `small`
    MaxPoolAxis y, x;
    // Forward: large is pooled to small. Backward: the gradient small is added into large.
    RowArray large, small;
    RowArray index;  // u8: the winner's place in its window, row by row; 255 for a window outside of the slab
};

// The first largest in row-major order wins, but any NaN over any number, and the last NaN of all.
void max_pool_cpu(const MaxPoolArgs& args);
void max_pool_cuda(const MaxPoolArgs& args, int device, void* stream);

// Each cell's contributions are added in the row-major order of the windows. An index that points outside of
// the slab adds nothing.
void max_pool_backward_cpu(const MaxPoolArgs& args);
void max_pool_backward_cuda(const MaxPoolArgs& args, int device, void* stream);

}  // namespace fastwsi
