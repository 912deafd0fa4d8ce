// The binary interface of DLPack 1.x (https://dmlc.github.io/dlpack/latest/), as far as a consumer
// needs it. Layout and numbers are the standard's; they must not change.
#pragma once

#include <cstdint>

namespace fastwsi::dlpack {

struct Version {
    std::uint32_t major;
    std::uint32_t minor;
};

enum DeviceType : std::int32_t { kCpu = 1, kCuda = 2, kCudaHost = 3, kCudaManaged = 13 };

struct Device {
    std::int32_t type;
    std::int32_t id;
};

enum TypeCode : std::uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBFloat = 4, kComplex = 5, kBool = 6 };

struct DataType {
    std::uint8_t code;
    std::uint8_t bits;
    std::uint16_t lanes;
};

struct Tensor {
    void* data;
    Device device;
    std::int32_t ndim;
    DataType dtype;
    std::int64_t* shape;
    std::int64_t* strides;  // in elements; null means packed, row-major
    std::uint64_t byte_offset;
};

// Inside a capsule named "dltensor".
struct ManagedTensor {
    Tensor tensor;
    void* context;
    void (*deleter)(ManagedTensor* self);
};

constexpr std::uint64_t kReadOnly = 1;

// Inside a capsule named "dltensor_versioned".
struct ManagedTensorVersioned {
    Version version;
    void* context;
    void (*deleter)(ManagedTensorVersioned* self);
    std::uint64_t flags;
    Tensor tensor;
};

// The table behind `type(x).__dlpack_c_exchange_api__`, a capsule named "dlpack_exchange_api": the
// same exchange without Python calls or allocations.
struct ExchangeHeader {
    Version version;
    ExchangeHeader* previous;  // an older table, for consumers of an older major version
};

struct ExchangeApi {
    ExchangeHeader header;
    void* allocate;  // not used here, as are the other untyped members
    int (*managed_from_object)(void* object, ManagedTensorVersioned** out);
    void* managed_to_object;
    int (*borrow_from_object)(void* object, Tensor* out);  // may be null
    void* current_stream;
};

}  // namespace fastwsi::dlpack
