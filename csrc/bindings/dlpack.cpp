#include "bindings/dlpack.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/check.h"

namespace fastwsi {
namespace {

using dlpack::DataType;

bool exchange_api_enabled = true;  // guarded by the GIL

std::string dtype_text(const DataType& t) {
    static constexpr const char* kNames[] = {"int", "uint", "float", "handle", "bfloat", "complex", "bool"};
    std::string text = t.code < 7 ? kNames[t.code] : join("type code ", int{t.code}, ", bits ");
    if (t.code != dlpack::kBool) text += std::to_string(int{t.bits});
    if (t.lanes != 1) text += "x" + std::to_string(t.lanes);
    return text;
}

DType dtype_from(const DataType& t, const char* name) {
    if (t.lanes == 1) {
        if (t.code == dlpack::kUInt && t.bits == 8) return DType::u8;
        if (t.code == dlpack::kBool && t.bits == 8) return DType::boolean;
        if (t.code == dlpack::kInt && t.bits == 32) return DType::i32;
        if (t.code == dlpack::kInt && t.bits == 64) return DType::i64;
        if (t.code == dlpack::kFloat && t.bits == 16) return DType::f16;
        if (t.code == dlpack::kFloat && t.bits == 32) return DType::f32;
        if (t.code == dlpack::kFloat && t.bits == 64) return DType::f64;
        if (t.code == dlpack::kBFloat && t.bits == 16) return DType::bf16;
    }
    FASTWSI_CHECK_TYPE(false, name, ": got dtype ", dtype_text(t),
                       ", expected uint8, bool, int32, int64, float16, bfloat16, float32 or float64");
    return DType::u8;
}

// The exchange table of the object's type, or null. Types are looked up once and kept alive.
const dlpack::ExchangeApi* exchange_api_of(py::handle array) {
    struct Entry {
        PyTypeObject* type;
        const dlpack::ExchangeApi* api;
    };
    constexpr int kEntries = 16;
    static Entry entries[kEntries] = {};  // guarded by the GIL
    static int count = 0;
    PyTypeObject* const type = Py_TYPE(array.ptr());
    for (int i = 0; i < count; ++i)
        if (entries[i].type == type) return entries[i].api;

    const dlpack::ExchangeApi* found = nullptr;
    PyObject* capsule =
        PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "__dlpack_c_exchange_api__");
    if (capsule == nullptr) {
        PyErr_Clear();
    } else {
        auto* header =
            PyCapsule_IsValid(capsule, "dlpack_exchange_api")
                ? static_cast<dlpack::ExchangeHeader*>(PyCapsule_GetPointer(capsule, "dlpack_exchange_api"))
                : nullptr;
        while (header != nullptr && header->version.major != 1) header = header->previous;
        found = reinterpret_cast<const dlpack::ExchangeApi*>(header);
        Py_DECREF(capsule);
    }
    if (count < kEntries) {
        Py_INCREF(type);
        entries[count++] = {type, found};
    }
    return found;
}

[[noreturn]] void throw_python_error() { throw py::error_already_set(); }

// The framework would not share: say which argument, and keep its own words as the cause.
[[noreturn]] void throw_refused(const char* name) {
    py::error_already_set cause;
    std::string words = cause.what();
    words.resize(std::min(words.size(), words.find('\n')));
    py::raise_from(cause, PyExc_ValueError,
                   join(name,
                        ": got an array without plain memory (sparse, meta, or inside a functional "
                        "transform?), expected a dense one on the CPU or a GPU; ",
                        words)
                       .c_str());
    throw py::error_already_set();
}

// Whether two elements may lie in one place: walked from the smallest stride up, each dimension must step
// over all that the ones before it span.
bool overlaps_itself(const View& view) {
    int order[kMaxDims], count = 0;  // dimensions of more than one element, by rising stride
    const auto step = [&](int d) { return view.stride[d] < 0 ? -view.stride[d] : view.stride[d]; };
    for (int d = 0; d < view.ndim; ++d) {
        if (view.shape[d] == 0) return false;
        if (view.shape[d] == 1) continue;
        int at = count++;
        for (; at > 0 && step(order[at - 1]) > step(d); --at) order[at] = order[at - 1];
        order[at] = d;
    }
    std::int64_t span = item_size(view.dtype);
    for (int i = 0; i < count; ++i) {
        if (step(order[i]) < span) return true;
        span += step(order[i]) * (view.shape[order[i]] - 1);
    }
    return false;
}

// Made once: the exchange happens for every array of every call.
struct Names {
    PyObject* dlpack = PyUnicode_InternFromString("__dlpack__");
    PyObject* dlpack_device = PyUnicode_InternFromString("__dlpack_device__");
    PyObject* version = py::make_tuple(1, 0).release().ptr();
    PyObject* with_version = py::make_tuple(py::str("max_version")).release().ptr();
    PyObject* with_stream = py::make_tuple(py::str("stream")).release().ptr();
    PyObject* with_both = py::make_tuple(py::str("stream"), py::str("max_version")).release().ptr();
};

const Names& interned_names() {
    static const Names* names = new Names;  // never freed: the interpreter may go first
    return *names;
}

[[noreturn]] void throw_not_an_array(py::handle array, const char* name) {
    PyErr_Clear();
    throw TypeMismatch(join(name, ": got ", Py_TYPE(array.ptr())->tp_name,
                            ", expected an array that speaks DLPack (numpy, torch, cupy)"));
}

bool is_on_gpu(py::handle array, const char* name) {
    const auto device = py::reinterpret_steal<py::object>(
        PyObject_CallMethodNoArgs(array.ptr(), interned_names().dlpack_device));
    if (!device && PyErr_ExceptionMatches(PyExc_AttributeError) != 0) throw_not_an_array(array, name);
    if (!device) throw_python_error();
    const int type = device.cast<py::tuple>()[0].cast<int>();
    return type == dlpack::kCuda || type == dlpack::kCudaManaged;
}

// array.__dlpack__(stream=..., max_version=(1, 0)) with the keywords that apply; null with an error set.
PyObject* export_capsule(py::handle array, const py::object& queue, bool versioned) {
    const Names& names = interned_names();
    PyObject* arguments[3] = {array.ptr()};
    int count = 1;
    if (queue) arguments[count++] = queue.ptr();
    if (versioned) arguments[count++] = names.version;
    PyObject* const keywords = count == 3   ? names.with_both
                               : versioned  ? names.with_version
                               : count == 2 ? names.with_stream
                                            : nullptr;
    return PyObject_VectorcallMethod(names.dlpack, arguments, 1, keywords);
}

}  // namespace

void use_exchange_api(bool use) { exchange_api_enabled = use; }

Borrowed::Borrowed(py::handle array, const char* name, Access access, std::uintptr_t stream) {
    try {
        if (!exchange_api_enabled || !take_through_exchange_api(array, name, access))
            take_through_methods(array, name, access, stream);
    } catch (...) {
        release();
        throw;
    }
}

Borrowed::~Borrowed() { release(); }

void Borrowed::release() {
    if (managed_ != nullptr && managed_->deleter != nullptr) managed_->deleter(managed_);
    if (versioned_ != nullptr && versioned_->deleter != nullptr) versioned_->deleter(versioned_);
    if (has_buffer_) PyBuffer_Release(&buffer_);
    managed_ = nullptr;
    versioned_ = nullptr;
    has_buffer_ = false;
}

void Borrowed::take(const dlpack::Tensor& tensor, bool read_only, const char* name, Access access) {
    view_.dtype = dtype_from(tensor.dtype, name);
    switch (tensor.device.type) {
        case dlpack::kCpu:
        case dlpack::kCudaHost: view_.device = Device::cpu; break;
        case dlpack::kCuda:
        case dlpack::kCudaManaged:
            view_.device = Device::cuda;
            view_.device_index = tensor.device.id;
            break;
        default:
            FASTWSI_CHECK(false, name, ": got an array on DLPack device type ", tensor.device.type,
                          ", expected the CPU (1) or CUDA (2)");
    }
    FASTWSI_CHECK(tensor.ndim >= 0 && tensor.ndim <= kMaxDims, name, ": got ", tensor.ndim,
                  " dimensions, expected at most ", kMaxDims);
    view_.ndim = tensor.ndim;
    const std::int64_t item = item_size(view_.dtype);
    std::int64_t packed = 1;
    for (int d = tensor.ndim - 1; d >= 0; --d) {
        view_.shape[d] = tensor.shape[d];
        view_.stride[d] = (tensor.strides != nullptr ? tensor.strides[d] : packed) * item;
        packed *= tensor.shape[d];
    }
    view_.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
    FASTWSI_CHECK(packed == 0 || tensor.data != nullptr, name,
                  ": got an array without memory (a fake or meta tensor?), expected data");
    view_.read_only = read_only;
    FASTWSI_CHECK(
        access == Access::read || !overlaps_itself(view_), name,
        ": got an array whose elements share memory (broadcast or overlapping strides), expected one "
        "place for each");
    FASTWSI_CHECK(access == Access::read || !read_only, name,
                  ": got a read-only array, expected a writable one");
}

bool Borrowed::take_through_exchange_api(py::handle array, const char* name, Access access) {
    const dlpack::ExchangeApi* api = exchange_api_of(array);
    if (api == nullptr) return false;
    if (api->borrow_from_object != nullptr) {
        dlpack::Tensor tensor;
        if (api->borrow_from_object(array.ptr(), &tensor) != 0) throw_refused(name);
        take(tensor, false, name, access);
        return true;
    }
    if (api->managed_from_object(array.ptr(), &versioned_) != 0) throw_refused(name);
    take(versioned_->tensor, (versioned_->flags & dlpack::kReadOnly) != 0, name, access);
    return true;
}

void Borrowed::take_through_methods(py::handle array, const char* name, Access access,
                                    std::uintptr_t stream) {
    // The producer makes the stream that it is told of wait for its own work, so for arrays on a GPU the
    // device is asked for first. stream = 0 means that the caller knows better: CPU memory, where the
    // question would cost more than the rest of the exchange (2.5 us with torch).
    py::object queue;
    if (stream != 0 && is_on_gpu(array, name)) queue = py::int_(stream);
    try {
        auto capsule = py::reinterpret_steal<py::object>(export_capsule(array, queue, true));
        if (!capsule && PyErr_ExceptionMatches(PyExc_TypeError) != 0) {
            PyErr_Clear();  // producers older than DLPack 1.0 do not know max_version
            capsule = py::reinterpret_steal<py::object>(export_capsule(array, queue, false));
        }
        if (!capsule && PyErr_ExceptionMatches(PyExc_AttributeError) != 0) throw_not_an_array(array, name);
        if (!capsule) throw_python_error();
        take_capsule(capsule, name, access);
    } catch (py::error_already_set& error) {
        // numpy before 2.1 does not export read-only arrays, and no numpy exports dtypes that DLPack
        // has no word for; the buffer protocol serves the first and names the second.
        if (!error.matches(PyExc_BufferError) || PyObject_CheckBuffer(array.ptr()) == 0) throw;
        FASTWSI_CHECK(access == Access::read, name, ": got an array that cannot be written (", error.what(),
                      ")");
        take_through_buffer(array, name);
    }
}

void Borrowed::take_capsule(py::handle capsule, const char* name, Access access) {
    // Renaming marks the capsule as consumed: from here on the deleter is ours to call, once.
    if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned")) {
        versioned_ = static_cast<dlpack::ManagedTensorVersioned*>(
            PyCapsule_GetPointer(capsule.ptr(), "dltensor_versioned"));
        PyCapsule_SetName(capsule.ptr(), "used_dltensor_versioned");
        FASTWSI_CHECK(versioned_->version.major == 1, name, ": got DLPack version ",
                      versioned_->version.major, ".", versioned_->version.minor, ", expected 1.x");
        take(versioned_->tensor, (versioned_->flags & dlpack::kReadOnly) != 0, name, access);
        return;
    }
    FASTWSI_CHECK_TYPE(PyCapsule_IsValid(capsule.ptr(), "dltensor"), name,
                       ": __dlpack__ returned something else than an unused DLPack capsule");
    managed_ = static_cast<dlpack::ManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
    PyCapsule_SetName(capsule.ptr(), "used_dltensor");
    take(managed_->tensor, false, name, access);
}

void Borrowed::take_through_buffer(py::handle array, const char* name) {
    if (PyObject_GetBuffer(array.ptr(), &buffer_, PyBUF_STRIDED_RO | PyBUF_FORMAT) != 0) {
        PyErr_Clear();
        FASTWSI_CHECK_TYPE(false, name, ": got ", Py_TYPE(array.ptr())->tp_name,
                           " with memory that cannot be shared, expected a plain array");
    }
    has_buffer_ = true;
    DataType dtype{0, 0, 1};
    const char* format = buffer_.format != nullptr ? buffer_.format : "B";
    for (const auto& [code, known] : {std::pair<const char*, DataType>{"B", {dlpack::kUInt, 8, 1}},
                                      {"?", {dlpack::kBool, 8, 1}},
                                      {"i", {dlpack::kInt, 32, 1}},
                                      {"l", {dlpack::kInt, 8 * sizeof(long), 1}},
                                      {"q", {dlpack::kInt, 64, 1}},
                                      {"e", {dlpack::kFloat, 16, 1}},
                                      {"f", {dlpack::kFloat, 32, 1}},
                                      {"d", {dlpack::kFloat, 64, 1}}}) {
        if (std::strcmp(format, code) == 0) dtype = known;
    }
    FASTWSI_CHECK_TYPE(dtype.bits != 0, name, ": got an array of format '", format,
                       "' (big-endian, structured or otherwise unusual), expected uint8, bool, int32, "
                       "int64, float16, float32 or float64 in native byte order");
    FASTWSI_CHECK(buffer_.ndim <= kMaxDims, name, ": got ", buffer_.ndim, " dimensions, expected at most ",
                  kMaxDims);
    std::int64_t shape[kMaxDims], strides[kMaxDims];
    for (int d = 0; d < buffer_.ndim; ++d) {
        shape[d] = buffer_.shape[d];
        strides[d] = buffer_.strides[d] / buffer_.itemsize;
        FASTWSI_CHECK(buffer_.strides[d] % buffer_.itemsize == 0, name, ": got a stride of ",
                      buffer_.strides[d], " bytes, expected a multiple of ", buffer_.itemsize);
    }
    take({buffer_.buf, {dlpack::kCpu, 0}, buffer_.ndim, dtype, shape, strides, 0}, buffer_.readonly != 0,
         name, Access::read);
}

}  // namespace fastwsi
