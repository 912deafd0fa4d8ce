#pragma once

namespace fastwsi {

// What the CUDA half of this binary was compiled for; runtime_version is 0 in a build without CUDA.
struct CudaBuild {
    int runtime_version;        // 1000 * major + 10 * minor, of the static runtime inside
    const char* architectures;  // in CMake's words: "75-virtual, 90-real"
};

CudaBuild cuda_build();

}  // namespace fastwsi
