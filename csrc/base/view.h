// What a kernel knows of an array: a pointer, a shape, strides. Nothing of Python, torch or numpy.
#pragma once

#include <cstdint>

namespace fastwsi {

enum class DType : std::uint8_t { boolean, u8, i32, i64, f16, bf16, f32, f64 };
enum class Device : std::uint8_t { cpu, cuda };

constexpr int kMaxDims = 8;

struct View {
    void* data = nullptr;
    DType dtype = DType::u8;
    Device device = Device::cpu;
    int device_index = 0;
    bool read_only = false;
    int ndim = 0;
    std::int64_t shape[kMaxDims] = {};
    std::int64_t stride[kMaxDims] = {};  // bytes, may be negative or zero

    std::int64_t size() const {
        std::int64_t n = 1;
        for (int d = 0; d < ndim; ++d) n *= shape[d];
        return n;
    }
};

constexpr std::int64_t item_size(DType dtype) {
    switch (dtype) {
        case DType::boolean:
        case DType::u8: return 1;
        case DType::f16:
        case DType::bf16: return 2;
        case DType::i32:
        case DType::f32: return 4;
        case DType::i64:
        case DType::f64: return 8;
    }
    return 0;
}

constexpr bool is_float(DType dtype) {
    return dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f32 || dtype == DType::f64;
}

// What image kernels write: pixels again, or a network's input.
constexpr bool is_image_output(DType dtype) {
    return dtype == DType::u8 || (is_float(dtype) && dtype != DType::f64);
}

constexpr const char* name_of(DType dtype) {
    switch (dtype) {
        case DType::boolean: return "bool";
        case DType::u8: return "uint8";
        case DType::i32: return "int32";
        case DType::i64: return "int64";
        case DType::f16: return "float16";
        case DType::bf16: return "bfloat16";
        case DType::f32: return "float32";
        case DType::f64: return "float64";
    }
    return "?";
}

}  // namespace fastwsi
