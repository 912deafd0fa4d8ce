// The activations that row kernels know.
#pragma once

#include <cstdint>

namespace fastwsi {

enum class Activation : std::uint8_t { none, relu, relu6, leaky_relu };

}  // namespace fastwsi
