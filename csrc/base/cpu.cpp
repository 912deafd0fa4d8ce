#include "base/cpu.h"

#include <cstdlib>
#include <cstring>

#include "base/check.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace fastwsi {
namespace {

#if defined(__x86_64__)
// AVX2 kernels also use FMA and half-float conversion, so the three are one level; the operating
// system must save the wide registers too (XCR0 bits 1 and 2).
bool probe_avx2() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
    constexpr unsigned kFma = 1u << 12, kOsxsave = 1u << 27, kF16c = 1u << 29;
    if ((c & (kFma | kOsxsave | kF16c)) != (kFma | kOsxsave | kF16c)) return false;
    unsigned low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6u) != 6u) return false;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    return (b & (1u << 5)) != 0;
}
#else
bool probe_avx2() { return false; }
#endif

Simd parse(const char* name, const char* origin) {
    for (Simd level : {Simd::baseline, Simd::avx2}) {
        if (std::strcmp(name, name_of(level)) != 0) continue;
        FASTWSI_CHECK(simd_usable(level), origin, ": SIMD level '", name, "' is not usable here (",
                      simd_built(level) ? "this processor lacks it" : "this build has no code for it",
                      "); use 'baseline'");
        return level;
    }
    std::string known = "baseline";
    if (simd_built(Simd::avx2)) known += ", avx2";
    FASTWSI_CHECK(false, origin, ": no code for SIMD level '", name, "' in this build; expected one of ",
                  known);
    return Simd::baseline;
}

thread_local bool overridden = false;
thread_local Simd override_level = Simd::baseline;

}  // namespace

bool simd_built(Simd level) { return level == Simd::baseline || FASTWSI_HAVE_AVX2; }

bool simd_usable(Simd level) {
    static const bool has_avx2 = probe_avx2();
    return level == Simd::baseline || (simd_built(level) && has_avx2);
}

Simd simd_level() {
    if (overridden) return override_level;
    // A wrong value throws here at every call, since a static whose initialiser throws stays unset.
    static const Simd chosen = [] {
        const char* wanted = std::getenv("FASTWSI_SIMD");
        if (wanted != nullptr && *wanted != '\0') return parse(wanted, "FASTWSI_SIMD");
        return simd_usable(Simd::avx2) ? Simd::avx2 : Simd::baseline;
    }();
    return chosen;
}

const char* set_simd_override(const char* name) {
    const char* previous = overridden ? name_of(override_level) : "";
    if (*name == '\0') {
        overridden = false;
    } else {
        override_level = parse(name, "simd_level");
        overridden = true;
    }
    return previous;
}

}  // namespace fastwsi
