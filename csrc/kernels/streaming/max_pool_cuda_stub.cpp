#include "base/cuda_stub.h"
#include "kernels/streaming/max_pool.h"

namespace fastwsi {

void max_pool_cuda(const MaxPoolArgs&, int, void*) { throw_built_without_cuda(); }
void max_pool_backward_cuda(const MaxPoolArgs&, int, void*) { throw_built_without_cuda(); }

}  // namespace fastwsi
