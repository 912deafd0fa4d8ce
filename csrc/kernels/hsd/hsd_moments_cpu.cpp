#include "kernels/hsd/hsd_moments_rows.inl"

#include <vector>

#include "base/cpu.h"
#include "base/runs.h"
#include "base/strided.h"

namespace fastwsi {

HsdCentral hsd_moments_cpu(const HsdMomentsArgs& args) {
    constexpr std::int64_t kRun = 4096;  // pixels that are summed with one reference
    HsdMomentsRun* const run = FASTWSI_SELECT(hsd_moments_run);
    const std::int64_t in_step = args.grid.column_stride(0), mask_step = args.grid.column_stride(1);
    const bool packed = in_step == 3 && args.input_channel == 1;
    const Runs runs(args.grid, kRun);

    // One partial result per task, merged in order: the same bits for any number of threads.
    std::vector<HsdCentral> partial(static_cast<std::size_t>(runs.tasks()));
    runs.for_each([&](std::int64_t task, const std::int64_t (&offset)[2], std::int64_t n) {
        std::uint8_t pixels[3 * kRun], flags[kRun];
        const std::uint8_t* in = args.input + offset[0];
        if (!packed) {
            for (int c = 0; c < 3; ++c) gather(in + c * args.input_channel, in_step, pixels + c, 3, n);
            in = pixels;
        }
        const std::uint8_t* mask = args.mask == nullptr ? nullptr : args.mask + offset[1];
        if (mask != nullptr && mask_step != 1) {
            gather(mask, mask_step, flags, 1, n);
            mask = flags;
        }
        merge(partial[static_cast<std::size_t>(task)], central(run(in, mask, n)));
    });
    HsdCentral total;
    for (const HsdCentral& sum : partial) merge(total, sum);
    return total;
}

}  // namespace fastwsi
