#include <pybind11/stl.h>

#include <array>
#include <vector>

#include "base/check.h"
#include "bindings/call.h"
#include "bindings/dlpack.h"
#include "bindings/register.h"
#include "kernels/pixels/area_resize.h"
#include "kernels/pixels/scale_shift.h"

namespace fastwsi {
namespace {

void scale_shift(py::handle x_object, py::handle out_object, const std::vector<double>& scale,
                 const std::vector<double>& shift, std::uintptr_t stream) {
    const Borrowed x(x_object, "x", Access::read, stream);
    const Borrowed out(out_object, "out", Access::write, stream);
    check_same_device(x.view(), "x", out.view(), "out");
    check_no_partial_overlap(x.view(), "x", out.view(), "out");
    FASTWSI_CHECK_TYPE(is_float(x->dtype), "x: got dtype ", name_of(x->dtype),
                       ", expected float32, float16, bfloat16 or float64");
    FASTWSI_CHECK_TYPE(out->dtype == x->dtype, "out: got dtype ", name_of(out->dtype), ", expected ",
                       name_of(x->dtype), ", the dtype of x");
    FASTWSI_CHECK(x->ndim >= 2, "x: got shape ", shape_text(x.view()), ", expected (batch, channels, ...)");
    bool fits = out->ndim == x->ndim;
    for (int d = 0; fits && d < x->ndim; ++d) fits = out->shape[d] == x->shape[d];
    FASTWSI_CHECK(fits, "out: got shape ", shape_text(out.view()), ", expected ", shape_text(x.view()));
    const std::int64_t channels = x->shape[1];
    FASTWSI_CHECK(channels <= kMaxChannels, "x: got ", channels, " channels, expected at most ",
                  kMaxChannels);
    FASTWSI_CHECK(static_cast<std::int64_t>(scale.size()) == channels &&
                      static_cast<std::int64_t>(shift.size()) == channels,
                  "scale and shift: got ", scale.size(), " and ", shift.size(), " values, expected ",
                  channels, ", one per channel");

    ScaleShiftArgs args;
    args.grid.push(x->shape[0], {x->stride[0], out->stride[0]});
    for (int d = 2; d < x->ndim; ++d) args.grid.push(x->shape[d], {x->stride[d], out->stride[d]});
    args.grid.arrange();
    args.input = x->data;
    args.output = out->data;
    args.dtype = x->dtype;
    args.channels = static_cast<int>(channels);
    args.input_channel = x->stride[1];
    args.output_channel = out->stride[1];
    for (std::size_t c = 0; c < scale.size(); ++c) {
        args.scale[c] = scale[c];
        args.shift[c] = shift[c];
    }
    const Running running;
    if (x->device == Device::cpu) {
        scale_shift_cpu(args);
    } else {
        scale_shift_cuda(args, x->device_index, reinterpret_cast<void*>(stream));
    }
}

void check_picture(const View& view, const char* name) {
    FASTWSI_CHECK_TYPE(view.dtype == DType::u8, name, ": got dtype ", name_of(view.dtype),
                       ", expected uint8");
    FASTWSI_CHECK(view.ndim == 3 && view.shape[2] >= 1 && view.shape[2] <= 4, name, ": got shape ",
                  shape_text(view), ", expected (height, width, channels) with 1 to 4 channels");
    const bool packed = view.size() == 0 || ((view.shape[2] == 1 || view.stride[2] == 1) &&
                                             (view.shape[1] <= 1 || view.stride[1] == view.shape[2]));
    FASTWSI_CHECK(packed, name, ": got pixels apart from each other, expected rows without gaps");
}

void area_resize(py::handle image_object, py::handle out_object, const std::array<double, 2>& origin,
                 const std::array<double, 2>& scale, std::uintptr_t stream) {
    const Borrowed image(image_object, "image", Access::read, stream);
    const Borrowed out(out_object, "out", Access::write, stream);
    check_same_device(image.view(), "image", out.view(), "out");
    check_no_overlap(image.view(), "image", out.view(), "out");
    check_picture(image.view(), "image");
    check_picture(out.view(), "out");
    FASTWSI_CHECK(image->shape[2] == out->shape[2], "out: got ", out->shape[2], " channels, expected ",
                  image->shape[2]);
    if (out->size() == 0) return;
    for (std::size_t axis = 0; axis < 2; ++axis) {
        const double size = static_cast<double>(image->shape[1 - static_cast<int>(axis)]);
        const double outputs = static_cast<double>(out->shape[1 - static_cast<int>(axis)]);
        // Rounding moves the last box's end, and tiny boxes look at the pixel next to them.
        FASTWSI_CHECK(scale[axis] > 0 && scale[axis] <= kLargestAreaScale, "scale: got ", scale[axis],
                      ", expected more than 0 and at most ", kLargestAreaScale);
        FASTWSI_CHECK(origin[axis] >= 0 && origin[axis] + outputs * scale[axis] <= size + 1e-3,
                      "origin, scale: got ", outputs, " boxes of ", scale[axis], " from ", origin[axis],
                      " on, expected them within ", size, " pixels");
    }
    AreaResizeArgs args = {};
    args.input = static_cast<const std::uint8_t*>(image->data);
    args.input_height = image->shape[0];
    args.input_width = image->shape[1];
    args.input_row = image->stride[0];
    args.output = static_cast<std::uint8_t*>(out->data);
    args.output_height = out->shape[0];
    args.output_width = out->shape[1];
    args.output_row = out->stride[0];
    args.channels = static_cast<int>(image->shape[2]);
    args.origin_x = origin[0];
    args.origin_y = origin[1];
    args.scale_x = scale[0];
    args.scale_y = scale[1];
    const Running running;
    if (image->device == Device::cpu) {
        area_resize_cpu(args);
    } else {
        area_resize_cuda(args, image->device_index, reinterpret_cast<void*>(stream));
    }
}

}  // namespace

void register_pixels(py::module_& m) {
    m.def("area_resize", &area_resize, py::arg("image"), py::arg("out"), py::arg("origin"), py::arg("scale"),
          py::arg("stream"));
    m.def("scale_shift", &scale_shift, py::arg("x"), py::arg("out"), py::arg("scale"), py::arg("shift"),
          py::arg("stream"));
}

}  // namespace fastwsi
