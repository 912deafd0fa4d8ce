#include "base/cuda.h"
#include "kernels/pixels/area_resize.h"
#include "kernels/pixels/area_resize_math.h"

namespace fastwsi {
namespace {

constexpr int kThreads = 256;

// A thread for each value of the output: those of a row lie side by side, as do the pixels that they read.
__global__ void __launch_bounds__(kThreads) area_resize_kernel(const __grid_constant__ AreaResizeArgs args) {
    const std::int64_t values = args.output_width * args.channels;
    const std::int64_t stride = std::int64_t{gridDim.x} * kThreads;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < args.output_height * values;
         i += stride) {
        const std::int64_t y = i / values, value = i - y * values;
        const std::int64_t x = value / args.channels, c = value - x * args.channels;
        const AreaSpan down = baseline::area_span(y, args.origin_y, args.scale_y, args.input_height);
        const AreaSpan across = baseline::area_span(x, args.origin_x, args.scale_x, args.input_width);
        std::uint64_t sum = 0;
        for (std::int64_t r = 0; r <= down.whole + (down.tail != 0); ++r) {
            const std::uint8_t* const row =
                args.input + (down.first + r) * args.input_row + across.first * args.channels + c;
            std::uint64_t whole = 0;
            for (std::int64_t k = 1; k <= across.whole; ++k) whole += row[k * args.channels];
            std::uint64_t line = whole * kAreaParts + std::uint64_t{row[0]} * across.head;
            if (across.tail != 0)
                line += std::uint64_t{row[(across.whole + 1) * args.channels]} * across.tail;
            const std::uint64_t parts = r == 0            ? down.head
                                        : r <= down.whole ? static_cast<std::uint64_t>(kAreaParts)
                                                          : down.tail;
            sum += line * parts;
        }
        const std::uint64_t total = baseline::area_total(down) * baseline::area_total(across);
        args.output[y * args.output_row + value] =
            baseline::area_mean(sum, total, 1.0 / static_cast<double>(total));
    }
}

}  // namespace

void area_resize_cuda(const AreaResizeArgs& args, int device, void* stream) {
    const DeviceGuard guard(device);
    const std::int64_t values = args.output_height * args.output_width * args.channels;
    if (values <= 0) return;
    const std::int64_t wanted = (values + kThreads - 1) / kThreads;
    const std::int64_t limit = std::int64_t{multiprocessors(device)} * 32;
    const unsigned blocks = static_cast<unsigned>(wanted < limit ? wanted : limit);
    area_resize_kernel<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(args);
    FASTWSI_CUDA_CHECK(cudaGetLastError());
}

}  // namespace fastwsi
