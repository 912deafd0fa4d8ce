// Which instruction set this translation unit is built for. CMake defines FASTWSI_ISA for the wide
// units (`*_avx2.cpp`); everything they share with the baseline lives in `namespace
// fastwsi::FASTWSI_ISA`, static and inlined, so that the linker can never hand a wide copy of a
// function to code that must run on every processor.
#pragma once

#ifndef FASTWSI_ISA
#define FASTWSI_ISA baseline
#endif

#if defined(__CUDACC__)
#define FASTWSI_HOST_DEVICE __host__ __device__
#define FASTWSI_INLINE static __host__ __device__ __forceinline__
#else
#define FASTWSI_HOST_DEVICE
#define FASTWSI_INLINE static inline __attribute__((always_inline))
#endif
// Of members and of lambdas that a hot loop calls.
#define FASTWSI_INLINE_MEMBER inline __attribute__((always_inline))
