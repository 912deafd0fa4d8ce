#include "kernels/pixels/scale_shift.h"

#include "base/cpu.h"
#include "base/runs.h"
#include "kernels/pixels/scale_shift_rows.inl"

namespace fastwsi {

// Proofs (gradcheck) run in float64: one plain copy of the code for every processor.
void baseline::scale_shift_f64(const char* x, std::int64_t x_step, char* y, std::int64_t y_step,
                               std::int64_t n, double scale, double shift) {
    strided_run<double>(x, x_step, y, y_step, n, scale, shift);
}

namespace {

ScaleShiftRun* choose_run(DType dtype) {
    switch (dtype) {
        case DType::f64: return baseline::scale_shift_f64;
        case DType::f16: return FASTWSI_SELECT(scale_shift_f16);
        case DType::bf16: return FASTWSI_SELECT(scale_shift_bf16);
        default: return FASTWSI_SELECT(scale_shift_f32);
    }
}

}  // namespace

void scale_shift_cpu(const ScaleShiftArgs& args) {
    constexpr std::int64_t kRun = 4096;  // pixels per run: with all channels, stays in the cache
    ScaleShiftRun* const run = choose_run(args.dtype);
    const std::int64_t x_step = args.grid.column_stride(0), y_step = args.grid.column_stride(1);
    Runs(args.grid, kRun).for_each([&](std::int64_t, const std::int64_t (&offset)[2], std::int64_t n) {
        const char* x = static_cast<const char*>(args.input) + offset[0];
        char* y = static_cast<char*>(args.output) + offset[1];
        for (int c = 0; c < args.channels; ++c)
            run(x + c * args.input_channel, x_step, y + c * args.output_channel, y_step, n, args.scale[c],
                args.shift[c]);
    });
}

}  // namespace fastwsi
