#include "base/cuda.h"
#include "kernels/pixels/scale_shift.h"
#include "kernels/pixels/scale_shift_math.h"

namespace fastwsi {
namespace {

constexpr int kThreads = 256;

template <class T, class Wide>
__global__ void __launch_bounds__(kThreads) scale_shift_kernel(const __grid_constant__ ScaleShiftArgs args) {
    const Grid<2>& grid = args.grid;
    const std::int64_t columns = grid.columns(), rows = grid.rows();
    const std::int64_t x_step = grid.column_stride(0), y_step = grid.column_stride(1);
    const std::int64_t stride = std::int64_t{gridDim.x} * kThreads;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < rows * columns;
         i += stride) {
        const std::int64_t row = rows == 1 ? 0 : i / columns;
        const std::int64_t column = i - row * columns;
        std::int64_t offset[2];
        grid.row_offsets(row, offset);
        const char* const x = static_cast<const char*>(args.input) + offset[0] + column * x_step;
        char* const y = static_cast<char*>(args.output) + offset[1] + column * y_step;
        for (int c = 0; c < args.channels; ++c)
            baseline::scale_shift_value(*reinterpret_cast<const T*>(x + c * args.input_channel),
                                        static_cast<Wide>(args.scale[c]), static_cast<Wide>(args.shift[c]),
                                        reinterpret_cast<T*>(y + c * args.output_channel));
    }
}

template <class T, class Wide>
void launch(const ScaleShiftArgs& args, int processors, cudaStream_t stream) {
    const std::int64_t wanted = (args.grid.positions() + kThreads - 1) / kThreads;
    const std::int64_t limit = std::int64_t{processors} * 32;
    const unsigned blocks = static_cast<unsigned>(wanted < limit ? wanted : limit);
    scale_shift_kernel<T, Wide><<<blocks, kThreads, 0, stream>>>(args);
    FASTWSI_CUDA_CHECK(cudaGetLastError());
}

}  // namespace

void scale_shift_cuda(const ScaleShiftArgs& args, int device, void* stream) {
    const DeviceGuard guard(device);
    if (args.grid.positions() == 0) return;
    const int processors = multiprocessors(device);
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    switch (args.dtype) {
        case DType::f16: return launch<Half, float>(args, processors, queue);
        case DType::bf16: return launch<BFloat16, float>(args, processors, queue);
        case DType::f64: return launch<double, double>(args, processors, queue);
        default: return launch<float, float>(args, processors, queue);
    }
}

}  // namespace fastwsi
