#include <cmath>

#include "base/half.h"
#include "kernels/streaming/affine_act.h"
#include "kernels/streaming/row_lines_cuda.h"

namespace fastwsi {
namespace {

template <class T>
struct Device {
    RowLines lines;
    RowArray x, residual, out;
    const T* scale;
    const T* shift;
    T low, high, slope;
    bool leaky;
};

// Value is what lies in memory, T what is computed in.
template <class Value, class T>
__global__ void __launch_bounds__(kRowThreads) affine_act_kernel(const __grid_constant__ Device<T> args) {
    for_row_lines(args.lines, [&](std::int64_t line, const auto& each) {
        const Value* const x = line_of<const Value>(args.lines, args.x, line);
        const Value* const residual =
            args.residual.data == nullptr ? nullptr : line_of<const Value>(args.lines, args.residual, line);
        Value* const out = line_of<Value>(args.lines, args.out, line);
        each([&](std::int64_t i, std::int64_t channel) {
            T v = baseline::to_float(x[i]);
            if (args.scale != nullptr) v = v * args.scale[channel] + args.shift[channel];
            if (residual != nullptr) v += baseline::to_float(residual[i]);
            // Comparisons that NaN fails, so that it stays.
            if (args.leaky) {
                if (v < T{0}) v *= args.slope;
            } else {
                if (v < args.low) v = args.low;
                if (v > args.high) v = args.high;
            }
            baseline::from_float(v, out + i);
        });
    });
}

template <class Value, class T>
void launch(const AffineActArgs& args, cudaStream_t stream) {
    const T infinity = static_cast<T>(INFINITY);
    const RowLines lines(args.shape, {args.x, args.residual, args.out}, sizeof(Value));
    const Device<T> device = {lines,
                              args.x,
                              args.residual,
                              args.out,
                              static_cast<const T*>(args.scale),
                              static_cast<const T*>(args.shift),
                              args.act == Activation::none ? -infinity : T{0},
                              args.act == Activation::relu6 ? T{6} : infinity,
                              static_cast<T>(args.slope),
                              args.act == Activation::leaky_relu};
    affine_act_kernel<Value, T><<<lines.blocks(), kRowThreads, 0, stream>>>(device);
    FASTWSI_CUDA_CHECK(cudaGetLastError());
}

}  // namespace

void affine_act_cuda(const AffineActArgs& args, int device, void* stream) {
    const DeviceGuard guard(device);
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    switch (args.dtype) {
        case DType::f16: return launch<Half, float>(args, queue);
        case DType::bf16: return launch<BFloat16, float>(args, queue);
        case DType::f64: return launch<double, double>(args, queue);
        default: return launch<float, float>(args, queue);
    }
}

}  // namespace fastwsi
