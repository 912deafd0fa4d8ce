// Host-side help for `*_cuda.cu` files. Nothing here runs before a caller passes a CUDA array, so
// importing fastwsi never initialises CUDA and forking stays safe.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>

#include "base/check.h"

#define FASTWSI_CUDA_CHECK(call)                                                             \
    do {                                                                                     \
        const cudaError_t status = (call);                                                   \
        if (status != cudaSuccess)                                                           \
            throw std::runtime_error(::fastwsi::join("CUDA: ", cudaGetErrorString(status))); \
    } while (false)

namespace fastwsi {

// Makes `device` current for the life of the guard.
class DeviceGuard {
  public:
    explicit DeviceGuard(int device) {
        FASTWSI_CUDA_CHECK(cudaGetDevice(&previous_));
        if (device != previous_) FASTWSI_CUDA_CHECK(cudaSetDevice(device));
        changed_ = device != previous_;
    }
    ~DeviceGuard() {
        if (changed_) cudaSetDevice(previous_);
    }
    DeviceGuard(const DeviceGuard&) = delete;
    DeviceGuard& operator=(const DeviceGuard&) = delete;

  private:
    int previous_ = 0;
    bool changed_ = false;
};

inline int multiprocessors(int device) {
    int count = 0;
    FASTWSI_CUDA_CHECK(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
    return count;
}

}  // namespace fastwsi
