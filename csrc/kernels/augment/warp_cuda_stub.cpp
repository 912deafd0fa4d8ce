#include "base/cuda_stub.h"
#include "kernels/augment/warp.h"

namespace fastwsi {

void warp_cuda(const WarpArgs&, int, void*) { throw_built_without_cuda(); }

}  // namespace fastwsi
