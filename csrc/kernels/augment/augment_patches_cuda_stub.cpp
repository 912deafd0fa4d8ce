#include "base/cuda_stub.h"
#include "kernels/augment/augment_patches.h"

namespace fastwsi {

std::int64_t augment_patches_workspace(const PatchLayout&, std::int64_t) { throw_built_without_cuda(); }

void augment_patches_cuda(const PatchLayout&, const Patch*, std::int64_t, double*, int, void*) {
    throw_built_without_cuda();
}

}  // namespace fastwsi
