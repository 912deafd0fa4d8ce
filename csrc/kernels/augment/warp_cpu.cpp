#include "kernels/augment/warp.h"

#include "base/cpu.h"
#include "base/runs.h"
#include "base/strided.h"
#include "kernels/augment/warp_rows.inl"

namespace fastwsi {
namespace {

constexpr std::int64_t kTileRows = 64;

struct Functions {
    WarpSample* sample;
    WarpStore* store;
};

// One run of n pixels of row y from column x on, into an output of T (or of a type of its size).
template <class T>
void warp_run(const WarpArgs& args, const PixelMap& map, const Functions& functions, std::int64_t y,
              std::int64_t x, std::int64_t n) {
    constexpr bool kBytes = sizeof(T) == 1;
    const std::int64_t step = kBytes ? args.channels : static_cast<std::int64_t>(sizeof(T));
    const bool packed = args.column == step && (!kBytes || args.channels == 1 || args.channel == 1);
    float values[3][kWarpRun];
    functions.sample(args, y, x, n, values);
    char* const out =
        static_cast<char*>(args.output) + (y - args.y0) * args.row + (x - args.x0) * args.column;
    const std::uint32_t number = static_cast<std::uint32_t>(y * args.map.width + x);
    if (packed) {
        functions.store(values, n, number, map, args.channels, args.dtype,
                        {out, out + args.channel, out + 2 * args.channel});
        return;
    }
    T scratch[3 * kWarpRun];
    functions.store(values, n, number, map, args.channels, args.dtype,
                    {scratch, scratch + n, scratch + 2 * n});
    for (int c = 0; c < args.channels; ++c)
        scatter(kBytes ? scratch + c : scratch + c * n, kBytes ? args.channels : 1,
                out + c * args.channel, args.column, n);
}

struct Tile {
    std::int64_t x, y, columns, rows;
};

// Where a tile's pixels lie in the source, roughly: the next tile's are fetched from memory while one is at
// work, since no processor guesses the pattern of a rotated image.
class Ahead {
  public:
    Ahead(const WarpArgs& args, const Tile& tile) : args_(args) {
        const double* m = args.map.matrix;
        const double w = static_cast<double>(tile.columns), h = static_cast<double>(tile.rows);
        const double x = static_cast<double>(tile.x), y = static_cast<double>(tile.y);
        const double size[2] = {static_cast<double>(args.source_width), static_cast<double>(args.source_height)};
        const double corner[2] = {static_cast<double>(args.source_x), static_cast<double>(args.source_y)};
        std::int64_t low[2], high[2];
        for (int axis = 0; axis < 2; ++axis) {
            const double a = m[3 * axis] * w, b = m[3 * axis + 1] * h;
            const double first = m[3 * axis] * x + m[3 * axis + 1] * y + m[3 * axis + 2] - corner[axis];
            const double from = first + (a < 0 ? a : 0) + (b < 0 ? b : 0);
            const double to = first + (a > 0 ? a : 0) + (b > 0 ? b : 0);
            low[axis] = static_cast<std::int64_t>(from > 0 ? (from < size[axis] ? from : size[axis]) : 0);
            high[axis] = static_cast<std::int64_t>(to > 0 ? (to < size[axis] ? to : size[axis]) : 0);
        }
        x0_ = low[0], x1_ = high[0], y0_ = low[1], y1_ = high[1];
        if (x1_ - x0_ > 4 * kWarpRun || y1_ - y0_ > 4 * kTileRows) y1_ = y0_;  // strongly shrunk: too much
    }

    // The k-th of n parts.
    void fetch(std::int64_t k, std::int64_t n) const {
        const std::int64_t rows = y1_ - y0_;
        for (std::int64_t y = y0_ + rows * k / n; y < y0_ + rows * (k + 1) / n; ++y) {
            const std::uint8_t* const row = args_.source + y * args_.source_row;
            for (std::int64_t at = x0_ * args_.source_column; at < x1_ * args_.source_column; at += 64)
                __builtin_prefetch(row + at, 0, 2);
        }
    }

  private:
    const WarpArgs& args_;
    std::int64_t x0_, x1_, y0_, y1_;
};

bool touches_colours(const Colour& colour) {
    return colour.steps != 0 || colour.brightness_mul != 1.f || colour.brightness_add != 0.f;
}

}  // namespace

void warp_cpu(const WarpArgs& args) {
    const std::int64_t columns = args.x1 - args.x0;
    if (columns <= 0) return;
    double mean[3];
    for (int c = 0; c < 3; ++c) mean[c] = static_cast<double>(args.colour.contrast_mean[c]);
    PixelMap map = baseline::fold(args.colour, mean);
    if (args.dtype == DType::u8 && !touches_colours(args.colour)) map.mode = ColourMode::done;
    // Chosen on the calling thread, whose SIMD level counts.
    const Functions functions{FASTWSI_SELECT(warp_sample), FASTWSI_SELECT(warp_store)};
    // Tiles of short runs: their pixels lie close together in the source, whatever the rotation.
    const std::int64_t across = (columns - 1) / kWarpRun + 1;
    const std::int64_t down = (args.y1 - args.y0 + kTileRows - 1) / kTileRows;
    const auto tile_at = [&](std::int64_t i) {
        const std::int64_t x = args.x0 + i % across * kWarpRun, y = args.y0 + i / across * kTileRows;
        return Tile{x, y, args.x1 - x < kWarpRun ? args.x1 - x : kWarpRun,
                    args.y1 - y < kTileRows ? args.y1 - y : kTileRows};
    };
    const auto run = [&](auto* run_function) {
        parallel_for(down * across, kTaskPositions / (kTileRows * kWarpRun), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                const Tile tile = tile_at(i);
                const Ahead next(args, tile_at(i + 1 < end ? i + 1 : i));
                for (std::int64_t row = 0; row < tile.rows; ++row) {
                    next.fetch(row, tile.rows);
                    run_function(args, map, functions, tile.y + row, tile.x, tile.columns);
                }
            }
        });
    };
    switch (args.dtype) {
        case DType::u8: return run(warp_run<std::uint8_t>);
        case DType::f16:
        case DType::bf16: return run(warp_run<Half>);
        default: return run(warp_run<float>);
    }
}

}  // namespace fastwsi
