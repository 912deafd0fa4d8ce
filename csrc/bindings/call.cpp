#include "bindings/call.h"

#include <cstdint>
#include <string>

#include "base/check.h"

namespace fastwsi {
namespace {

struct Extent {
    std::uintptr_t begin, end;
};

Extent extent_of(const View& view) {
    std::int64_t low = 0, high = item_size(view.dtype);
    for (int d = 0; d < view.ndim; ++d)
        (view.stride[d] < 0 ? low : high) += (view.shape[d] - 1) * view.stride[d];
    const auto base = reinterpret_cast<std::intptr_t>(view.data);
    return {static_cast<std::uintptr_t>(base + low), static_cast<std::uintptr_t>(base + high)};
}

bool same_layout(const View& a, const View& b) {
    if (a.data != b.data || a.ndim != b.ndim || a.dtype != b.dtype) return false;
    for (int d = 0; d < a.ndim; ++d)
        if (a.shape[d] != b.shape[d] || (a.shape[d] > 1 && a.stride[d] != b.stride[d])) return false;
    return true;
}

// torch.utils.data.get_worker_info() is not None, without importing torch.
bool in_dataloader_worker() {
    static PyObject* get_worker_info = nullptr;  // guarded by the GIL; a module function, kept for good
    if (get_worker_info == nullptr) {
        PyObject* modules = PyImport_GetModuleDict();
        PyObject* module = PyDict_GetItemString(modules, "torch.utils.data");
        if (module == nullptr) return false;
        get_worker_info = PyObject_GetAttrString(module, "get_worker_info");
        if (get_worker_info == nullptr) {  // the module is still being imported
            PyErr_Clear();
            return false;
        }
    }
    PyObject* info = PyObject_CallNoArgs(get_worker_info);
    if (info == nullptr) {
        PyErr_Clear();
        return false;
    }
    Py_DECREF(info);
    return info != Py_None;
}

}  // namespace

std::string shape_text(const View& view) {
    std::string text = "(";
    for (int d = 0; d < view.ndim; ++d) text += (d > 0 ? ", " : "") + std::to_string(view.shape[d]);
    return text + (view.ndim == 1 ? ",)" : ")");
}

void check_same_device(const View& a, const char* a_name, const View& b, const char* b_name) {
    const auto text = [](const View& v) {
        return v.device == Device::cpu ? std::string("cpu") : join("cuda:", v.device_index);
    };
    FASTWSI_CHECK(a.device == b.device && a.device_index == b.device_index, b_name, ": got an array on ",
                  text(b), ", expected ", text(a), ", where ", a_name, " is");
}

void check_no_partial_overlap(const View& a, const char* a_name, const View& b, const char* b_name) {
    if (a.size() == 0 || b.size() == 0 || a.device != b.device || same_layout(a, b)) return;
    const Extent x = extent_of(a), y = extent_of(b);
    FASTWSI_CHECK(x.end <= y.begin || y.end <= x.begin, b_name, ": lies in the same memory range as ", a_name,
                  "; expected separate memory, or the same array for work in place");
}

void check_no_overlap(const View& a, const char* a_name, const View& b, const char* b_name) {
    if (a.size() == 0 || b.size() == 0 || a.device != b.device) return;
    const Extent x = extent_of(a), y = extent_of(b);
    FASTWSI_CHECK(x.end <= y.begin || y.end <= x.begin, b_name, ": lies in the same memory range as ", a_name,
                  "; expected memory of its own");
}

int effective_threads() {
    const int threads = num_threads();
    return threads > 1 && !num_threads_set_here() && in_dataloader_worker() ? 1 : threads;
}

}  // namespace fastwsi
