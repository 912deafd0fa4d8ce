#include "base/cuda_stub.h"
#include "kernels/augment/orient_mean.h"

namespace fastwsi {

void orient_mean_cuda(const OrientMeanArgs&, int, void*) { throw_built_without_cuda(); }

}  // namespace fastwsi
