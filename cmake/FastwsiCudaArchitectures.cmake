# Which GPUs to compile for where the user did not say. The oldest that the kernels serve is Turing (7.5).

# Sets RESULT to whether nvidia-smi lists a GPU. Its word for failure also comes on standard output.
function(fastwsi_gpu_seen result)
  set(${result} FALSE PARENT_SCOPE)
  find_program(NVIDIA_SMI nvidia-smi)
  if(NOT NVIDIA_SMI)
    return()
  endif()
  execute_process(COMMAND ${NVIDIA_SMI} -L OUTPUT_VARIABLE listed RESULT_VARIABLE failed ERROR_QUIET)
  if(failed EQUAL 0 AND listed MATCHES "GPU [0-9]+:")
    set(${result} TRUE PARENT_SCOPE)
  endif()
endfunction()

# Replaces an empty FASTWSI_CUDA_ARCHITECTURES, or the word `native`, by numbers where they are known:
# build_info() names them, and doctor compares them with the card.
macro(fastwsi_cuda_architectures)
  # CMake leaves words of regret in this variable where it found no GPU.
  set(native "${CMAKE_CUDA_ARCHITECTURES_NATIVE}")
  if(NOT native MATCHES "^[0-9]+[a-z]?(-real)?(;[0-9]+[a-z]?(-real)?)*$")
    set(native "")
  endif()
  if(FASTWSI_CUDA_ARCHITECTURES STREQUAL "")
    fastwsi_gpu_seen(gpu_seen)
    if(gpu_seen AND native)
      set(FASTWSI_CUDA_ARCHITECTURES native)
    elseif(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13)
      # There `all-major` begins below Turing.
      set(FASTWSI_CUDA_ARCHITECTURES 75 80 90)
    else()
      set(FASTWSI_CUDA_ARCHITECTURES all-major)
    endif()
  endif()
  if(FASTWSI_CUDA_ARCHITECTURES STREQUAL "native")
    if(NOT native)
      message(FATAL_ERROR "FASTWSI_CUDA_ARCHITECTURES: got native, but no GPU is seen here; name the "
        "architectures, such as 80;90")
    endif()
    set(FASTWSI_CUDA_ARCHITECTURES ${native})
  endif()
  foreach(architecture IN LISTS FASTWSI_CUDA_ARCHITECTURES)
    string(REGEX MATCH "^[0-9]+" number "${architecture}")
    if(number AND number LESS 75)
      message(FATAL_ERROR "FASTWSI_CUDA_ARCHITECTURES: got ${architecture}, expected 75 (Turing) or newer; "
        "build with -DFASTWSI_CUDA=OFF for older GPUs")
    endif()
  endforeach()
endmacro()
