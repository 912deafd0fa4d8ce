#include "base/cuda_stub.h"
#include "kernels/pooling/dense_pool.h"

namespace fastwsi {

void dense_pool_cuda(const DensePoolArgs&, int, void*) { throw_built_without_cuda(); }
void dense_pool_backward_cuda(const DensePoolArgs&, int, void*) { throw_built_without_cuda(); }

}  // namespace fastwsi
