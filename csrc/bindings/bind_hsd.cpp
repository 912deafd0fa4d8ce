#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include <pybind11/stl.h>

#include "base/check.h"
#include "bindings/call.h"
#include "bindings/dlpack.h"
#include "bindings/register.h"
#include "kernels/hsd/density.h"
#include "kernels/hsd/hsd_moments.h"
#include "kernels/hsd/hsd_normalize.h"

namespace fastwsi {
namespace {

void check_pixels(const View& images) {
    FASTWSI_CHECK_TYPE(images.dtype == DType::u8, "images: got dtype ", name_of(images.dtype),
                       ", expected uint8");
    FASTWSI_CHECK(images.ndim >= 3 && images.shape[images.ndim - 1] == 3, "images: got shape ",
                  shape_text(images), ", expected (..., height, width, 3)");
}

// The grid of one image or of a whole batch: dimensions [from, ndim - 1) of the pixels, with the
// strides of a second array whose dimension d answers to `other_dim(d)`.
template <class OtherDim>
Grid<2> pixel_grid(const View& images, int from, const View* other, OtherDim other_dim) {
    Grid<2> grid;
    for (int d = from; d + 1 < images.ndim; ++d)
        grid.push(images.shape[d], {images.stride[d], other == nullptr ? 0 : other->stride[other_dim(d)]});
    grid.arrange();
    return grid;
}

HsdTransform transform_from(const double* values) {
    HsdTransform t;
    for (int i = 0; i < 9; ++i) t.weight[i] = static_cast<float>(values[i]);
    t.gain = static_cast<float>(values[9]);
    t.offset3 = static_cast<float>(3 * values[10]);
    return t;
}

void hsd_normalize(py::handle images_object, py::handle out_object, const std::vector<double>& transforms,
                   const std::array<double, 3>& scale, const std::array<double, 3>& shift,
                   std::uintptr_t stream) {
    constexpr std::size_t kValues = 11;
    const Borrowed images(images_object, "images", Access::read, stream);
    const Borrowed out(out_object, "out", Access::write, stream);
    check_pixels(images.view());
    check_same_device(images.view(), "images", out.view(), "out");
    check_no_partial_overlap(images.view(), "images", out.view(), "out");

    const int n = images->ndim;
    const bool planes = out->dtype != DType::u8;
    FASTWSI_CHECK_TYPE(is_image_output(out->dtype), "out: got dtype ", name_of(out->dtype),
                       ", expected uint8, float32, float16 or bfloat16");
    // Planes stand before height and width: dimension d of the images is d, or d + 1 from height on.
    const int channel_dim = planes ? n - 3 : n - 1;
    const auto out_dim = [&](int d) { return d < channel_dim ? d : d + 1; };
    bool fits = out->ndim == n && out->shape[channel_dim] == 3;
    for (int d = 0; fits && d + 1 < n; ++d) fits = out->shape[out_dim(d)] == images->shape[d];
    FASTWSI_CHECK(fits, "out: got shape ", shape_text(out.view()), " for images of shape ",
                  shape_text(images.view()), ", expected the same shape",
                  planes ? " with the channels before height and width" : "");

    const bool per_image = transforms.size() != kValues;
    const std::int64_t count = per_image ? images->shape[0] : 1;
    FASTWSI_CHECK(transforms.size() == kValues * static_cast<std::size_t>(count) && (!per_image || n >= 4),
                  "transforms: got ", transforms.size(), " values, expected 11, or 11 for each image");

    HsdNormalizeArgs args;
    args.grid = pixel_grid(images.view(), per_image ? 1 : 0, &out.view(), out_dim);
    args.input_channel = images->stride[n - 1];
    args.output_channel = out->stride[channel_dim];
    args.output_dtype = out->dtype;
    for (int c = 0; c < 3; ++c) {
        args.planes.scale[c] = static_cast<float>(scale[static_cast<std::size_t>(c)]);
        args.planes.shift[c] = static_cast<float>(shift[static_cast<std::size_t>(c)]);
    }
    std::vector<HsdNormalizeArgs> each(static_cast<std::size_t>(count), args);
    for (std::int64_t i = 0; i < count; ++i) {
        HsdNormalizeArgs& image = each[static_cast<std::size_t>(i)];
        image.input = static_cast<const std::uint8_t*>(images->data) + i * images->stride[0];
        image.output = static_cast<char*>(out->data) + i * out->stride[0];
        image.transform = transform_from(transforms.data() + kValues * static_cast<std::size_t>(i));
    }
    const Running running;
    if (images->device == Device::cpu) {
        hsd_normalize_cpu(each.data(), count);
    } else {
        hsd_normalize_cuda(each.data(), count, images->device_index, reinterpret_cast<void*>(stream));
    }
}

HsdMomentsArgs moments_args(const View& images, const View* mask) {
    check_pixels(images);
    HsdMomentsArgs args;
    if (mask != nullptr) {
        check_same_device(images, "images", *mask, "mask");
        FASTWSI_CHECK_TYPE(mask->dtype == DType::boolean || mask->dtype == DType::u8, "mask: got dtype ",
                           name_of(mask->dtype), ", expected bool or uint8");
        bool fits = mask->ndim == images.ndim - 1;
        for (int d = 0; fits && d < mask->ndim; ++d) fits = mask->shape[d] == images.shape[d];
        FASTWSI_CHECK(fits, "mask: got shape ", shape_text(*mask), " for images of shape ",
                      shape_text(images), ", expected the same shape without the channels");
    }
    args.grid = pixel_grid(images, 0, mask, [](int d) { return d; });
    args.input = static_cast<const std::uint8_t*>(images.data);
    args.mask = mask == nullptr ? nullptr : static_cast<const std::uint8_t*>(mask->data);
    args.input_channel = images.stride[images.ndim - 1];
    return args;
}

py::tuple tuple_from(const HsdCentral& c) {
    return py::make_tuple(c.count, c.mean[0], c.mean[1], c.mean[2], c.scatter[0], c.scatter[1], c.scatter[2],
                          c.scatter[3]);
}

struct OptionalArray {
    OptionalArray(py::handle object, const char* name, std::uintptr_t stream) {
        if (!object.is_none()) array.emplace(object, name, Access::read, stream);
    }
    const View* view() const { return array ? &array->view() : nullptr; }
    std::optional<Borrowed> array;
};

py::tuple hsd_moments(py::handle images_object, py::handle mask_object) {
    const Borrowed images(images_object, "images", Access::read, 0);
    const OptionalArray mask(mask_object, "mask", 0);
    const HsdMomentsArgs args = moments_args(images.view(), mask.view());
    FASTWSI_CHECK(images->device == Device::cpu, "images: got an array on a GPU, expected the CPU");
    HsdCentral result;
    {
        const Running running;
        result = hsd_moments_cpu(args);
    }
    return tuple_from(result);
}

// A float64 array on the GPU of at least `count` elements, as raw memory.
double* device_doubles(const Borrowed& array, const View& beside, const char* name, std::int64_t count) {
    check_same_device(beside, "images", array.view(), name);
    FASTWSI_CHECK(array->dtype == DType::f64 && array->ndim == 1 && array->shape[0] >= count &&
                      array->stride[0] == item_size(DType::f64),
                  name, ": got shape ", shape_text(array.view()), " of ", name_of(array->dtype),
                  ", expected (", count, ",) of float64, contiguous");
    return static_cast<double*>(array->data);
}

void hsd_moments_device(py::handle images_object, py::handle mask_object, py::handle workspace_object,
                        py::handle result_object, std::uintptr_t stream) {
    const Borrowed images(images_object, "images", Access::read, stream);
    const OptionalArray mask(mask_object, "mask", stream);
    const Borrowed workspace(workspace_object, "workspace", Access::write, stream);
    const Borrowed result(result_object, "result", Access::write, stream);
    const HsdMomentsArgs args = moments_args(images.view(), mask.view());
    FASTWSI_CHECK(images->device == Device::cuda, "images: got an array on the CPU, expected a GPU");
    double* const work = device_doubles(workspace, images.view(), "workspace", hsd_moments_workspace());
    double* const sums = device_doubles(result, images.view(), "result", kHsdSumsDoubles);
    const Running running;
    hsd_moments_cuda(args, work, sums, images->device_index, reinterpret_cast<void*>(stream));
}

py::tuple hsd_moments_central(const std::array<double, kHsdSumsDoubles>& values) {
    HsdSums sums;
    std::memcpy(&sums, values.data(), sizeof sums);
    return tuple_from(central(sums));
}

}  // namespace

void register_hsd(py::module_& m) {
    density_tables();  // settled before anything can fork (see bind_runtime.cpp)
    m.def("hsd_normalize", &hsd_normalize, py::arg("images"), py::arg("out"), py::arg("transforms"),
          py::arg("scale"), py::arg("shift"), py::arg("stream"));
    m.def("hsd_moments", &hsd_moments, py::arg("images"), py::arg("mask"));
    m.def("hsd_moments_device", &hsd_moments_device, py::arg("images"), py::arg("mask"), py::arg("workspace"),
          py::arg("result"), py::arg("stream"));
    m.def("hsd_moments_workspace", &hsd_moments_workspace);
    m.def("hsd_moments_central", &hsd_moments_central, py::arg("sums"));
}

}  // namespace fastwsi
