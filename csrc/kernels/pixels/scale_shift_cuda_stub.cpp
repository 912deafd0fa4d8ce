#include "base/cuda_stub.h"
#include "kernels/pixels/scale_shift.h"

namespace fastwsi {

void scale_shift_cuda(const ScaleShiftArgs&, int, void*) { throw_built_without_cuda(); }

}  // namespace fastwsi
