#include <vector>

#include "base/cpu.h"
#include "base/parallel.h"
#include "base/runs.h"
#include "kernels/pixels/area_resize.h"
#include "kernels/pixels/area_resize_rows.inl"

namespace fastwsi {

void area_resize_cpu(const AreaResizeArgs& args) {
    const std::int64_t columns = args.output_width;
    if (columns <= 0 || args.output_height <= 0) return;
    std::vector<AreaSpan> spans(static_cast<std::size_t>(columns));
    for (std::int64_t i = 0; i < columns; ++i)
        spans[static_cast<std::size_t>(i)] =
            baseline::area_span(i, args.origin_x, args.scale_x, args.input_width);
    const AreaSpan& last = spans.back();
    const std::int64_t left = spans.front().first;
    const std::int64_t values = (last.first + last.whole + (last.tail != 0) + 1 - left) * args.channels;
    AreaDown* const down = FASTWSI_SELECT(area_down);
    AreaAcross* const across = FASTWSI_SELECT(area_across);
    // Rows that are worth a thread's while: by the input pixels that they read.
    const double pixels = static_cast<double>(values) * (args.scale_y > 1 ? args.scale_y : 1);
    const std::int64_t grain = 1 + static_cast<std::int64_t>(static_cast<double>(kTaskPositions) / pixels);
    parallel_for(args.output_height, grain, [&](std::int64_t begin, std::int64_t end) {
        std::vector<std::uint32_t> sums(static_cast<std::size_t>(values));
        for (std::int64_t y = begin; y < end; ++y) {
            const AreaSpan rows = baseline::area_span(y, args.origin_y, args.scale_y, args.input_height);
            const std::uint8_t* const first = args.input + rows.first * args.input_row + left * args.channels;
            down(first, args.input_row, rows, sums.data(), values);
            across(sums.data(), left, baseline::area_total(rows), spans.data(), columns, args.channels,
                   args.output + y * args.output_row);
        }
    });
}

}  // namespace fastwsi
