// How a patch is cut into tiles, and how a tile's pixels come to lie packed. For `*_cpu.cpp` alone.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/strided.h"
#include "kernels/augment/augment_patches.h"

namespace fastwsi {

// Cuts depend on the size alone, so that sums do not depend on threads. A tile of a patch that lies on its
// side reads 16 columns of the source: a cache line of each source row.
constexpr std::int64_t kTileRows = 16;
constexpr std::int64_t kTileColumns = 1024;

struct Tile {
    std::int64_t y, x, rows, columns;
};

class Tiling {
  public:
    Tiling(std::int64_t height, std::int64_t width)
        : height_(height),
          width_(width),
          across_((width + kTileColumns - 1) / kTileColumns),
          count_((height + kTileRows - 1) / kTileRows * across_) {}
    std::int64_t count() const { return count_; }
    Tile operator[](std::int64_t i) const {
        const std::int64_t y = i / across_ * kTileRows, x = i % across_ * kTileColumns;
        const std::int64_t rows = height_ - y < kTileRows ? height_ - y : kTileRows;
        const std::int64_t columns = width_ - x < kTileColumns ? width_ - x : kTileColumns;
        return {y, x, rows, columns};
    }

  private:
    std::int64_t height_, width_, across_, count_;
};

// The tile's pixels, packed row behind row: in place where they lie so, else copied to `scratch`, which holds
// 3 * kTileRows * kTileColumns bytes.
inline const std::uint8_t* packed_pixels(const Patch& patch, const Tile& tile, std::uint8_t* scratch) {
    const std::uint8_t* const first = patch.source + tile.y * patch.row + tile.x * patch.column;
    const std::int64_t across = 3 * tile.columns;
    const auto distance = [](std::int64_t stride) { return stride < 0 ? -stride : stride; };
    const auto copy_pixel = [&](std::int64_t y, std::int64_t x) {
        std::memcpy(scratch + y * across + 3 * x, first + y * patch.row + x * patch.column, 3);
    };
    if (patch.channel != 1) {
        for (std::int64_t y = 0; y < tile.rows; ++y)
            for (int c = 0; c < 3; ++c)
                gather(first + y * patch.row + c * patch.channel, patch.column, scratch + y * across + c, 3,
                       tile.columns);
    } else if (patch.column == 3) {
        if (tile.rows == 1 || patch.row == across) return first;
        for (std::int64_t y = 0; y < tile.rows; ++y)
            std::memcpy(scratch + y * across, first + y * patch.row, static_cast<std::size_t>(across));
    } else if (distance(patch.row) < distance(patch.column)) {  // on its side: along the source's rows
        for (std::int64_t x = 0; x < tile.columns; ++x)
            for (std::int64_t y = 0; y < tile.rows; ++y) copy_pixel(y, x);
    } else {
        for (std::int64_t y = 0; y < tile.rows; ++y)
            for (std::int64_t x = 0; x < tile.columns; ++x) copy_pixel(y, x);
    }
    return scratch;
}

}  // namespace fastwsi
