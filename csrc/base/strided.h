// Copies between strided and packed runs of elements, for the rows that a kernel's packed code
// cannot read or write in place (planar input, flipped views, channels-last output).
#pragma once

#include <cstdint>
#include <cstring>

namespace fastwsi {

template <class T>
void gather(const void* from, std::int64_t byte_stride, T* to, std::int64_t to_stride, std::int64_t n) {
    const char* p = static_cast<const char*>(from);
    for (std::int64_t i = 0; i < n; ++i) std::memcpy(to + i * to_stride, p + i * byte_stride, sizeof(T));
}

template <class T>
void scatter(const T* from, std::int64_t from_stride, void* to, std::int64_t byte_stride, std::int64_t n) {
    char* p = static_cast<char*>(to);
    for (std::int64_t i = 0; i < n; ++i) std::memcpy(p + i * byte_stride, from + i * from_stride, sizeof(T));
}

}  // namespace fastwsi
