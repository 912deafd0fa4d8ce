#include "base/cuda_stub.h"
#include "kernels/augment/orient.h"

namespace fastwsi {

void orient_cuda(const OrientArgs&, int, void*) { throw_built_without_cuda(); }

}  // namespace fastwsi
