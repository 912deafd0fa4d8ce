# Options of the build, and what they mean for a target.

set(FASTWSI_CUDA "AUTO" CACHE STRING "CUDA kernels: AUTO (where nvcc is found), ON (or fail), OFF")
set_property(CACHE FASTWSI_CUDA PROPERTY STRINGS AUTO ON OFF)
set(FASTWSI_CUDA_ARCHITECTURES "" CACHE STRING
  "As CMAKE_CUDA_ARCHITECTURES; empty: `native` where a GPU is seen, else `all-major`")
set(PROJECT_VERSION_FULL ${SKBUILD_PROJECT_VERSION_FULL})
set(FASTWSI_SANITIZE "" CACHE STRING "Sanitizers to build with, such as address,undefined")
option(FASTWSI_WERROR "Treat compiler warnings as errors" OFF)

string(TOUPPER "${FASTWSI_CUDA}" cuda_choice)
set(FASTWSI_WITH_CUDA OFF)
if(cuda_choice STREQUAL "AUTO")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(FASTWSI_WITH_CUDA ON)
  endif()
elseif(cuda_choice)
  set(FASTWSI_WITH_CUDA ON)
endif()

if(FASTWSI_WITH_CUDA)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  enable_language(CUDA)
  include(FastwsiCudaArchitectures)
  fastwsi_cuda_architectures()
  set(CMAKE_CUDA_ARCHITECTURES ${FASTWSI_CUDA_ARCHITECTURES})
  set(CMAKE_CUDA_STANDARD 17)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
  message(STATUS "fastwsi: CUDA ${CMAKE_CUDA_COMPILER_VERSION} for ${FASTWSI_CUDA_ARCHITECTURES}")
else()
  message(STATUS "fastwsi: without CUDA")
endif()

function(fastwsi_configure target)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/csrc)
  string(REPLACE ";" ", " architectures "${FASTWSI_CUDA_ARCHITECTURES}")
  target_compile_definitions(${target} PRIVATE
    FASTWSI_VERSION="${PROJECT_VERSION_FULL}"
    FASTWSI_BUILD_TYPE="${CMAKE_BUILD_TYPE}"
    FASTWSI_CUDA_ARCHITECTURES="${architectures}"
    FASTWSI_HAVE_AVX2=$<BOOL:${FASTWSI_HAVE_AVX2}>)
  # Contraction to fused multiply-add is allowed wherever the unit's instruction set has it. psabi:
  # wide vectors are passed only to functions that are always inlined.
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wno-psabi;-ffp-contract=fast;-fno-math-errno>)
  if(FASTWSI_WERROR)
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CXX>:-Werror> $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>)
  endif()
  find_package(Threads REQUIRED)
  target_link_libraries(${target} PRIVATE Threads::Threads)
  if(FASTWSI_SANITIZE)
    set(flags -fsanitize=${FASTWSI_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${flags}>)
    target_link_options(${target} PRIVATE ${flags})
  endif()
endfunction()
