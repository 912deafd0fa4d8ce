#include "base/build_cuda.h"

namespace fastwsi {

CudaBuild cuda_build() { return {0, ""}; }

}  // namespace fastwsi
