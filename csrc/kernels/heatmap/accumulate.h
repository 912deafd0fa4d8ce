// Tiles laid on a heatmap: sums that lose nothing, or maxima, with the number of tiles over each cell; and
// the heatmap that they make.
#pragma once

#include <cstdint>

#include "base/grid.h"
#include "base/view.h"

namespace fastwsi {

struct AccumulateArgs {
    bool maximum;
    DType tile_dtype;   // f16, bf16, f32 or f64
    DType state_dtype;  // f64 for sums, f32 or f64 for maxima
    // Strides in bytes. Cells of a row lie side by side in the state and in the counts.
    char* state;
    std::int64_t state_channel, state_y;
    std::int64_t errors;  // from a sum to its rounding error, which is 0 at first
    char* counts;         // int32
    std::int64_t counts_y;
    const char* tiles;
    std::int64_t tile, tile_channel, tile_y, tile_x;
    std::int64_t channels, height, width;  // of the heatmap; sides below 2^31, as those of the tiles
    std::int64_t tile_height, tile_width;  // at least 1
    std::int64_t count;                    // tiles
    const std::int64_t *left, *top;        // of each, on the host; every tile covers some cell
};

// Cells that no tile has covered yet take a maximum as it is, whatever the state holds there.
void accumulate_cpu(const AccumulateArgs& args);
void accumulate_cuda(const AccumulateArgs& args, int device, void* stream);

struct AverageArgs {
    Grid<3> grid;  // arrays 0: state, 1: counts, 2: heatmap; one position per cell and channel
    bool maximum;
    DType state_dtype, out_dtype;  // as above; f32 or f16
    const char* state;
    std::int64_t errors;
    const char* counts;
    char* out;
    double empty;  // where there is no tile
};

// Sum and error added up and divided by the count in float64, or the maximum; then rounded once.
void average_cpu(const AverageArgs& args);
void average_cuda(const AverageArgs& args, int device, void* stream);

}  // namespace fastwsi
