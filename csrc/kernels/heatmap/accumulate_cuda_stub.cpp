#include "base/cuda_stub.h"
#include "kernels/heatmap/accumulate.h"

namespace fastwsi {

void accumulate_cuda(const AccumulateArgs&, int, void*) { throw_built_without_cuda(); }
void average_cuda(const AverageArgs&, int, void*) { throw_built_without_cuda(); }

}  // namespace fastwsi
