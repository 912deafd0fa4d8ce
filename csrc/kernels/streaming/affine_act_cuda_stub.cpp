#include "base/cuda_stub.h"
#include "kernels/streaming/affine_act.h"

namespace fastwsi {

void affine_act_cuda(const AffineActArgs&, int, void*) { throw_built_without_cuda(); }

}  // namespace fastwsi
