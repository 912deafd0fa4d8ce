#include "base/cuda_stub.h"
#include "kernels/streaming/act_gate.h"

namespace fastwsi {

void act_gate_cuda(const ActGateArgs&, int, void*) { throw_built_without_cuda(); }

}  // namespace fastwsi
