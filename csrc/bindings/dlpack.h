// The only DLPack door: any array object in, a View out.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

#include "base/view.h"
#include "bindings/dlpack_abi.h"

namespace fastwsi {

namespace py = pybind11;

enum class Access { read, write };

// An array borrowed for the length of one call. Construct and destroy it with the GIL held.
class Borrowed {
  public:
    // `name` is the argument's name in error messages; `stream` the stream that the caller is going
    // to use (CUDA's legacy default stream is spelled 1), 0 on the CPU. Throws TypeError or ValueError with
    // what it got and what it expected.
    Borrowed(py::handle array, const char* name, Access access, std::uintptr_t stream);
    ~Borrowed();
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;

    const View& view() const { return view_; }
    const View* operator->() const { return &view_; }

  private:
    void take(const dlpack::Tensor& tensor, bool read_only, const char* name, Access access);
    bool take_through_exchange_api(py::handle array, const char* name, Access access);
    void take_through_methods(py::handle array, const char* name, Access access, std::uintptr_t stream);
    void take_capsule(py::handle capsule, const char* name, Access access);
    void take_through_buffer(py::handle array, const char* name);
    void release();

    View view_;
    dlpack::ManagedTensor* managed_ = nullptr;
    dlpack::ManagedTensorVersioned* versioned_ = nullptr;
    Py_buffer buffer_ = {};
    bool has_buffer_ = false;
};

// For tests and benchmarks: false makes every exchange go through the two Python methods.
void use_exchange_api(bool use);

}  // namespace fastwsi
