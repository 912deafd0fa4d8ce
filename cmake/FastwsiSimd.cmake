# Wide units: which ones this processor family can have, and the flags that only they get.

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$" AND NOT CMAKE_OSX_ARCHITECTURES MATCHES "arm64")
  set(FASTWSI_HAVE_AVX2 ON)
else()
  set(FASTWSI_HAVE_AVX2 OFF)
endif()

function(fastwsi_wide_sources level flags)
  set_source_files_properties(${ARGN} PROPERTIES
    COMPILE_OPTIONS "${flags}" COMPILE_DEFINITIONS "FASTWSI_ISA=${level}")
endfunction()
