// Which SIMD level a call uses. Chosen once per call, outside every loop.
#pragma once

#include <cstdint>

namespace fastwsi {

enum class Simd : std::uint8_t { baseline, avx2 };

constexpr const char* name_of(Simd level) { return level == Simd::avx2 ? "avx2" : "baseline"; }

// True where this binary has code for the level.
bool simd_built(Simd level);

// True where it is built and the processor and the operating system support it.
bool simd_usable(Simd level);

// The level of this call: the thread's override, else FASTWSI_SIMD, else the best usable one.
// Throws std::invalid_argument where FASTWSI_SIMD names a level that is unknown or not usable.
Simd simd_level();

// Overrides the level for the calling thread; an empty name lifts the override. Same errors.
// Returns the name of the override that it replaces ("" for none).
const char* set_simd_override(const char* name);

}  // namespace fastwsi

// Picks `baseline::function` or its wide twin. Used in `<op>_cpu.cpp` alone.
#if FASTWSI_HAVE_AVX2
#define FASTWSI_SELECT(function) \
    (::fastwsi::simd_level() == ::fastwsi::Simd::avx2 ? avx2::function : baseline::function)
#else
#define FASTWSI_SELECT(function) (::fastwsi::simd_level(), baseline::function)
#endif
