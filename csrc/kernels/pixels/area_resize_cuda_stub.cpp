#include "base/cuda_stub.h"
#include "kernels/pixels/area_resize.h"

namespace fastwsi {

void area_resize_cuda(const AreaResizeArgs&, int, void*) { throw_built_without_cuda(); }

}  // namespace fastwsi
