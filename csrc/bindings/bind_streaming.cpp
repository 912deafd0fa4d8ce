#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include <pybind11/stl.h>

#include "base/check.h"
#include "bindings/call.h"
#include "bindings/dlpack.h"
#include "bindings/register.h"
#include "kernels/streaming/act_gate.h"
#include "kernels/streaming/affine_act.h"
#include "kernels/streaming/max_pool.h"
#include "kernels/streaming/move_rows.h"

namespace fastwsi {
namespace {

using Pair = std::array<std::int64_t, 2>;

RowShape shape_of(const View& view, const char* name, bool channels_last) {
    FASTWSI_CHECK(view.ndim == 4, name, ": got shape ", shape_text(view),
                  ", expected (images, channels, height, width)");
    return {view.shape[0], view.shape[1], view.shape[2], view.shape[3], channels_last};
}

// The array's place in memory, where its lines are packed in the layout given.
RowArray rows_of(const View& view, const char* name, const RowShape& shape) {
    const RowShape own = shape_of(view, name, shape.channels_last);
    FASTWSI_CHECK(own.images == shape.images && own.channels == shape.channels &&
                      own.height == shape.height && own.width == shape.width,
                  name, ": got shape ", shape_text(view), ", expected (", shape.images, ", ", shape.channels,
                  ", ", shape.height, ", ", shape.width, ")");
    const std::int64_t item = item_size(view.dtype);
    const std::int64_t across = shape.channels_last ? shape.channels * item : item;
    const bool packed = (shape.width < 2 || view.stride[3] == across) &&
                        (!shape.channels_last || shape.channels < 2 || view.stride[1] == item);
    FASTWSI_CHECK(packed, name, ": got a line with gaps, expected ",
                  shape.channels_last ? "channels" : "columns", " side by side");
    return {static_cast<char*>(view.data), view.stride[0], view.stride[1], view.stride[2]};
}

// float32 or float64; on a GPU 16-bit floats too, where `narrow`.
void check_real(const View& view, const char* name, bool narrow = false) {
    const bool known = view.dtype == DType::f32 || view.dtype == DType::f64 ||
                       (narrow && view.device != Device::cpu && is_float(view.dtype));
    FASTWSI_CHECK_TYPE(known, name, ": got dtype ", name_of(view.dtype), ", expected float32 or float64");
}

void check_on_cpu(const View& view, const char* name) {
    FASTWSI_CHECK(view.device == Device::cpu, name, ": got an array on a GPU, expected one on the CPU");
}

void check_dtype(const View& view, const char* name, DType dtype) {
    FASTWSI_CHECK_TYPE(view.dtype == dtype, name, ": got dtype ", name_of(view.dtype), ", expected ",
                       name_of(dtype));
}

// A packed value for each channel.
void* channel_values(const View& view, const char* name, std::int64_t channels, DType dtype) {
    check_dtype(view, name, dtype);
    FASTWSI_CHECK(
        view.ndim == 1 && view.shape[0] == channels && (channels < 2 || view.stride[0] == item_size(dtype)),
        name, ": got shape ", shape_text(view), ", expected (", channels, ",), packed");
    return view.data;
}

Activation activation_of(const std::string& name) {
    if (name == "none") return Activation::none;
    if (name == "relu") return Activation::relu;
    if (name == "relu6") return Activation::relu6;
    FASTWSI_CHECK(name == "leaky_relu", "act: got ", name, ", expected none, relu, relu6 or leaky_relu");
    return Activation::leaky_relu;
}

void affine_act(py::handle x_object, const py::object& scale_object, const py::object& shift_object,
                const py::object& residual_object, py::handle out_object, const std::string& act,
                double slope, bool contract, bool channels_last, std::uintptr_t stream) {
    const Borrowed x(x_object, "x", Access::read, stream);
    const Borrowed out(out_object, "out", Access::write, stream);
    check_real(x.view(), "x", true);
    check_dtype(out.view(), "out", x->dtype);
    check_same_device(x.view(), "x", out.view(), "out");
    check_no_partial_overlap(x.view(), "x", out.view(), "out");
    AffineActArgs args = {};
    args.shape = shape_of(x.view(), "x", channels_last);
    args.dtype = x->dtype;
    args.x = rows_of(x.view(), "x", args.shape);
    args.out = rows_of(out.view(), "out", args.shape);
    std::optional<Borrowed> residual, scale, shift;
    if (!residual_object.is_none()) {
        residual.emplace(residual_object, "residual", Access::read, stream);
        check_dtype(residual->view(), "residual", x->dtype);
        check_same_device(x.view(), "x", residual->view(), "residual");
        check_no_partial_overlap(residual->view(), "residual", out.view(), "out");
        args.residual = rows_of(residual->view(), "residual", args.shape);
    }
    if (!scale_object.is_none()) {
        scale.emplace(scale_object, "scale", Access::read, stream);
        shift.emplace(shift_object, "shift", Access::read, stream);
        check_same_device(x.view(), "x", scale->view(), "scale");
        check_same_device(x.view(), "x", shift->view(), "shift");
        const DType wide = x->dtype == DType::f64 ? DType::f64 : DType::f32;
        args.scale = channel_values(scale->view(), "scale", args.shape.channels, wide);
        args.shift = channel_values(shift->view(), "shift", args.shape.channels, wide);
    }
    args.act = activation_of(act);
    args.slope = slope;
    args.contract = contract;
    if (x->size() == 0) return;
    const Running running;
    if (x->device == Device::cpu) {
        affine_act_cpu(args);
    } else {
        affine_act_cuda(args, x->device_index, reinterpret_cast<void*>(stream));
    }
}

void act_gate(py::handle grad_object, py::handle value_object, py::handle out_object,
              const py::object& sums_object, const std::string& act, double slope, bool channels_last,
              std::uintptr_t stream) {
    const Borrowed grad(grad_object, "grad", Access::read, stream);
    const Borrowed value(value_object, "value", Access::read, stream);
    const Borrowed out(out_object, "out", Access::write, stream);
    check_real(grad.view(), "grad", true);
    check_dtype(value.view(), "value", grad->dtype);
    check_dtype(out.view(), "out", grad->dtype);
    check_same_device(grad.view(), "grad", value.view(), "value");
    check_same_device(grad.view(), "grad", out.view(), "out");
    check_no_partial_overlap(grad.view(), "grad", out.view(), "out");
    check_no_partial_overlap(value.view(), "value", out.view(), "out");
    ActGateArgs args = {};
    args.shape = shape_of(grad.view(), "grad", channels_last);
    args.dtype = grad->dtype;
    args.grad = rows_of(grad.view(), "grad", args.shape);
    args.value = rows_of(value.view(), "value", args.shape);
    args.out = rows_of(out.view(), "out", args.shape);
    std::optional<Borrowed> sums;
    if (!sums_object.is_none()) {
        check_on_cpu(grad.view(), "grad");
        sums.emplace(sums_object, "sums", Access::write, stream);
        check_on_cpu(sums->view(), "sums");
        args.sums =
            static_cast<double*>(channel_values(sums->view(), "sums", args.shape.channels, DType::f64));
    }
    args.act = activation_of(act);
    args.slope = slope;
    if (grad->size() == 0) return;
    const Running running;
    if (grad->device == Device::cpu) {
        act_gate_cpu(args);
    } else {
        act_gate_cuda(args, grad->device_index, reinterpret_cast<void*>(stream));
    }
}

MaxPoolAxis axis_of(std::int64_t size, std::int64_t pooled, std::int64_t before, std::int64_t after,
                    std::int64_t kernel, std::int64_t stride, std::int64_t dilation, const char* name) {
    constexpr std::int64_t kMost = std::int64_t{1} << 30;  // no product of two of them overflows
    FASTWSI_CHECK(size < kMost && before >= 0 && after >= 0 && before < kMost && after < kMost, "pads: got ",
                  before, " and ", after, " around ", size, " cells along ", name,
                  ", expected at least 0 and at most ", kMost);
    FASTWSI_CHECK(
        kernel >= 1 && stride >= 1 && dilation >= 1 && kernel <= 255 && stride < kMost && dilation < kMost,
        "kernel, stride and dilation: got ", kernel, ", ", stride, " and ", dilation, " along ", name,
        ", expected at least 1");
    const std::int64_t room = size + before + after - dilation * (kernel - 1) - 1;
    FASTWSI_CHECK(pooled == (room < 0 ? 0 : room / stride + 1), "y: got ", pooled, " windows along ", name,
                  ", expected ", room < 0 ? 0 : room / stride + 1);
    return {before, kernel, stride, dilation};
}

// pads: left, right, top, bottom. kernel, stride, dilation: (y, x). Backward, `large` is added to.
template <bool kBackward>
void max_pool(py::handle large_object, py::handle small_object, py::handle index_object,
              const std::array<std::int64_t, 4>& pads, const Pair& kernel, const Pair& stride,
              const Pair& dilation, bool channels_last, std::uintptr_t stream) {
    const char* const large_name = kBackward ? "out" : "x";
    const char* const small_name = kBackward ? "grad" : "y";
    const Borrowed large(large_object, large_name, kBackward ? Access::write : Access::read, stream);
    const Borrowed small(small_object, small_name, kBackward ? Access::read : Access::write, stream);
    const Borrowed index(index_object, "index", kBackward ? Access::read : Access::write, stream);
    check_real(large.view(), large_name, true);
    check_same_device(large.view(), large_name, small.view(), small_name);
    check_same_device(large.view(), large_name, index.view(), "index");
    check_dtype(small.view(), small_name, large->dtype);
    check_dtype(index.view(), "index", DType::u8);
    check_no_overlap(large.view(), large_name, small.view(), small_name);
    check_no_overlap(large.view(), large_name, index.view(), "index");
    check_no_overlap(small.view(), small_name, index.view(), "index");
    FASTWSI_CHECK(kernel[0] <= 255 && kernel[1] <= 255 && kernel[0] * kernel[1] <= 255, "kernel: got ",
                  kernel[0], " x ", kernel[1], ", expected at most 255 places");
    MaxPoolArgs args = {};
    args.slab = shape_of(large.view(), large_name, channels_last);
    args.pooled = shape_of(small.view(), small_name, channels_last);
    FASTWSI_CHECK(args.pooled.images == args.slab.images && args.pooled.channels == args.slab.channels,
                  small_name, ": got shape ", shape_text(small.view()), ", expected ", args.slab.images,
                  " images of ", args.slab.channels, " channels");
    args.dtype = large->dtype;
    args.y = axis_of(args.slab.height, args.pooled.height, pads[2], pads[3], kernel[0], stride[0],
                     dilation[0], "the height");
    args.x = axis_of(args.slab.width, args.pooled.width, pads[0], pads[1], kernel[1], stride[1], dilation[1],
                     "the width");
    args.large = rows_of(large.view(), large_name, args.slab);
    args.small = rows_of(small.view(), small_name, args.pooled);
    args.index = rows_of(index.view(), "index", args.pooled);
    if (large->size() == 0 || small->size() == 0) return;
    const Running running;
    if (large->device == Device::cpu) {
        kBackward ? max_pool_backward_cpu(args) : max_pool_cpu(args);
    } else {
        void* const queue = reinterpret_cast<void*>(stream);
        kBackward ? max_pool_backward_cuda(args, large->device_index, queue)
                  : max_pool_cuda(args, large->device_index, queue);
    }
}

void move_rows(py::handle buffer_object, std::int64_t source, std::int64_t target, std::int64_t count,
               bool channels_last) {
    const Borrowed buffer(buffer_object, "buffer", Access::write, 0);
    check_on_cpu(buffer.view(), "buffer");
    MoveRowsArgs args = {};
    args.shape = shape_of(buffer.view(), "buffer", channels_last);
    args.buffer = rows_of(buffer.view(), "buffer", args.shape);
    args.item = item_size(buffer->dtype);
    const std::int64_t height = args.shape.height;
    FASTWSI_CHECK(count >= 0 && count <= height && source >= 0 && source <= height - count && target >= 0 &&
                      target <= height - count,
                  "source, target and count: got ", source, ", ", target, " and ", count,
                  ", expected rows within ", height);
    args.source = source;
    args.target = target;
    args.count = count;
    if (buffer->size() == 0) return;
    const Running running;
    move_rows_cpu(args);
}

}  // namespace

void register_streaming(py::module_& m) {
    m.def("row_affine_act", &affine_act, py::arg("x"), py::arg("scale"), py::arg("shift"),
          py::arg("residual"), py::arg("out"), py::arg("act"), py::arg("slope"), py::arg("contract"),
          py::arg("channels_last"), py::arg("stream"));
    m.def("row_act_gate", &act_gate, py::arg("grad"), py::arg("value"), py::arg("out"), py::arg("sums"),
          py::arg("act"), py::arg("slope"), py::arg("channels_last"), py::arg("stream"));
    m.def("row_max_pool", &max_pool<false>, py::arg("x"), py::arg("y"), py::arg("index"), py::arg("pads"),
          py::arg("kernel"), py::arg("stride"), py::arg("dilation"), py::arg("channels_last"),
          py::arg("stream"));
    m.def("row_max_pool_backward", &max_pool<true>, py::arg("out"), py::arg("grad"), py::arg("index"),
          py::arg("pads"), py::arg("kernel"), py::arg("stride"), py::arg("dilation"),
          py::arg("channels_last"), py::arg("stream"));
    m.def("move_rows", &move_rows, py::arg("buffer"), py::arg("source"), py::arg("target"), py::arg("count"),
          py::arg("channels_last"));
}

}  // namespace fastwsi
