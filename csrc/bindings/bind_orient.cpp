#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/orientation.h"
#include "bindings/call.h"
#include "bindings/dlpack.h"
#include "bindings/register.h"
#include "kernels/augment/orient.h"
#include "kernels/augment/orient_mean.h"

namespace fastwsi {
namespace {

// Axes whose elements lie side by side in every one of N arrays, taken together from the innermost out:
// they travel as one unit of at most `limit` bytes. Marks them in `used`; returns the unit's bytes.
template <int N>
std::int64_t gather_unit(const View* const (&arrays)[N], bool (&used)[kMaxDims], std::int64_t limit) {
    const View& first = *arrays[0];
    std::int64_t unit = item_size(first.dtype);
    for (bool grown = true; grown;) {
        grown = false;
        for (int d = 0; d < first.ndim; ++d) {
            bool joins = !used[d] && unit * first.shape[d] <= limit;
            for (int a = 0; a < N && joins; ++a) joins = first.shape[d] == 1 || arrays[a]->stride[d] == unit;
            if (!joins) continue;
            unit *= first.shape[d];
            used[d] = grown = true;
        }
    }
    return unit;
}

// The axes not yet used, as a grid.
template <int N>
Grid<N> grid_of_rest(const View* const (&arrays)[N], const bool (&used)[kMaxDims]) {
    Grid<N> grid;
    for (int d = 0; d < arrays[0]->ndim; ++d) {
        if (used[d]) continue;
        std::int64_t strides[N];
        for (int a = 0; a < N; ++a) strides[a] = arrays[a]->stride[d];
        grid.push(arrays[0]->shape[d], strides);
    }
    grid.arrange();
    return grid;
}

void check_axes(const View& view, int row_axis, int column_axis) {
    FASTWSI_CHECK(row_axis >= 0 && column_axis >= 0 && row_axis < view.ndim && column_axis < view.ndim &&
                      row_axis != column_axis,
                  "axes: got ", row_axis, " and ", column_axis, " of ", view.ndim,
                  " dimensions, expected two different ones");
}

// Whether `view` has the shape of `like`, with the plane's axes exchanged where `turned`.
bool fits(const View& view, const View& like, int row_axis, int column_axis, bool turned) {
    if (view.ndim != like.ndim) return false;
    for (int d = 0; d < view.ndim; ++d) {
        const int from = !turned ? d : d == row_axis ? column_axis : d == column_axis ? row_axis : d;
        if (view.shape[d] != like.shape[from]) return false;
    }
    return true;
}

// Nothing here works in place: what is written may still be wanted elsewhere.
void check_apart(const View& read, const char* name, const View& out) {
    FASTWSI_CHECK(read.size() == 0 || read.data != out.data, "out: got the memory of ", name,
                  ", expected an array of its own");
    check_no_partial_overlap(read, name, out, "out");
}

void orient(py::handle images_object, py::handle out_object, const std::vector<std::uint8_t>& orientations,
            int row_axis, int column_axis, std::uintptr_t stream) {
    const Borrowed images(images_object, "images", Access::read, stream);
    const Borrowed out(out_object, "out", Access::write, stream);
    const View &in = images.view(), &to = out.view();
    check_same_device(in, "images", to, "out");
    check_apart(in, "images", to);
    FASTWSI_CHECK_TYPE(in.dtype == to.dtype, "out: got dtype ", name_of(to.dtype), ", expected ",
                       name_of(in.dtype), ", the dtype of images");
    check_axes(in, row_axis, column_axis);
    for (const std::uint8_t k : orientations)
        FASTWSI_CHECK(k < kOrientations, "k: got ", int{k}, ", expected 0 to 7");
    const bool shared = orientations.size() == 1;
    FASTWSI_CHECK(shared || (row_axis != 0 && column_axis != 0 &&
                             static_cast<std::int64_t>(orientations.size()) == in.shape[0]),
                  "k: got ", orientations.size(), " orientations for images of shape ", shape_text(in),
                  ", expected one, or one for each along the first axis");
    for (const std::uint8_t k : orientations)
        FASTWSI_CHECK(fits(to, in, row_axis, column_axis, transposes(k)), "out: got shape ", shape_text(to),
                      " for orientation ", int{k}, " of images of shape ", shape_text(in),
                      ", expected the oriented shape");
    if (in.size() == 0) return;

    const View* const arrays[2] = {&in, &to};
    bool used[kMaxDims] = {};
    used[row_axis] = used[column_axis] = true;
    if (!shared) used[0] = true;
    OrientArgs args;
    args.unit = gather_unit(arrays, used, INT64_MAX);
    args.outer = grid_of_rest(arrays, used);
    args.input = static_cast<const char*>(in.data);
    args.output = static_cast<char*>(to.data);
    args.height = in.shape[row_axis];
    args.width = in.shape[column_axis];
    args.input_y = in.stride[row_axis];
    args.input_x = in.stride[column_axis];
    args.output_y = to.stride[row_axis];
    args.output_x = to.stride[column_axis];
    args.orientations = orientations.data();
    args.images = static_cast<std::int64_t>(orientations.size());
    args.input_image = in.stride[0];
    args.output_image = to.stride[0];
    const Running running;
    if (in.device == Device::cpu) {
        orient_cpu(args);
    } else {
        orient_cuda(args, in.device_index, reinterpret_cast<void*>(stream));
    }
}

// row_axis < 0: predictions without a plane, which every orientation leaves as they are.
void orient_mean(const std::vector<py::object>& predictions, py::handle out_object, int row_axis,
                 int column_axis, std::uintptr_t stream) {
    FASTWSI_CHECK(predictions.size() == kOrientations, "predictions: got ", predictions.size(),
                  ", expected 8");
    std::array<std::optional<Borrowed>, kOrientations> borrowed;
    const Borrowed out(out_object, "out", Access::write, stream);
    const View* arrays[kOrientations + 1];
    const bool plane = row_axis >= 0;
    if (plane) check_axes(out.view(), row_axis, column_axis);
    for (int k = 0; k < kOrientations; ++k) {
        const std::string name = join("predictions[", k, "]");
        borrowed[k].emplace(predictions[k], name.c_str(), Access::read, stream);
        const View& view = borrowed[k]->view();
        check_same_device(out.view(), "out", view, name.c_str());
        check_apart(view, name.c_str(), out.view());
        FASTWSI_CHECK_TYPE(view.dtype == out->dtype, name, ": got dtype ", name_of(view.dtype), ", expected ",
                           name_of(out->dtype), ", the dtype of the others");
        FASTWSI_CHECK(fits(view, out.view(), row_axis, column_axis, plane && transposes(k)), name,
                      ": got shape ", shape_text(view), " for a mean of shape ", shape_text(out.view()),
                      ", expected the shape of its orientation");
        arrays[k] = &view;
    }
    arrays[kOrientations] = &out.view();
    FASTWSI_CHECK_TYPE(is_float(out->dtype), "predictions: got dtype ", name_of(out->dtype),
                       ", expected float32, float16, bfloat16 or float64");
    if (out->size() == 0) return;

    const View* const(&all)[kOrientations + 1] = arrays;
    bool used[kMaxDims] = {};
    OrientMeanArgs args;
    args.dtype = out->dtype;
    args.mean = static_cast<char*>(out->data);
    args.values = 1;
    args.height = args.width = 1;
    for (int a = 0; a <= kOrientations; ++a) {
        args.y[a] = args.x[a] = 0;
        if (a < kOrientations) args.prediction[a] = static_cast<const char*>(arrays[a]->data);
    }
    if (plane) {
        used[row_axis] = used[column_axis] = true;
        const std::int64_t item = item_size(args.dtype);
        args.values = gather_unit(all, used, kOrientMeanValues * item) / item;
        args.height = out->shape[row_axis];
        args.width = out->shape[column_axis];
        for (int a = 0; a <= kOrientations; ++a) {
            const View& view = *arrays[a];
            const int back = a < kOrientations ? inverse_orientation(a) : 0;
            const Plane seen = oriented(view.shape[row_axis], view.shape[column_axis], view.stride[row_axis],
                                        view.stride[column_axis], back);
            if (a < kOrientations) args.prediction[a] += seen.offset;
            args.y[a] = seen.stride_y;
            args.x[a] = seen.stride_x;
        }
        args.outer = grid_of_rest(all, used);
    } else {  // the innermost axis of the grid stands in for a row of the plane
        args.outer = grid_of_rest(all, used);
        args.width = args.outer.columns();
        for (int a = 0; a <= kOrientations; ++a) args.x[a] = args.outer.column_stride(a);
        if (args.outer.ndim > 0) --args.outer.ndim;
    }
    const Running running;
    if (out->device == Device::cpu) {
        orient_mean_cpu(args);
    } else {
        orient_mean_cuda(args, out->device_index, reinterpret_cast<void*>(stream));
    }
}

}  // namespace

void register_orient(py::module_& m) {
    m.def("orient", &orient, py::arg("images"), py::arg("out"), py::arg("orientations"), py::arg("row_axis"),
          py::arg("column_axis"), py::arg("stream"));
    m.def("orient_mean", &orient_mean, py::arg("predictions"), py::arg("out"), py::arg("row_axis"),
          py::arg("column_axis"), py::arg("stream"));
}

}  // namespace fastwsi
