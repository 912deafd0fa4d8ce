#include "base/cuda_stub.h"
#include "kernels/hsd/hsd_normalize.h"

namespace fastwsi {

void hsd_normalize_cuda(const HsdNormalizeArgs*, std::int64_t, int, void*) { throw_built_without_cuda(); }

}  // namespace fastwsi
