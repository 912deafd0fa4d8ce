// The only way an error leaves native code: a C++ exception that the bindings turn into ValueError,
// TypeError or RuntimeError. Checks run before any kernel starts; kernels themselves never throw.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace fastwsi {

struct TypeMismatch : std::runtime_error {
    using std::runtime_error::runtime_error;
};

template <class... Parts>
std::string join(const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    return text.str();
}

}  // namespace fastwsi

#define FASTWSI_CHECK(condition, ...)                                                \
    do {                                                                             \
        if (!(condition)) throw std::invalid_argument(::fastwsi::join(__VA_ARGS__)); \
    } while (false)

#define FASTWSI_CHECK_TYPE(condition, ...)                                             \
    do {                                                                               \
        if (!(condition)) throw ::fastwsi::TypeMismatch(::fastwsi::join(__VA_ARGS__)); \
    } while (false)
