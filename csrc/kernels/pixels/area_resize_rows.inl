// Included by area_resize_cpu.cpp and area_resize_avx2.cpp: the same code, each with its own flags.
#include "kernels/pixels/area_resize_rows.h"

namespace fastwsi::FASTWSI_ISA {
namespace {

template <int Channels>
FASTWSI_INLINE void across(const std::uint32_t* __restrict sums, std::int64_t left, std::uint64_t total_down,
                           const AreaSpan* __restrict spans, std::int64_t n, std::uint8_t* __restrict out) {
    std::uint64_t total = 0;
    double one_over_total = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        const AreaSpan span = spans[i];
        const std::uint32_t* value = sums + (span.first - left) * Channels;
        const std::uint32_t* const tail = value + (span.whole + 1) * Channels;
        std::uint64_t sum[Channels];
        for (int c = 0; c < Channels; ++c) sum[c] = 0;
        for (const std::uint32_t* v = value + Channels; v < tail; v += Channels)
            for (int c = 0; c < Channels; ++c) sum[c] += v[c];
        const std::uint64_t own_total = area_total(span) * total_down;
        if (own_total != total) {  // they take few values, if more than one
            total = own_total;
            one_over_total = 1.0 / static_cast<double>(total);
        }
        for (int c = 0; c < Channels; ++c) {
            sum[c] = sum[c] * kAreaParts + std::uint64_t{value[c]} * span.head;
            // A span that ends with a whole pixel has nothing behind it, maybe not even memory.
            if (span.tail != 0) sum[c] += std::uint64_t{tail[c]} * span.tail;
            out[i * Channels + c] = area_mean(sum[c], total, one_over_total);
        }
    }
}

}  // namespace

void area_down(const std::uint8_t* __restrict row, std::int64_t step, const AreaSpan& span,
               std::uint32_t* __restrict sums, std::int64_t n) {
    const std::uint32_t head = span.head, tail = span.tail;
    constexpr std::uint32_t kWhole = static_cast<std::uint32_t>(kAreaParts);
    for (std::int64_t i = 0; i < n; ++i) sums[i] = 0;
    for (std::int64_t r = 1; r <= span.whole; ++r) {
        const std::uint8_t* const each = row + r * step;
        for (std::int64_t i = 0; i < n; ++i) sums[i] += each[i];
    }
    if (tail == 0) {
        for (std::int64_t i = 0; i < n; ++i) sums[i] = sums[i] * kWhole + row[i] * head;
        return;
    }
    const std::uint8_t* const last = row + (span.whole + 1) * step;
    for (std::int64_t i = 0; i < n; ++i) sums[i] = sums[i] * kWhole + row[i] * head + last[i] * tail;
}

void area_across(const std::uint32_t* sums, std::int64_t left, std::uint64_t total_down,
                 const AreaSpan* spans, std::int64_t n, int channels, std::uint8_t* out) {
    switch (channels) {
        case 1: return across<1>(sums, left, total_down, spans, n, out);
        case 2: return across<2>(sums, left, total_down, spans, n, out);
        case 3: return across<3>(sums, left, total_down, spans, n, out);
        default: return across<4>(sums, left, total_down, spans, n, out);
    }
}

}  // namespace fastwsi::FASTWSI_ISA
