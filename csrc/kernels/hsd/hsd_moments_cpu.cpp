#include "kernels/hsd/hsd_moments_rows.inl"

#include <vector>

#include "base/cpu.h"
#include "base/parallel.h"
#include "base/strided.h"

namespace fastwsi {

HsdCentral hsd_moments_cpu(const HsdMomentsArgs& args) {
    constexpr std::int64_t kRun = 4096;            // pixels per run: summed with one reference
    constexpr std::int64_t kTaskPixels = 1 << 15;  // pixels per task: one partial result each
    const Grid<2>& grid = args.grid;
    HsdCentral total;
    if (grid.positions() == 0) return total;
    HsdMomentsRun* const run = FASTWSI_SELECT(hsd_moments_run);
    const std::int64_t columns = grid.columns();
    const std::int64_t runs_per_row = (columns - 1) / kRun + 1;
    const std::int64_t runs = grid.rows() * runs_per_row;
    const std::int64_t pixels_per_run = columns < kRun ? columns : kRun;
    const std::int64_t grain = kTaskPixels / pixels_per_run;
    const std::int64_t in_step = grid.column_stride(0), mask_step = grid.column_stride(1);
    const bool packed = in_step == 3 && args.input_channel == 1;

    // One partial result per task, merged in order: the same bits for any number of threads.
    std::vector<HsdCentral> partial(static_cast<std::size_t>((runs - 1) / grain + 1));
    parallel_for(runs, grain, [&](std::int64_t begin, std::int64_t end) {
        std::uint8_t pixels[3 * kRun], flags[kRun];
        HsdCentral& sum = partial[static_cast<std::size_t>(begin / grain)];
        for (std::int64_t i = begin; i < end; ++i) {
            std::int64_t offset[2];
            grid.row_offsets(i / runs_per_row, offset);
            const std::int64_t x = i % runs_per_row * kRun;
            const std::int64_t n = columns - x < kRun ? columns - x : kRun;
            const std::uint8_t* in = args.input + offset[0] + x * in_step;
            if (!packed) {
                for (int c = 0; c < 3; ++c) gather(in + c * args.input_channel, in_step, pixels + c, 3, n);
                in = pixels;
            }
            const std::uint8_t* mask = args.mask;
            if (mask != nullptr) {
                mask += offset[1] + x * mask_step;
                if (mask_step != 1) {
                    gather(mask, mask_step, flags, 1, n);
                    mask = flags;
                }
            }
            merge(sum, central(run(in, mask, n)));
        }
    });
    for (const HsdCentral& sum : partial) merge(total, sum);
    return total;
}

}  // namespace fastwsi
