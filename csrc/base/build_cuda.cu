#include <cuda_runtime_api.h>

#include "base/build_cuda.h"

namespace fastwsi {

CudaBuild cuda_build() { return {CUDART_VERSION, FASTWSI_CUDA_ARCHITECTURES}; }

}  // namespace fastwsi
