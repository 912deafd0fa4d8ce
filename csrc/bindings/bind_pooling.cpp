#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <optional>

#include "base/check.h"
#include "bindings/call.h"
#include "bindings/dlpack.h"
#include "bindings/register.h"
#include "kernels/pooling/dense_pool.h"

namespace fastwsi {
namespace {

using Pair = std::array<std::int64_t, 2>;

// An axis without its steps. A stride beyond the input is its side, as there is but one window: kernels size
// their memory by strides.
PoolAxis axis_of(std::int64_t side, std::int64_t window, std::int64_t stride, const char* name) {
    FASTWSI_CHECK(window >= 1 && stride >= 1, "window and stride: got ", window, " and ", stride, " along ",
                  name, ", expected at least 1");
    FASTWSI_CHECK(window <= side, "window: got ", window, " along ", name, " of ", side,
                  ", expected at most that");
    return {side, (side - window) / stride + 1, window, stride < side ? stride : side, 0, 0};
}

PoolAxis axis_of(const View& large, const View& small, int d, std::int64_t window, std::int64_t stride,
                 const char* name) {
    PoolAxis axis = axis_of(large.shape[d], window, stride, name);
    FASTWSI_CHECK(small.shape[d] == axis.small, "out: got ", small.shape[d], " windows along ", name,
                  ", expected ", axis.small);
    axis.large_step = large.stride[d];
    axis.small_step = small.stride[d];
    return axis;
}

// `large` is read and `small` written, or the other way round: their views, and what a kernel needs to know.
DensePoolArgs arguments(const View& large, const View& small, const Pair& window, const Pair& stride) {
    const int n = large.ndim;
    FASTWSI_CHECK(n >= 2 && small.ndim == n, "x and out: got shapes ", shape_text(large), " and ",
                  shape_text(small), ", expected (..., height, width) with as many dimensions");
    FASTWSI_CHECK_TYPE(is_float(large.dtype) && small.dtype == large.dtype, "x and out: got dtypes ",
                       name_of(large.dtype), " and ", name_of(small.dtype),
                       ", expected the same of float32, float16, bfloat16 or float64");
    DensePoolArgs args = {};
    args.y = axis_of(large, small, n - 2, window[0], stride[0], "the height");
    args.x = axis_of(large, small, n - 1, window[1], stride[1], "the width");
    args.dtype = large.dtype;
    args.large = static_cast<char*>(large.data);
    args.small = static_cast<char*>(small.data);
    args.lanes = 1;
    const std::int64_t item = item_size(large.dtype);
    for (int d = 0; d + 2 < n; ++d) {
        FASTWSI_CHECK(small.shape[d] == large.shape[d], "out: got shape ", shape_text(small), ", expected ",
                      large.shape[d], " in dimension ", d);
        const bool packed = large.shape[d] > 1 && large.stride[d] == item && small.stride[d] == item;
        if (packed && args.lanes == 1) {
            args.lanes = large.shape[d];
        } else {
            args.planes.push(large.shape[d], {large.stride[d], small.stride[d]});
        }
    }
    args.planes.arrange();
    return args;
}

std::int64_t scratch_values(const DensePoolArgs& args, bool backward) {
    return args.planes.positions() * args.lanes * dense_pool_scratch(args.y, args.x, backward);
}

// scratch: float64 values on the GPU; None on the CPU.
double* scratch_of(const Borrowed* scratch, const View& beside, std::int64_t needed) {
    if (beside.device == Device::cpu) return nullptr;
    FASTWSI_CHECK(scratch != nullptr, "scratch: got None, expected memory on the GPU");
    const View& view = scratch->view();
    check_same_device(beside, "x", view, "scratch");
    FASTWSI_CHECK(view.dtype == DType::f64 && view.ndim == 1 && view.shape[0] >= needed &&
                      (view.shape[0] < 2 || view.stride[0] == item_size(DType::f64)),
                  "scratch: got ", name_of(view.dtype), " of shape ", shape_text(view), ", expected ", needed,
                  " packed float64 values");
    return static_cast<double*>(view.data);
}

template <bool kBackward>
void pool(py::handle read_object, py::handle written_object, const Pair& window, const Pair& stride,
          const py::object& scratch_object, std::uintptr_t stream) {
    const char* const read_name = kBackward ? "grad" : "x";
    const Borrowed read(read_object, read_name, Access::read, stream);
    const Borrowed written(written_object, "out", Access::write, stream);
    check_same_device(read.view(), read_name, written.view(), "out");
    check_no_overlap(read.view(), read_name, written.view(), "out");
    DensePoolArgs args = kBackward ? arguments(written.view(), read.view(), window, stride)
                                   : arguments(read.view(), written.view(), window, stride);
    if (args.planes.positions() * args.lanes == 0) return;
    std::optional<Borrowed> scratch;
    if (!scratch_object.is_none()) scratch.emplace(scratch_object, "scratch", Access::write, stream);
    args.scratch = scratch_of(scratch ? &*scratch : nullptr, read.view(), scratch_values(args, kBackward));
    const Running running;
    if (read->device == Device::cpu) {
        kBackward ? dense_pool_backward_cpu(args) : dense_pool_cpu(args);
    } else {
        void* const queue = reinterpret_cast<void*>(stream);
        kBackward ? dense_pool_backward_cuda(args, read->device_index, queue)
                  : dense_pool_cuda(args, read->device_index, queue);
    }
}

// float64 values that `scratch` must hold for planes of this size.
std::int64_t scratch_size(std::int64_t planes, const Pair& size, const Pair& window, const Pair& stride,
                          bool backward) {
    return planes * dense_pool_scratch(axis_of(size[0], window[0], stride[0], "the height"),
                                       axis_of(size[1], window[1], stride[1], "the width"), backward);
}

}  // namespace

void register_pooling(py::module_& m) {
    m.def("dense_pool", &pool<false>, py::arg("x"), py::arg("out"), py::arg("window"), py::arg("stride"),
          py::arg("scratch"), py::arg("stream"));
    m.def("dense_pool_backward", &pool<true>, py::arg("grad"), py::arg("out"), py::arg("window"),
          py::arg("stride"), py::arg("scratch"), py::arg("stream"));
    m.def("dense_pool_scratch", &scratch_size, py::arg("planes"), py::arg("size"), py::arg("window"),
          py::arg("stride"), py::arg("backward"));
}

}  // namespace fastwsi
