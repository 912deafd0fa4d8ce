#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/check.h"
#include "bindings/augment_table.h"
#include "bindings/call.h"
#include "bindings/dlpack.h"
#include "bindings/register.h"
#include "kernels/augment/warp.h"

namespace fastwsi {
namespace {

// Numbers of the geometry, as kernels/warp.py lists them.
enum Geometry : std::size_t {
    kWidth,
    kHeight,
    kFirstColumn,
    kEndColumn,
    kFirstRow,
    kEndRow,
    kSourceX,
    kSourceY,
    kFullWidth,
    kFullHeight,
    kGeometry,
};

void set_displacement(const View& nodes, const View& source, WarpMap& map) {
    check_same_device(source, "source", nodes, "displacement");
    const bool packed = nodes.ndim == 3 && nodes.shape[2] == 2 && nodes.stride[2] == 8 &&
                        nodes.stride[1] == 16 && nodes.stride[0] == 16 * nodes.shape[1];
    FASTWSI_CHECK(nodes.dtype == DType::f64 && packed && nodes.shape[0] >= 2 && nodes.shape[1] >= 2,
                  "displacement: got shape ", shape_text(nodes), " of ", name_of(nodes.dtype),
                  ", expected (rows, columns, 2) of float64, contiguous");
    map.displacement = static_cast<const double*>(nodes.data);
    map.grid_rows = nodes.shape[0];
    map.grid_columns = nodes.shape[1];
}

void warp(py::handle source_object, py::handle out_object, const std::array<double, 6>& matrix,
          py::handle displacement_object, bool cubic, bool bilinear,
          const std::array<std::int64_t, kGeometry>& geometry, const std::vector<int>& fill,
          bool channels_first, py::handle table_object, std::uintptr_t stream) {
    const Borrowed source(source_object, "source", Access::read, stream);
    const Borrowed out(out_object, "out", Access::write, stream);
    const Borrowed table(table_object, "table", Access::read, 0);
    check_same_device(source.view(), "source", out.view(), "out");
    check_no_overlap(source.view(), "source", out.view(), "out");
    FASTWSI_CHECK_TYPE(source->dtype == DType::u8, "source: got dtype ", name_of(source->dtype),
                       ", expected uint8");
    FASTWSI_CHECK(source->ndim == 2 || (source->ndim == 3 && source->shape[2] == 3), "source: got shape ",
                  shape_text(source.view()), ", expected (height, width, 3) or (height, width)");
    FASTWSI_CHECK_TYPE(is_image_output(out->dtype), "out: got dtype ", name_of(out->dtype),
                       ", expected uint8, float32, float16 or bfloat16");

    WarpArgs args = {};
    for (int i = 0; i < 6; ++i) args.map.matrix[i] = matrix[static_cast<std::size_t>(i)];
    std::optional<Borrowed> displacement;
    if (!displacement_object.is_none()) {
        displacement.emplace(displacement_object, "displacement", Access::read, stream);
        set_displacement(displacement->view(), source.view(), args.map);
    }
    args.map.cubic = cubic;
    args.map.width = geometry[kWidth];
    args.map.height = geometry[kHeight];
    args.source = static_cast<const std::uint8_t*>(source->data);
    args.source_row = source->stride[0];
    args.source_column = source->stride[1];
    args.channels = source->ndim == 3 ? 3 : 1;
    args.source_channel = source->ndim == 3 ? source->stride[2] : 0;
    args.source_x = geometry[kSourceX];
    args.source_y = geometry[kSourceY];
    args.source_width = source->shape[1];
    args.source_height = source->shape[0];
    args.full_width = geometry[kFullWidth];
    args.full_height = geometry[kFullHeight];
    args.bilinear = bilinear;
    FASTWSI_CHECK(fill.size() == static_cast<std::size_t>(args.channels), "fill: got ", fill.size(),
                  " values, expected ", args.channels);
    for (std::size_t c = 0; c < fill.size(); ++c) args.fill[c] = static_cast<std::uint8_t>(fill[c]);
    args.x0 = geometry[kFirstColumn];
    args.x1 = geometry[kEndColumn];
    args.y0 = geometry[kFirstRow];
    args.y1 = geometry[kEndRow];

    const bool planes = source->ndim == 3 && channels_first;
    const int row = planes ? 1 : 0, column = row + 1, channel = planes ? 0 : 2;
    FASTWSI_CHECK(out->ndim == source->ndim && out->shape[row] == args.y1 - args.y0 &&
                      out->shape[column] == args.x1 - args.x0 &&
                      (source->ndim == 2 || out->shape[channel] == 3),
                  "out: got shape ", shape_text(out.view()), ", expected ", args.y1 - args.y0, " rows and ",
                  args.x1 - args.x0, " columns");
    args.output = out->data;
    args.dtype = out->dtype;
    args.row = out->stride[row];
    args.column = out->stride[column];
    args.channel = source->ndim == 3 ? out->stride[channel] : 0;
    args.colour = colour_from(table_rows(table.view(), 1));
    const Running running;
    if (source->device == Device::cpu) {
        warp_cpu(args);
    } else {
        warp_cuda(args, source->device_index, reinterpret_cast<void*>(stream));
    }
}

}  // namespace

void register_warp(py::module_& m) {
    m.def("warp", &warp, py::arg("source"), py::arg("out"), py::arg("matrix"), py::arg("displacement"),
          py::arg("cubic"), py::arg("bilinear"), py::arg("geometry"), py::arg("fill"),
          py::arg("channels_first"), py::arg("table"), py::arg("stream"));
}

}  // namespace fastwsi
