// Looking through heatmaps, at the instruction set of the including unit. Values are of the function's type;
// columns are packed, rows `stride` bytes apart; tiles are 32 columns wide.
#pragma once

#include <cstdint>

namespace fastwsi {

constexpr int kNmsChunkTiles = 128;  // tiles side by side in one call at most

// found[t] = whether any cell of tile t, `rows` rows high, is above the threshold.
using NmsFind = void(const char* first, std::int64_t stride, int rows, int tiles, double threshold,
                     std::uint8_t* found);

// words[y] = which cells of a tile's row y are above the threshold. Returns whether any is.
using NmsAbove = bool(const char* tile, std::int64_t stride, int rows, double threshold,
                      std::uint32_t* words);

// The largest of the cells whose bits are set, at least one; of equals the first. Row and column are -1 where
// none is found, since cells have turned NaN or have changed during the search.
struct NmsBest {
    double value;
    int row, column;
};
using NmsSearch = NmsBest(const char* tile, std::int64_t stride, int rows, const std::uint32_t* words);

struct NmsRows {
    NmsFind* find;
    NmsAbove* above;
    NmsSearch* search;
};

namespace baseline {
extern const NmsRows nms_f16, nms_bf16, nms_f32, nms_f64;
}
namespace avx2 {
extern const NmsRows nms_f16, nms_bf16, nms_f32, nms_f64;
}

}  // namespace fastwsi
