#include "base/build_cuda.h"
#include "bindings/register.h"

namespace fastwsi {
namespace {

#if defined(__clang__)
constexpr const char* kCompiler = "Clang " __clang_version__;
#elif defined(__GNUC__)
constexpr const char* kCompiler = "GCC " __VERSION__;
#else
constexpr const char* kCompiler = "unknown";
#endif

}  // namespace

void register_build(pybind11::module_& m) {
    const CudaBuild cuda = cuda_build();
    m.attr("version") = FASTWSI_VERSION;
    m.attr("compiler") = kCompiler;
    m.attr("build_type") = FASTWSI_BUILD_TYPE;
    m.attr("cuda_runtime_version") = cuda.runtime_version;
    m.attr("cuda_architectures") = cuda.architectures;
}

}  // namespace fastwsi
