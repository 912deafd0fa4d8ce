#include "kernels/augment/warp.h"

#include "base/cpu.h"
#include "base/runs.h"
#include "base/strided.h"
#include "kernels/augment/warp_rows.inl"

namespace fastwsi {
namespace {

// Pixels of a tile lie close together in the source, whatever the rotation: in the L1 cache.
constexpr std::int64_t kTileRows = 256;

// One run of n pixels of row y from column x on, into an output of T (or of a type of its size).
template <class T>
void run_into(const WarpArgs& args, const PixelMap& map, WarpRun* run, std::int64_t y, std::int64_t x,
              std::int64_t n) {
    constexpr bool kBytes = sizeof(T) == 1;
    const std::int64_t step = kBytes ? args.channels : static_cast<std::int64_t>(sizeof(T));
    const bool packed = args.column == step && (!kBytes || args.channels == 1 || args.channel == 1);
    char* const out =
        static_cast<char*>(args.output) + (y - args.y0) * args.row + (x - args.x0) * args.column;
    if (packed) return run(args, y, x, n, map, {out, out + args.channel, out + 2 * args.channel});
    T scratch[3 * kWarpRun];
    run(args, y, x, n, map, {scratch, scratch + n, scratch + 2 * n});
    for (int c = 0; c < args.channels; ++c)
        scatter(kBytes ? scratch + c : scratch + c * n, kBytes ? args.channels : 1, out + c * args.channel,
                args.column, n);
}

struct Tile {
    std::int64_t x, y, columns, rows;
};

}  // namespace

void warp_cpu(const WarpArgs& args) {
    const std::int64_t columns = args.x1 - args.x0;
    if (columns <= 0) return;
    double mean[3];
    for (int c = 0; c < 3; ++c) mean[c] = static_cast<double>(args.colour.contrast_mean[c]);
    PixelMap map = baseline::fold(args.colour, mean);
    if (args.dtype == DType::u8 && !baseline::changes_colours(args.colour)) map.mode = ColourMode::done;
    // Chosen on the calling thread, whose SIMD level counts.
    WarpRun* const run = FASTWSI_SELECT(warp_run);
    // Tiles of short runs: their pixels lie close together in the source, whatever the rotation.
    const std::int64_t across = (columns - 1) / kWarpRun + 1;
    const std::int64_t down = (args.y1 - args.y0 + kTileRows - 1) / kTileRows;
    const auto tile_at = [&](std::int64_t i) {
        const std::int64_t x = args.x0 + i % across * kWarpRun, y = args.y0 + i / across * kTileRows;
        return Tile{x, y, args.x1 - x < kWarpRun ? args.x1 - x : kWarpRun,
                    args.y1 - y < kTileRows ? args.y1 - y : kTileRows};
    };
    const auto warp_into = [&](auto* into) {
        parallel_for(down * across, kTaskPositions / (kTileRows * kWarpRun),
                     [&](std::int64_t begin, std::int64_t end) {
                         for (std::int64_t i = begin; i < end; ++i) {
                             const Tile tile = tile_at(i);

                             for (std::int64_t row = 0; row < tile.rows; ++row) {
                                 into(args, map, run, tile.y + row, tile.x, tile.columns);
                             }
                         }
                     });
    };
    switch (args.dtype) {
        case DType::u8: return warp_into(run_into<std::uint8_t>);
        case DType::f16:
        case DType::bf16: return warp_into(run_into<Half>);
        default: return warp_into(run_into<float>);
    }
}

}  // namespace fastwsi
