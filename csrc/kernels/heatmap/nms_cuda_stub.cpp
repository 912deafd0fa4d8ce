#include "base/cuda_stub.h"
#include "kernels/heatmap/nms.h"

namespace fastwsi {

std::int64_t nms_scratch_bytes(const NmsArgs&) { throw_built_without_cuda(); }

void nms_cuda(const NmsArgs&, const NmsDevice&, int, void*) { throw_built_without_cuda(); }

void nms_read_cuda(const NmsArgs&, const NmsRead&, int, void*) { throw_built_without_cuda(); }

}  // namespace fastwsi
