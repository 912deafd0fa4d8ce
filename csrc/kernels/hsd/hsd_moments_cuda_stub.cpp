#include "base/cuda_stub.h"
#include "kernels/hsd/hsd_moments.h"

namespace fastwsi {

std::int64_t hsd_moments_workspace() { throw_built_without_cuda(); }

void hsd_moments_cuda(const HsdMomentsArgs&, double*, double*, int, void*) { throw_built_without_cuda(); }

}  // namespace fastwsi
