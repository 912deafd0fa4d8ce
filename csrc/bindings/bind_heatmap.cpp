#include <pybind11/stl.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "bindings/call.h"
#include "bindings/dlpack.h"
#include "bindings/register.h"
#include "kernels/heatmap/nms.h"

namespace fastwsi {
namespace {

NmsRegion region_from(double radius, const std::string& shape) {
    FASTWSI_CHECK(std::isfinite(radius) && radius >= 0, "radius: got ", radius,
                  ", expected a finite number >= 0");
    FASTWSI_CHECK(shape == "disc" || shape == "square" || shape == "square_halfopen", "shape: got '", shape,
                  "', expected 'disc', 'square' or 'square_halfopen'");
    return baseline::nms_region(radius, shape == "disc"     ? NmsShape::disc
                                        : shape == "square" ? NmsShape::square
                                                            : NmsShape::square_halfopen);
}

void check_sides(std::int64_t height, std::int64_t width) {
    FASTWSI_CHECK(height >= 0 && width >= 0 && height <= kNmsMaxSide && width <= kNmsMaxSide, "heatmap: got ",
                  height, " x ", width, " cells, expected sides from 0 to ", kNmsMaxSide);
}

// The number of the dtype nearest to x, ties to even.
double rounded(double x, DType dtype) {
    if (dtype == DType::f64) return x;
    const float nearest = static_cast<float>(x);
    if (dtype == DType::f32) return nearest;
    // Cut off to float32 with an odd last bit where anything was lost, so that the second rounding sees on
    // which side of a tie x lies.
    std::uint32_t bits = baseline::bits_of(nearest);
    if (std::fabs(static_cast<double>(nearest)) > std::fabs(x)) --bits;
    if (static_cast<double>(nearest) != x) bits |= 1u;
    const float odd = baseline::float_from(bits);
    if (dtype == DType::f16) {
        Half half;
        baseline::from_float(odd, &half);
        return baseline::to_float(half);
    }
    BFloat16 brain;
    baseline::from_float(odd, &brain);
    return baseline::to_float(brain);
}

double rounded_threshold(double threshold, const std::string& dtype_name) {
    FASTWSI_CHECK(!std::isnan(threshold), "threshold: got nan, expected a number");
    for (const DType dtype : {DType::f16, DType::bf16, DType::f32, DType::f64})
        if (dtype_name == name_of(dtype)) return rounded(threshold, dtype);
    FASTWSI_CHECK(false, "dtype_name: got '", dtype_name,
                  "', expected 'float16', 'bfloat16', 'float32' or 'float64'");
    return 0;
}

NmsArgs args_from(const View& map, double radius, double threshold, const std::string& shape) {
    FASTWSI_CHECK_TYPE(is_float(map.dtype), "heatmap: got dtype ", name_of(map.dtype),
                       ", expected float32, float16, bfloat16 or float64");
    FASTWSI_CHECK(map.ndim == 3, "heatmap: got shape ", shape_text(map), ", expected (N, height, width)");
    check_sides(map.shape[1], map.shape[2]);
    FASTWSI_CHECK(!std::isnan(threshold), "threshold: got nan, expected a number");
    NmsArgs args = {};
    args.map = map.data;
    args.dtype = map.dtype;
    args.maps = map.shape[0];
    args.height = map.shape[1];
    args.width = map.shape[2];
    args.map_stride = map.stride[0];
    args.row_stride = map.stride[1];
    args.column_stride = map.stride[2];
    args.region = region_from(radius, shape);
    args.threshold = rounded(threshold, map.dtype);
    return args;
}

// Detections of a batch, on the way into arrays that Python allocates once it knows how many they are.
class Detections {
  public:
    Detections(NmsLists lists, DType dtype) : lists_(std::move(lists)), dtype_(dtype) {}

    std::vector<std::int64_t> counts() const {
        std::vector<std::int64_t> n;
        for (const auto& list : lists_) n.push_back(static_cast<std::int64_t>(list.size()));
        return n;
    }

    // Writes the detections of a map to arrays of one length; what is longer is filled up with -1, -1, 0.
    void fill(std::int64_t index, py::handle x_object, py::handle y_object, py::handle score_object) const {
        FASTWSI_CHECK(index >= 0 && index < static_cast<std::int64_t>(lists_.size()), "index: got ", index,
                      ", expected 0 to ", lists_.size(), " - 1");
        const auto& list = lists_[static_cast<std::size_t>(index)];
        const Borrowed x(x_object, "x", Access::write, 0);
        const Borrowed y(y_object, "y", Access::write, 0);
        const Borrowed score(score_object, "score", Access::write, 0);
        const std::int64_t count = static_cast<std::int64_t>(list.size());
        const std::int64_t length = x->ndim == 1 ? x->shape[0] : count;
        check_column(x.view(), "x", DType::i64, length);
        check_column(y.view(), "y", DType::i64, length);
        check_column(score.view(), "score", dtype_, length);
        FASTWSI_CHECK(length >= count, "x: got length ", length, ", expected at least ", count);
        const std::size_t item = static_cast<std::size_t>(item_size(dtype_));
        for (std::int64_t i = 0; i < length; ++i) {
            const bool there = i < count;
            const NmsDetection found = there ? list[static_cast<std::size_t>(i)] : NmsDetection{};
            put(x.view(), i, there ? baseline::nms_column(found.place) : -1);
            put(y.view(), i, there ? baseline::nms_row(found.place) : -1);
            std::memcpy(static_cast<char*>(score->data) + i * score->stride[0], &found.score, item);
        }
    }

    void fill_counts(py::handle count_object) const {
        const Borrowed count(count_object, "count", Access::write, 0);
        check_column(count.view(), "count", DType::i64, static_cast<std::int64_t>(lists_.size()));
        for (std::size_t m = 0; m < lists_.size(); ++m)
            put(count.view(), static_cast<std::int64_t>(m), static_cast<std::int64_t>(lists_[m].size()));
    }

  private:
    static void check_column(const View& view, const char* name, DType dtype, std::int64_t length) {
        FASTWSI_CHECK_TYPE(view.dtype == dtype, name, ": got dtype ", name_of(view.dtype), ", expected ",
                           name_of(dtype));
        FASTWSI_CHECK(view.device == Device::cpu && view.ndim == 1 && view.shape[0] == length, name,
                      ": got shape ", shape_text(view), ", expected (", length, ",) on the CPU");
    }
    static void put(const View& view, std::int64_t i, std::int64_t value) {
        std::memcpy(static_cast<char*>(view.data) + i * view.stride[0], &value, sizeof value);
    }

    NmsLists lists_;
    DType dtype_;
};

Detections nms(py::handle map_object, double radius, double threshold, const std::string& shape,
               std::int64_t max_points) {
    const Borrowed map(map_object, "heatmap", Access::read, 0);
    FASTWSI_CHECK(map->device == Device::cpu, "heatmap: got an array on a GPU, expected the CPU");
    FASTWSI_CHECK(max_points >= 0, "max_points: got ", max_points, ", expected at least 0");
    const NmsArgs args = args_from(map.view(), radius, threshold, shape);
    NmsLists lists;
    {
        const Running running;
        lists = nms_cpu(args, max_points);
    }
    return {std::move(lists), map->dtype};
}

// The pointer of a device array that is packed and of this shape.
void* packed_on_device(const View& array, const char* name, DType dtype, const View& map,
                       const std::vector<std::int64_t>& shape) {
    check_same_device(map, "heatmap", array, name);
    check_no_overlap(map, "heatmap", array, name);
    FASTWSI_CHECK_TYPE(array.dtype == dtype, name, ": got dtype ", name_of(array.dtype), ", expected ",
                       name_of(dtype));
    bool fits = array.ndim == static_cast<int>(shape.size());
    std::int64_t stride = item_size(dtype);
    for (int d = array.ndim - 1; fits && d >= 0; --d) {
        const std::int64_t length = shape[static_cast<std::size_t>(d)];
        fits = array.shape[d] == length && (array.size() == 0 || length == 1 || array.stride[d] == stride);
        stride *= length;
    }
    std::string wanted;
    for (const std::int64_t length : shape) wanted += (wanted.empty() ? "" : ", ") + std::to_string(length);
    FASTWSI_CHECK(fits, name, ": got shape ", shape_text(array), ", expected (", wanted, "), packed");
    return array.data;
}

void nms_device(py::handle map_object, double radius, double threshold, const std::string& shape,
                py::handle keys_object, py::handle count_object, py::handle scratch_object,
                std::uintptr_t stream) {
    const Borrowed map(map_object, "heatmap", Access::read, stream);
    const Borrowed keys(keys_object, "keys", Access::write, stream);
    const Borrowed count(count_object, "count", Access::write, stream);
    const Borrowed scratch(scratch_object, "scratch", Access::write, stream);
    FASTWSI_CHECK(map->device == Device::cuda, "heatmap: got an array on the CPU, expected a GPU");
    const NmsArgs args = args_from(map.view(), radius, threshold, shape);
    NmsDevice out = {};
    out.capacity = baseline::nms_most(args.height, args.width, args.region);
    out.order = static_cast<std::int64_t*>(
        packed_on_device(keys.view(), "keys", DType::i64, map.view(), {2, args.maps, out.capacity}));
    out.place = out.order + args.maps * out.capacity;
    out.count = static_cast<std::int64_t*>(
        packed_on_device(count.view(), "count", DType::i64, map.view(), {args.maps}));
    out.scratch =
        packed_on_device(scratch.view(), "scratch", DType::u8, map.view(), {nms_scratch_bytes(args)});
    FASTWSI_CHECK(reinterpret_cast<std::uintptr_t>(out.scratch) % 16 == 0,
                  "scratch: expected memory aligned to 16 bytes");
    const Running running;
    nms_cuda(args, out, map->device_index, reinterpret_cast<void*>(stream));
}

void nms_read_device(py::handle map_object, py::handle place_object, py::handle x_object, py::handle y_object,
                     py::handle score_object, py::handle count_object, std::uintptr_t stream) {
    const Borrowed map(map_object, "heatmap", Access::read, stream);
    const Borrowed place(place_object, "place", Access::read, stream);
    const Borrowed x(x_object, "x", Access::write, stream);
    const Borrowed y(y_object, "y", Access::write, stream);
    const Borrowed score(score_object, "score", Access::write, stream);
    const Borrowed count(count_object, "count", Access::write, stream);
    FASTWSI_CHECK(map->device == Device::cuda, "heatmap: got an array on the CPU, expected a GPU");
    FASTWSI_CHECK(place->ndim == 2 && x->ndim == 2 && x->shape[1] <= place->shape[1], "x: got shape ",
                  shape_text(x.view()), " for places of shape ", shape_text(place.view()),
                  ", expected (N, at most as many)");
    const NmsArgs args = args_from(map.view(), 0, 0, "disc");
    NmsRead read = {};
    read.capacity = place->shape[1];
    read.length = x->shape[1];
    read.place = static_cast<const std::int64_t*>(
        packed_on_device(place.view(), "place", DType::i64, map.view(), {args.maps, read.capacity}));
    const auto column = [&](const Borrowed& array, const char* name, DType dtype) {
        return packed_on_device(array.view(), name, dtype, map.view(), {args.maps, read.length});
    };
    read.x = static_cast<std::int64_t*>(column(x, "x", DType::i64));
    read.y = static_cast<std::int64_t*>(column(y, "y", DType::i64));
    read.score = column(score, "score", args.dtype);
    read.count = static_cast<std::int64_t*>(
        packed_on_device(count.view(), "count", DType::i64, map.view(), {args.maps}));
    const Running running;
    nms_read_cuda(args, read, map->device_index, reinterpret_cast<void*>(stream));
}

std::int64_t scratch_bytes(std::int64_t maps, std::int64_t height, std::int64_t width, double radius,
                           const std::string& shape) {
    check_sides(height, width);
    FASTWSI_CHECK(maps >= 0, "maps: got ", maps, ", expected at least 0");
    NmsArgs args = {};
    args.maps = maps;
    args.height = height;
    args.width = width;
    args.region = region_from(radius, shape);
    return nms_scratch_bytes(args);
}

}  // namespace

void register_heatmap(py::module_& m) {
    // An ordinary class to Python's eyes, as the type stubs have it.
    py::class_<Detections>(m, "NmsResult", py::metaclass(reinterpret_cast<PyObject*>(&PyType_Type)))
        .def_property_readonly("counts", &Detections::counts)
        .def("fill", &Detections::fill, py::arg("index"), py::arg("x"), py::arg("y"), py::arg("score"))
        .def("fill_counts", &Detections::fill_counts, py::arg("count"));
    m.def("nms", &nms, py::arg("heatmap"), py::arg("radius"), py::arg("threshold"), py::arg("shape"),
          py::arg("max_points"));
    m.def("nms_device", &nms_device, py::arg("heatmap"), py::arg("radius"), py::arg("threshold"),
          py::arg("shape"), py::arg("keys"), py::arg("count"), py::arg("scratch"), py::arg("stream"));
    m.def("nms_read_device", &nms_read_device, py::arg("heatmap"), py::arg("place"), py::arg("x"),
          py::arg("y"), py::arg("score"), py::arg("count"), py::arg("stream"));
    m.def("nms_scratch_bytes", &scratch_bytes, py::arg("maps"), py::arg("height"), py::arg("width"),
          py::arg("radius"), py::arg("shape"));
    m.def("rounded_threshold", &rounded_threshold, py::arg("threshold"), py::arg("dtype_name"));
    m.def(
        "nms_capacity",
        [](std::int64_t height, std::int64_t width, double radius, const std::string& shape) {
            check_sides(height, width);
            return baseline::nms_most(height, width, region_from(radius, shape));
        },
        py::arg("height"), py::arg("width"), py::arg("radius"), py::arg("shape"));
}

}  // namespace fastwsi
