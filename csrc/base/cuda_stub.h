#pragma once

#include <stdexcept>

namespace fastwsi {

[[noreturn]] inline void throw_built_without_cuda() {
    throw std::runtime_error("fastwsi was built without CUDA");
}

}  // namespace fastwsi
