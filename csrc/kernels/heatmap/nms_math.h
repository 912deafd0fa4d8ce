// The geometry of suppression and the order of cells, shared by the CPU and CUDA kernels.
#pragma once

#include <cstdint>

#include "base/half.h"
#include "base/isa.h"

namespace fastwsi {

enum class NmsShape : std::uint8_t { disc, square, square_halfopen };

constexpr std::int64_t kNmsMaxSide = std::int64_t{1} << 30;  // of a map, so that places fit
constexpr int kNmsTileWidth = 32;                            // a word of alive bits per row of a tile

// What a reported cell suppresses: cells from `before` rows above it to `after` below, and as many columns to
// its left and right, but for the corners of a disc.
struct NmsRegion {
    std::int64_t before, after;
    std::int64_t limit;  // disc: largest dx^2 + dy^2; else -1
};

// A cell's turn. Sorted by `order`, then by `place`, cells come as they are to be reported.
struct NmsKey {
    std::int64_t order;  // falls as the value rises
    std::int64_t place;  // row << 32 | column
};

constexpr std::int64_t kNmsNone = INT64_MAX;  // order and place of no cell

namespace FASTWSI_ISA {

// floor(sqrt(n)) for n in [0, 2^62].
FASTWSI_INLINE std::int64_t whole_root(std::int64_t n) {
#if defined(__CUDA_ARCH__)
    std::int64_t root = static_cast<std::int64_t>(sqrt(static_cast<double>(n)));
#else
    std::int64_t root = static_cast<std::int64_t>(__builtin_sqrt(static_cast<double>(n)));
#endif
    if (root * root > n) --root;
    if ((root + 1) * (root + 1) <= n) ++root;
    return root;
}

// For a finite radius >= 0.
FASTWSI_INLINE NmsRegion nms_region(double radius, NmsShape shape) {
    constexpr double kEverything = 2.0 * kNmsMaxSide;  // beyond the diagonal of any map
    if (radius >= kEverything) return {2 * kNmsMaxSide, 2 * kNmsMaxSide, -1};
    const std::int64_t whole = static_cast<std::int64_t>(radius);
    if (shape == NmsShape::square_halfopen) {
        const std::int64_t up = whole + (static_cast<double>(whole) < radius ? 1 : 0);
        return {whole, up > 0 ? up - 1 : 0, -1};
    }
    if (shape == NmsShape::square) return {whole, whole, -1};
    // The product may round to less than whole * whole, where that takes more than 53 bits.
    const std::int64_t limit = static_cast<std::int64_t>(radius * radius);
    return {whole, whole, limit < whole * whole ? whole * whole : limit};
}

// The largest dx suppressed to the left on row dy, where dy is within the region.
FASTWSI_INLINE std::int64_t nms_left(const NmsRegion& region, std::int64_t dy) {
    return region.limit < 0 ? region.before : whole_root(region.limit - dy * dy);
}
FASTWSI_INLINE std::int64_t nms_right(const NmsRegion& region, std::int64_t dy) {
    return region.limit < 0 ? region.after : whole_root(region.limit - dy * dy);
}

// Whether a cell suppresses nothing but itself.
FASTWSI_INLINE bool nms_alone(const NmsRegion& region) { return region.before == 0 && region.after == 0; }

// Side of the largest square block of which a detection leaves no cell for another.
FASTWSI_INLINE std::int64_t nms_block(const NmsRegion& region) {
    return 1 + (region.limit < 0 ? region.after : whole_root(region.limit / 2));
}

FASTWSI_INLINE std::int64_t nms_most(std::int64_t height, std::int64_t width, const NmsRegion& region) {
    if (height == 0 || width == 0) return 0;
    const std::int64_t side = nms_block(region);
    return ((height - 1) / side + 1) * ((width - 1) / side + 1);
}

// Rows of a tile, a power of two. A tile gives one cell at a time and is searched anew for the next: small
// where cells lie close, large where a detection empties it.
FASTWSI_INLINE int nms_tile_shift(const NmsRegion& region) {
    return region.before < 4 ? 3 : region.before < 16 ? 4 : 5;
}

// NaN has no turn. -0 is 0.
FASTWSI_INLINE std::int64_t nms_order(float value) {
    const float plain = value + 0.f;
    std::int32_t bits;
    memcpy(&bits, &plain, sizeof bits);
    return ~std::int64_t{bits ^ (bits >> 31 & INT32_MAX)};
}
FASTWSI_INLINE std::int64_t nms_order(double value) {
    const double plain = value + 0.0;
    std::int64_t bits;
    memcpy(&bits, &plain, sizeof bits);
    return ~(bits ^ (bits >> 63 & INT64_MAX));
}

FASTWSI_INLINE std::int64_t nms_place(std::int64_t y, std::int64_t x) { return y << 32 | x; }
FASTWSI_INLINE std::int64_t nms_row(std::int64_t place) { return place >> 32; }
FASTWSI_INLINE std::int64_t nms_column(std::int64_t place) { return place & 0x7fffffff; }

FASTWSI_INLINE bool nms_precedes(const NmsKey& a, const NmsKey& b) {
    return a.order < b.order || (a.order == b.order && a.place < b.place);
}

// The bits of columns [first, last] of a word, for last >= 0 and first <= 31; columns outside are cut off.
FASTWSI_INLINE std::uint32_t nms_span_bits(std::int64_t first, std::int64_t last) {
    const int from = first < 0 ? 0 : static_cast<int>(first);
    const int to = last > 31 ? 31 : static_cast<int>(last);
    return 0xffffffffu >> (31 - to) & 0xffffffffu << from;
}

}  // namespace FASTWSI_ISA
}  // namespace fastwsi
