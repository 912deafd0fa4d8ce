#include "kernels/hsd/hsd_normalize_rows.inl"

#include "base/cpu.h"
#include "base/runs.h"
#include "base/strided.h"

namespace fastwsi {
namespace {

constexpr std::int64_t kRun = 1024;  // pixels per call of packed code: scratch stays in the L1 cache

// One run of pixels: packed code where the arrays are packed, through scratch where they are not.
struct PixelRun {
    const HsdNormalizeArgs& args;
    HsdPixelRun* run;

    void operator()(const std::uint8_t* in, char* out, std::int64_t n) const {
        std::uint8_t scratch[3 * kRun];
        const std::int64_t step = args.grid.column_stride(1);
        const bool packed = step == 3 && args.output_channel == 1;
        std::uint8_t* const target = packed ? reinterpret_cast<std::uint8_t*>(out) : scratch;
        run(in, target, n, args.transform);
        if (packed) return;
        for (int c = 0; c < 3; ++c) scatter(scratch + c, 3, out + c * args.output_channel, step, n);
    }
};

template <class T>
struct PlaneRun {
    const HsdNormalizeArgs& args;
    HsdPlaneRun* run;

    void operator()(const std::uint8_t* in, char* out, std::int64_t n) const {
        T scratch[3][kRun];
        const std::int64_t step = args.grid.column_stride(1);
        const bool packed = step == static_cast<std::int64_t>(sizeof(T));
        void* plane[3];
        for (int c = 0; c < 3; ++c)
            plane[c] = packed ? static_cast<void*>(out + c * args.output_channel) : scratch[c];
        run(in, plane, n, args.transform, args.planes);
        if (packed) return;
        for (int c = 0; c < 3; ++c) scatter(scratch[c], 1, out + c * args.output_channel, step, n);
    }
};

template <class Run>
void for_each_run(const HsdNormalizeArgs& args, const Run& run) {
    const std::int64_t in_step = args.grid.column_stride(0);
    const bool packed = in_step == 3 && args.input_channel == 1;
    Runs(args.grid, kRun).for_each([&](std::int64_t, const std::int64_t (&offset)[2], std::int64_t n) {
        std::uint8_t scratch[3 * kRun];
        const std::uint8_t* in = args.input + offset[0];
        if (!packed) {
            for (int c = 0; c < 3; ++c) gather(in + c * args.input_channel, in_step, scratch + c, 3, n);
            in = scratch;
        }
        run(in, static_cast<char*>(args.output) + offset[1], n);
    });
}

// Run<...>{args, function} on every image. Threads share out small images whole, since one alone has too few
// tasks for all of them; `function` was chosen on the calling thread, whose SIMD level counts.
template <class Run, class Function>
void for_each_image(const HsdNormalizeArgs* images, std::int64_t count, Function* function) {
    constexpr std::int64_t kSmall = 32 * kTaskPositions;
    const std::int64_t together = count > 0 && images->grid.positions() < kSmall ? 1 : count;
    parallel_for(count, together, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) for_each_run(images[i], Run{images[i], function});
    });
}

}  // namespace

void hsd_normalize_cpu(const HsdNormalizeArgs* images, std::int64_t count) {
    if (count == 0) return;
    switch (images->output_dtype) {
        case DType::u8: return for_each_image<PixelRun>(images, count, FASTWSI_SELECT(hsd_normalize_pixels));
        case DType::f16:
            return for_each_image<PlaneRun<Half>>(images, count, FASTWSI_SELECT(hsd_normalize_planes_f16));
        case DType::bf16:
            return for_each_image<PlaneRun<BFloat16>>(images, count,
                                                      FASTWSI_SELECT(hsd_normalize_planes_bf16));
        default:  // f32; the bindings admit no other
            return for_each_image<PlaneRun<float>>(images, count, FASTWSI_SELECT(hsd_normalize_planes_f32));
    }
}

}  // namespace fastwsi
