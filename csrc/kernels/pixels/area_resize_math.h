// Which input pixels an output pixel is made of, in whole parts of 4096, and the mean of those: the same
// whole numbers on every processor.
#pragma once

#include <cstdint>

#include "base/isa.h"

namespace fastwsi {

constexpr std::int64_t kAreaParts = 4096;  // of a pixel

// Pixels from `first` on: one that counts `head` parts, `whole` that count all, one that counts `tail`.
struct AreaSpan {
    std::int64_t first;
    std::int64_t whole;
    std::uint32_t head, tail;
};

namespace FASTWSI_ISA {

FASTWSI_INLINE std::int64_t area_clamp(std::int64_t x, std::int64_t low, std::int64_t high) {
    return x < low ? low : x > high ? high : x;
}

// Rounded twice on every processor: a GPU's compiler would round once, and be a 4096th off now and then.
FASTWSI_INLINE double area_place(double origin, double i, double scale) {
#if defined(__CUDA_ARCH__)
    return __dadd_rn(origin, __dmul_rn(i, scale));
#else
    return origin + i * scale;
#endif
}

// Whole parts; what is negative by more than half of one is clamped by whoever asks.
FASTWSI_INLINE std::int64_t area_parts(double x) {
    return static_cast<std::int64_t>(x * static_cast<double>(kAreaParts) + 0.5);
}

// The span of output pixel i along an axis of `size` input pixels.
FASTWSI_INLINE AreaSpan area_span(std::int64_t i, double origin, double scale, std::int64_t size) {
    AreaSpan span;
    if (scale < 1) {  // between the two pixels whose centres are next to the output pixel's
        const double centre = area_place(origin, static_cast<double>(i) + 0.5, scale) - 0.5;
        const std::int64_t at = area_clamp(area_parts(centre), 0, (size - 1) * kAreaParts);
        span.first = at / kAreaParts;
        span.whole = 0;
        span.tail = static_cast<std::uint32_t>(at % kAreaParts);
        span.head = static_cast<std::uint32_t>(kAreaParts) - span.tail;
        return span;
    }
    const double low = area_place(origin, static_cast<double>(i), scale);
    const double high = area_place(origin, static_cast<double>(i + 1), scale);
    const std::int64_t begin = area_clamp(area_parts(low), 0, size * kAreaParts - 1);
    const std::int64_t end = area_clamp(area_parts(high), begin + 1, size * kAreaParts);
    const std::int64_t last = (end - 1) / kAreaParts;
    span.first = begin / kAreaParts;
    if (last == span.first) {
        span.whole = 0;
        span.head = static_cast<std::uint32_t>(end - begin);
        span.tail = 0;
    } else {
        span.whole = last - span.first - 1;
        span.head = static_cast<std::uint32_t>(kAreaParts - begin % kAreaParts);
        span.tail = static_cast<std::uint32_t>(end - last * kAreaParts);
    }
    return span;
}

FASTWSI_INLINE std::uint64_t area_total(const AreaSpan& span) {
    return static_cast<std::uint64_t>(span.whole * kAreaParts) + span.head + span.tail;
}

// sum / total, halves up. The quotient is guessed in floating point and then put right, so that it is that
// of whole numbers.
FASTWSI_INLINE std::uint8_t area_mean(std::uint64_t sum, std::uint64_t total, double one_over_total) {
    const std::int64_t signed_sum = static_cast<std::int64_t>(sum);  // below 2^57; cheaper to convert
    std::int64_t mean = static_cast<std::int64_t>(static_cast<double>(signed_sum) * one_over_total + 0.5);
    const std::int64_t twice = static_cast<std::int64_t>(2 * total);
    const std::int64_t rest = 2 * signed_sum + static_cast<std::int64_t>(total) - mean * twice;
    mean += (rest >= twice) - (rest < 0);
    return static_cast<std::uint8_t>(mean);
}

}  // namespace FASTWSI_ISA
}  // namespace fastwsi
