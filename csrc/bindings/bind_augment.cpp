#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/orientation.h"
#include "bindings/augment_table.h"
#include "bindings/call.h"
#include "bindings/dlpack.h"
#include "bindings/register.h"
#include "kernels/augment/augment_patches.h"

namespace fastwsi {
namespace {

// The images as one plane each: a single array (N, H, W, 3), or a list of arrays (H, W, 3).
class Sources {
  public:
    Sources(py::handle images, std::uintptr_t stream) {
        if (py::isinstance<py::list>(images)) {
            for (const py::handle image : py::reinterpret_borrow<py::list>(images))
                borrowed_.push_back(std::make_unique<Borrowed>(image, "images", Access::read, stream));
            count_ = static_cast<std::int64_t>(borrowed_.size());
        } else {
            borrowed_.push_back(std::make_unique<Borrowed>(images, "images", Access::read, stream));
            const View& batch = borrowed_.front()->view();
            FASTWSI_CHECK(batch.ndim == 4, "images: got shape ", shape_text(batch),
                          ", expected (N, height, width, 3)");
            whole_ = true;
            count_ = batch.shape[0];
        }
        for (const auto& each : borrowed_) {
            const View& view = each->view();
            FASTWSI_CHECK_TYPE(view.dtype == DType::u8, "images: got dtype ", name_of(view.dtype),
                               ", expected uint8");
            FASTWSI_CHECK(view.ndim == (whole_ ? 4 : 3) && view.shape[view.ndim - 1] == 3,
                          "images: got shape ", shape_text(view), ", expected height, width, 3 at the end");
        }
    }

    std::int64_t count() const { return count_; }
    // Any one of the arrays; null where there is none.
    const View* any() const { return borrowed_.empty() ? nullptr : &borrowed_.front()->view(); }
    void check_beside(const View& out) const {
        for (const auto& each : borrowed_) {
            check_same_device(each->view(), "images", out, "out");
            check_no_overlap(each->view(), "images", out, "out");
        }
    }

    // Image i without its batch dimension.
    View operator[](std::int64_t i) const {
        if (!whole_) return borrowed_[static_cast<std::size_t>(i)]->view();
        const View& batch = borrowed_.front()->view();
        View image = batch;
        image.ndim = 3;
        image.data = static_cast<char*>(batch.data) + i * batch.stride[0];
        for (int d = 0; d < 3; ++d) {
            image.shape[d] = batch.shape[d + 1];
            image.stride[d] = batch.stride[d + 1];
        }
        return image;
    }

  private:
    std::vector<std::unique_ptr<Borrowed>> borrowed_;
    bool whole_ = false;
    std::int64_t count_ = 0;
};

// Folds crop and orientation into a pointer and strides.
Patch patch_from(const View& image, const double* row, const PatchLayout& layout, std::int64_t i) {
    const int k = static_cast<int>(row[kOrientation]);
    FASTWSI_CHECK(k >= 0 && k < 8, "image ", i, ": orientation: got ", k, ", expected 0 to 7");
    const std::int64_t x = static_cast<std::int64_t>(row[kOriginX]);
    const std::int64_t y = static_cast<std::int64_t>(row[kOriginY]);
    const std::int64_t height = transposes(k) ? layout.width : layout.height;
    const std::int64_t width = transposes(k) ? layout.height : layout.width;
    FASTWSI_CHECK(x >= 0 && y >= 0 && x <= image.shape[1] - width && y <= image.shape[0] - height, "image ",
                  i, ": crop: got ", width, " x ", height, " pixels from (", x, ", ", y,
                  "), expected to lie within the image's ", image.shape[1], " x ", image.shape[0]);
    const Plane plane = oriented(height, width, image.stride[0], image.stride[1], k);
    Patch patch = {};
    patch.source = static_cast<const std::uint8_t*>(image.data) + y * image.stride[0] + x * image.stride[1] +
                   plane.offset;
    patch.row = plane.stride_y;
    patch.column = plane.stride_x;
    patch.channel = image.stride[2];
    patch.colour = colour_from(row);
    return patch;
}

void augment_patches(py::handle images_object, py::handle out_object, bool channels_first,
                     py::handle table_object, py::handle workspace_object, std::uintptr_t stream) {
    const Sources images(images_object, stream);
    const Borrowed out(out_object, "out", Access::write, stream);
    const Borrowed table(table_object, "table", Access::read, 0);
    images.check_beside(out.view());
    FASTWSI_CHECK_TYPE(is_image_output(out->dtype), "out: got dtype ", name_of(out->dtype),
                       ", expected float32, float16, bfloat16 or uint8");
    const int channel = channels_first ? 1 : 3, y = channels_first ? 2 : 1, x = channels_first ? 3 : 2;
    FASTWSI_CHECK(out->ndim == 4 && out->shape[0] == images.count() && out->shape[channel] == 3,
                  "out: got shape ", shape_text(out.view()), ", expected (", images.count(),
                  channels_first ? ", 3, height, width)" : ", height, width, 3)");
    const double* const rows = table_rows(table.view(), images.count());

    PatchLayout layout;
    layout.height = out->shape[y];
    layout.width = out->shape[x];
    layout.dtype = out->dtype;
    layout.row = out->stride[y];
    layout.column = out->stride[x];
    layout.channel = out->stride[channel];
    std::vector<Patch> patches;
    patches.reserve(static_cast<std::size_t>(images.count()));
    for (std::int64_t i = 0; i < images.count(); ++i) {
        patches.push_back(patch_from(images[i], rows + i * kTableColumns, layout, i));
        patches.back().output = static_cast<char*>(out->data) + i * out->stride[0];
    }
    if (out->device == Device::cpu) {
        const Running running;
        augment_patches_cpu(layout, patches.data(), images.count());
        return;
    }
    std::unique_ptr<const Borrowed> workspace;
    if (!workspace_object.is_none()) {
        workspace = std::make_unique<Borrowed>(workspace_object, "workspace", Access::write, stream);
        check_same_device(out.view(), "out", workspace->view(), "workspace");
        const std::int64_t needed = augment_patches_workspace(layout, images.count());
        FASTWSI_CHECK(
            (*workspace)->dtype == DType::f64 && (*workspace)->ndim == 1 && (*workspace)->shape[0] >= needed,
            "workspace: got shape ", shape_text(workspace->view()), ", expected (", needed, ",) of float64");
    }
    for (const Patch& patch : patches)
        FASTWSI_CHECK(workspace || (patch.colour.steps & kContrastStep) == 0 ||
                          (patch.colour.steps & kContrastMeanGiven) != 0,
                      "workspace: got None, expected memory for the means");
    const Running running;
    augment_patches_cuda(layout, patches.data(), images.count(),
                         workspace ? static_cast<double*>((*workspace)->data) : nullptr, out->device_index,
                         reinterpret_cast<void*>(stream));
}

std::int64_t workspace_size(std::int64_t count, std::int64_t height, std::int64_t width) {
    PatchLayout layout = {};
    layout.height = height;
    layout.width = width;
    return augment_patches_workspace(layout, count);
}

}  // namespace

void register_augment(py::module_& m) {
    m.def("augment_patches", &augment_patches, py::arg("images"), py::arg("out"), py::arg("channels_first"),
          py::arg("table"), py::arg("workspace"), py::arg("stream"));
    m.def("augment_patches_workspace", &workspace_size, py::arg("count"), py::arg("height"),
          py::arg("width"));
}

}  // namespace fastwsi
