#include "base/half.h"
#include "kernels/streaming/act_gate.h"
#include "kernels/streaming/row_lines_cuda.h"

namespace fastwsi {
namespace {

template <class T>
struct Device {
    RowLines lines;
    RowArray grad, value, out;
    T slope;
};

// NaN as on the CPU: relu lets its gradient through, relu6 does not.
template <Activation kAct, class T>
__device__ __forceinline__ T gated(T grad, T value, T slope) {
    if (kAct == Activation::relu) return value <= T{0} ? T{0} : grad;
    if (kAct == Activation::relu6) return value > T{0} && value < T{6} ? grad : T{0};
    if (kAct == Activation::leaky_relu) return value > T{0} ? grad : grad * slope;
    return grad;
}

// Value is what lies in memory, T what is computed in.
template <Activation kAct, class Value, class T>
__global__ void __launch_bounds__(kRowThreads) act_gate_kernel(const __grid_constant__ Device<T> args) {
    for_row_lines(args.lines, [&](std::int64_t line, const auto& each) {
        const Value* const grad = line_of<const Value>(args.lines, args.grad, line);
        const Value* const value = line_of<const Value>(args.lines, args.value, line);
        Value* const out = line_of<Value>(args.lines, args.out, line);
        each([&](std::int64_t i, std::int64_t) {
            const T before = baseline::to_float(grad[i]), seen = baseline::to_float(value[i]);
            baseline::from_float(gated<kAct>(before, seen, args.slope), out + i);
        });
    });
}

template <Activation kAct, class Value, class T>
void launch(const ActGateArgs& args, cudaStream_t stream) {
    const RowLines lines(args.shape, {args.grad, args.value, args.out}, sizeof(Value));
    const Device<T> device = {lines, args.grad, args.value, args.out, static_cast<T>(args.slope)};
    act_gate_kernel<kAct, Value, T><<<lines.blocks(), kRowThreads, 0, stream>>>(device);
    FASTWSI_CUDA_CHECK(cudaGetLastError());
}

template <class Value, class T>
void choose(const ActGateArgs& args, cudaStream_t stream) {
    switch (args.act) {
        case Activation::none: return launch<Activation::none, Value, T>(args, stream);
        case Activation::relu: return launch<Activation::relu, Value, T>(args, stream);
        case Activation::relu6: return launch<Activation::relu6, Value, T>(args, stream);
        case Activation::leaky_relu: return launch<Activation::leaky_relu, Value, T>(args, stream);
    }
}

}  // namespace

void act_gate_cuda(const ActGateArgs& args, int device, void* stream) {
    const DeviceGuard guard(device);
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    switch (args.dtype) {
        case DType::f16: return choose<Half, float>(args, queue);
        case DType::bf16: return choose<BFloat16, float>(args, queue);
        case DType::f64: return choose<double, double>(args, queue);
        default: return choose<float, float>(args, queue);
    }
}

}  // namespace fastwsi
