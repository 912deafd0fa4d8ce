#include <pybind11/stl.h>

#include <vector>

#include "base/check.h"
#include "bindings/call.h"
#include "bindings/dlpack.h"
#include "bindings/register.h"
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

}  // namespace

void register_pixels(py::module_& m) {
    m.def("scale_shift", &scale_shift, py::arg("x"), py::arg("out"), py::arg("scale"), py::arg("shift"),
          py::arg("stream"));
}

}  // namespace fastwsi
