#include "base/cuda.h"
#include "kernels/pooling/dense_pool.h"
#include "kernels/pooling/dense_pool_math.h"

// Two passes in either direction, down the columns and then across the rows, each by threads that own a run
// of windows along the axis: as many as a window has strides, so that every stride is read twice, whatever
// the window. Between the passes the sums stay float64. See dense_pool_tiles.h for how runs make subtraction
// needless.

namespace fastwsi {
namespace {

constexpr int kThreads = 256;

using baseline::narrow;
using baseline::widened;

// An axis as its threads see it: value i is at data + i * step (bytes).
template <class T>
struct Line {
    const char* data;
    std::int64_t step;

    __device__ double operator[](std::int64_t i) const {
        return widened(*reinterpret_cast<const T*>(data + i * step));
    }
    __device__ double sum(std::int64_t first, std::int64_t count) const {
        double total = (*this)[first];
        for (std::int64_t i = 1; i < count; ++i) total += (*this)[first + i];
        return total;
    }
};

// Calls emit(k, values(k) + ... + values(k + length - 1)) for the windows k of the run that begins at `run`,
// where k < count. kept[k * step] is memory of window k, which emit may write.
template <class Values, class Emit>
__device__ void slide(std::int64_t run, std::int64_t length, std::int64_t count, double* kept,
                      std::int64_t step, const Values& values, const Emit& emit) {
    const std::int64_t left = count - run, end = left < length ? left : length;
    double sum = values(run + length - 1);
    for (std::int64_t i = length - 2; i >= 0; --i) {
        if (i + 1 < end) kept[(run + i + 1) * step] = sum;
        sum = values(run + i) + sum;
    }
    emit(run, sum);
    if (end < 2) return;
    sum = values(run + length);
    for (std::int64_t i = 1;; ++i) {
        emit(run + i, kept[(run + i) * step] + sum);
        if (i + 1 == end) return;
        sum += values(run + length + i);
    }
}

// The windows of one run along a line of the input. out[k * out_step] (bytes) = their sums * factor.
template <class In, class Out>
__device__ void pool_run(const PoolAxis& axis, const Line<In>& line, std::int64_t run, char* out,
                         std::int64_t out_step, double factor, double* kept, std::int64_t kept_step) {
    const std::int64_t whole = axis.whole(), rest = axis.rest(), stride = axis.stride;
    const auto finish = [&](std::int64_t k, double sum) {
        if (rest > 0 && whole > 0) sum += line.sum((k + whole) * stride, rest);
        narrow(sum * factor, reinterpret_cast<Out*>(out + k * out_step));
    };
    if (whole == 0) return finish(run, line.sum(run * stride, rest));
    slide(
        run, whole, axis.small, kept, kept_step, [&](std::int64_t k) { return line.sum(k * stride, stride); },
        finish);
}

// The gradient of strides, from that of windows: others[k * step] for the positions of stride k from `rest`
// on, and where rest > 0, others[k * step + first] for those before.
template <class In>
__device__ void spread_run(const PoolAxis& axis, const Line<In>& line, std::int64_t run, double* others,
                           std::int64_t step, std::int64_t first) {
    const std::int64_t whole = axis.whole();
    const auto value = [&](std::int64_t k) { return k >= 0 && k < axis.small ? line[k] : 0.0; };
    const auto finish = [&](std::int64_t k, double sum) {
        others[k * step] = sum;
        if (axis.rest() > 0) others[k * step + first] = sum + value(k - whole);
    };
    if (whole == 0) return finish(run, 0.0);
    slide(
        run, whole, axis.strides(), others, step, [&](std::int64_t k) { return value(k - whole + 1); },
        finish);
}

__device__ std::int64_t plane_offset(const Grid<2>& planes, std::int64_t plane, int array) {
    std::int64_t offset[2];
    planes.row_offsets(plane / planes.columns(), offset);
    return offset[array] + plane % planes.columns() * planes.column_stride(array);
}

FASTWSI_HOST_DEVICE std::int64_t runs_of(const PoolAxis& axis, std::int64_t count) {
    const std::int64_t whole = axis.whole() > 0 ? axis.whole() : 1;
    return (count - 1) / whole + 1;
}

// A thread's place: a position of `inner` (fastest), a run, one of `outer`. False where there is none.
struct Place {
    std::int64_t inner, run, outer;
};

__device__ bool place_of(std::int64_t inner, std::int64_t runs, std::int64_t outer, Place* place) {
    const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (i >= inner * runs * outer) return false;
    *place = {i % inner, i / inner % runs, i / inner / runs};
    return true;
}

__device__ std::int64_t first_of(const PoolAxis& axis, std::int64_t run) {
    return run * (axis.whole() > 0 ? axis.whole() : 1);
}

// Forward, down: sums[plane][window][column][lane].
template <class T>
__global__ void __launch_bounds__(kThreads) pool_down(const __grid_constant__ DensePoolArgs args) {
    const std::int64_t inner = args.x.large * args.lanes;
    Place at;
    if (!place_of(inner, runs_of(args.y, args.y.small), args.planes.positions(), &at)) return;
    const std::int64_t column = at.inner / args.lanes, lane = at.inner % args.lanes;
    const char* const from = args.large + plane_offset(args.planes, at.outer, 0) +
                             column * args.x.large_step + lane * static_cast<std::int64_t>(sizeof(T));
    double* const to = args.scratch + at.outer * args.y.small * inner + at.inner;
    pool_run<T, double>(args.y, {from, args.y.large_step}, first_of(args.y, at.run),
                        reinterpret_cast<char*>(to), inner * static_cast<std::int64_t>(sizeof(double)), 1.0,
                        to, inner);
}

// Forward, across: the output.
template <class T>
__global__ void __launch_bounds__(kThreads) pool_across(const __grid_constant__ DensePoolArgs args) {
    const std::int64_t lanes = args.lanes, rows = args.planes.positions() * args.y.small;
    Place at;
    if (!place_of(lanes, runs_of(args.x, args.x.small), rows, &at)) return;
    const double* const from = args.scratch + at.outer * args.x.large * lanes + at.inner;
    double* const kept =
        args.scratch + rows * args.x.large * lanes + at.outer * args.x.small * lanes + at.inner;
    char* const to = args.small + plane_offset(args.planes, at.outer / args.y.small, 1) +
                     at.outer % args.y.small * args.y.small_step +
                     at.inner * static_cast<std::int64_t>(sizeof(T));
    const double factor = 1.0 / (static_cast<double>(args.y.window) * static_cast<double>(args.x.window));
    pool_run<double, T>(
        args.x, {reinterpret_cast<const char*>(from), lanes * static_cast<std::int64_t>(sizeof(double))},
        first_of(args.x, at.run), to, args.x.small_step, factor, kept, lanes);
}

FASTWSI_HOST_DEVICE std::int64_t kinds_of(const PoolAxis& axis) { return axis.rest() > 0 ? 2 : 1; }

// Backward, down: sums[plane][stride][kind][column of windows][lane].
template <class T>
__global__ void __launch_bounds__(kThreads) spread_down(const __grid_constant__ DensePoolArgs args) {
    const std::int64_t inner = args.x.small * args.lanes, strides = args.y.strides();
    Place at;
    if (!place_of(inner, runs_of(args.y, strides), args.planes.positions(), &at)) return;
    const std::int64_t column = at.inner / args.lanes, lane = at.inner % args.lanes;
    const char* const from = args.small + plane_offset(args.planes, at.outer, 1) +
                             column * args.x.small_step + lane * static_cast<std::int64_t>(sizeof(T));
    const std::int64_t kinds = kinds_of(args.y);
    spread_run<T>(args.y, {from, args.y.small_step}, first_of(args.y, at.run),
                  args.scratch + at.outer * strides * kinds * inner + at.inner, kinds * inner, inner);
}

// Backward, across: sums[plane][stride][kind][stride across][kind across][lane], behind those of the pass
// before.
__global__ void __launch_bounds__(kThreads) spread_across(const __grid_constant__ DensePoolArgs args) {
    const std::int64_t lanes = args.lanes, strides = args.x.strides(), kinds = kinds_of(args.x);
    const std::int64_t rows = args.planes.positions() * args.y.strides() * kinds_of(args.y);
    Place at;
    if (!place_of(lanes, runs_of(args.x, strides), rows, &at)) return;
    const double* const from = args.scratch + at.outer * args.x.small * lanes + at.inner;
    double* const to =
        args.scratch + rows * args.x.small * lanes + at.outer * strides * kinds * lanes + at.inner;
    spread_run<double>(
        args.x, {reinterpret_cast<const char*>(from), lanes * static_cast<std::int64_t>(sizeof(double))},
        first_of(args.x, at.run), to, kinds * lanes, lanes);
}

// Backward, last: every position takes its stride's value. A block takes whole rows.
template <class T>
__global__ void __launch_bounds__(kThreads) spread_out(const __grid_constant__ DensePoolArgs args) {
    const std::int64_t lanes = args.lanes, columns = args.x.strides() * kinds_of(args.x);
    // 32 bits where every value is divided: dense_pool_backward_cuda has checked that they do.
    const unsigned width = static_cast<unsigned>(lanes), values = static_cast<unsigned>(args.x.large * lanes);
    const unsigned stride = static_cast<unsigned>(args.x.stride), rest = static_cast<unsigned>(args.x.rest());
    const unsigned across_kinds = static_cast<unsigned>(kinds_of(args.x));
    const std::int64_t down = args.y.strides() * kinds_of(args.y);
    const double* const sums = args.scratch + args.planes.positions() * down * args.x.small * lanes;
    const double factor = 1.0 / (static_cast<double>(args.y.window) * static_cast<double>(args.x.window));
    for (std::int64_t row = blockIdx.x; row < args.planes.positions() * args.y.large; row += gridDim.x) {
        const std::int64_t plane = row / args.y.large, y = row % args.y.large;
        const std::int64_t kind = y % args.y.stride < args.y.rest() ? 1 : 0;
        const std::int64_t source = y / args.y.stride * kinds_of(args.y) + kind;
        const double* const from = sums + (plane * down + source) * columns * lanes;
        char* const to = args.large + plane_offset(args.planes, plane, 0) + y * args.y.large_step;
        for (unsigned i = threadIdx.x; i < values; i += kThreads) {
            const unsigned x = width == 1 ? i : i / width, lane = i - x * width;
            const unsigned k = x / stride, across = x - k * stride < rest ? 1 : 0;
            const double value = from[std::int64_t{k * across_kinds + across} * lanes + lane];
            narrow(value * factor, reinterpret_cast<T*>(to + x * args.x.large_step +
                                                        lane * static_cast<std::int64_t>(sizeof(T))));
        }
    }
}

unsigned blocks_for(std::int64_t threads) {
    const std::int64_t blocks = (threads - 1) / kThreads + 1;
    FASTWSI_CHECK(blocks < INT32_MAX, "x: got ", threads, " columns and rows to add up, expected fewer than ",
                  std::int64_t{INT32_MAX} * kThreads);
    return static_cast<unsigned>(blocks);
}

template <class T>
void launch_forward(const DensePoolArgs& args, cudaStream_t stream) {
    const std::int64_t planes = args.planes.positions();
    const std::int64_t down = planes * runs_of(args.y, args.y.small) * args.x.large * args.lanes;
    const std::int64_t across = planes * args.y.small * runs_of(args.x, args.x.small) * args.lanes;
    pool_down<T><<<blocks_for(down), kThreads, 0, stream>>>(args);
    FASTWSI_CUDA_CHECK(cudaGetLastError());
    pool_across<T><<<blocks_for(across), kThreads, 0, stream>>>(args);
    FASTWSI_CUDA_CHECK(cudaGetLastError());
}

template <class T>
void launch_backward(const DensePoolArgs& args, int processors, cudaStream_t stream) {
    const std::int64_t planes = args.planes.positions(), rows = planes * args.y.large;
    const std::int64_t down = planes * runs_of(args.y, args.y.strides()) * args.x.small * args.lanes;
    const std::int64_t across =
        planes * args.y.strides() * kinds_of(args.y) * runs_of(args.x, args.x.strides()) * args.lanes;
    spread_down<T><<<blocks_for(down), kThreads, 0, stream>>>(args);
    FASTWSI_CUDA_CHECK(cudaGetLastError());
    spread_across<<<blocks_for(across), kThreads, 0, stream>>>(args);
    FASTWSI_CUDA_CHECK(cudaGetLastError());
    const std::int64_t limit = std::int64_t{processors} * 32;
    spread_out<T><<<static_cast<unsigned>(rows < limit ? rows : limit), kThreads, 0, stream>>>(args);
    FASTWSI_CUDA_CHECK(cudaGetLastError());
}

}  // namespace

void dense_pool_cuda(const DensePoolArgs& args, int device, void* stream) {
    const DeviceGuard guard(device);
    if (args.planes.positions() * args.lanes == 0) return;
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    switch (args.dtype) {
        case DType::f16: return launch_forward<Half>(args, queue);
        case DType::bf16: return launch_forward<BFloat16>(args, queue);
        case DType::f64: return launch_forward<double>(args, queue);
        default: return launch_forward<float>(args, queue);
    }
}

void dense_pool_backward_cuda(const DensePoolArgs& args, int device, void* stream) {
    const DeviceGuard guard(device);
    if (args.planes.positions() * args.lanes == 0) return;
    FASTWSI_CHECK(args.x.large * args.lanes < INT32_MAX && args.x.stride < INT32_MAX, "x: got rows of ",
                  args.x.large * args.lanes, " values, expected fewer than ", INT32_MAX, " on a GPU");
    const int processors = multiprocessors(device);
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    switch (args.dtype) {
        case DType::f16: return launch_backward<Half>(args, processors, queue);
        case DType::bf16: return launch_backward<BFloat16>(args, processors, queue);
        case DType::f64: return launch_backward<double>(args, processors, queue);
        default: return launch_backward<float>(args, processors, queue);
    }
}

}  // namespace fastwsi
