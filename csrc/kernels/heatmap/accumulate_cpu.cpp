#include "kernels/heatmap/accumulate.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/cpu.h"
#include "base/parallel.h"
#include "base/runs.h"
#include "base/strided.h"
#include "kernels/heatmap/accumulate_rows.inl"

namespace fastwsi {
namespace {

// The heatmap is cut into blocks of this size. A block's tiles are laid on it one after the other, in their
// order, by one thread, so tiles may overlap.
constexpr std::int64_t kBlockHeight = 32, kBlockWidth = 1024;
constexpr std::int64_t kAhead = 4;  // rows to fetch before they are needed

struct RowCode {
    AccumulateRun* accumulate;
    CountRun* count;
};

// The part of a tile in a block.
struct Piece {
    std::int64_t block_y, block_x, tile;

    bool same_block(const Piece& other) const { return block_y == other.block_y && block_x == other.block_x; }
    bool operator<(const Piece& other) const {
        if (block_y != other.block_y) return block_y < other.block_y;
        return block_x != other.block_x ? block_x < other.block_x : tile < other.tile;
    }
};

std::vector<Piece> pieces_of(const AccumulateArgs& args) {
    std::vector<Piece> pieces;
    for (std::int64_t i = 0; i < args.count; ++i) {
        const std::int64_t bottom = std::min(args.top[i] + args.tile_height, args.height);
        const std::int64_t right = std::min(args.left[i] + args.tile_width, args.width);
        const std::int64_t top = std::max<std::int64_t>(args.top[i], 0);
        const std::int64_t left = std::max<std::int64_t>(args.left[i], 0);
        for (std::int64_t y = top / kBlockHeight; y * kBlockHeight < bottom; ++y)
            for (std::int64_t x = left / kBlockWidth; x * kBlockWidth < right; ++x)
                pieces.push_back({y, x, i});
    }
    std::sort(pieces.begin(), pieces.end());
    return pieces;
}

void pack(const char* from, std::int64_t step, char* to, std::int64_t item, std::int64_t n) {
    switch (item) {
        case 2: return gather(from, step, reinterpret_cast<std::uint16_t*>(to), 1, n);
        case 4: return gather(from, step, reinterpret_cast<std::uint32_t*>(to), 1, n);
        default: return gather(from, step, reinterpret_cast<std::uint64_t*>(to), 1, n);
    }
}

// Rows of a tile lie in pages of their own, which the processor's own prefetcher does not foresee. Inlined,
// with its caller: GCC takes a function that only prefetches for one without effect, and drops the call.
FASTWSI_INLINE void prefetch(const void* row, std::int64_t bytes) {
    constexpr std::int64_t kLine = 64;
    for (std::int64_t i = 0; i < bytes; i += kLine)
        __builtin_prefetch(static_cast<const char*>(row) + i, 1, 2);
}

void lay(const AccumulateArgs& args, const RowCode& run, const Piece& piece) {
    const std::int64_t tile_top = args.top[piece.tile], tile_left = args.left[piece.tile];
    const std::int64_t block_top = piece.block_y * kBlockHeight, block_left = piece.block_x * kBlockWidth;
    const std::int64_t top = std::max(tile_top, block_top), left = std::max(tile_left, block_left);
    const std::int64_t bottom =
        std::min({tile_top + args.tile_height, block_top + kBlockHeight, args.height});
    const std::int64_t right = std::min({tile_left + args.tile_width, block_left + kBlockWidth, args.width});
    const std::int64_t item = item_size(args.tile_dtype), cell = item_size(args.state_dtype);
    const char* const tile = args.tiles + piece.tile * args.tile + (left - tile_left) * args.tile_x;
    alignas(64) char packed[kBlockWidth * sizeof(double)];
    const std::int64_t n = right - left;
    const bool rounded = !args.maximum && args.tile_dtype == DType::f64;
    const auto counts_of = [&](std::int64_t y) {
        return reinterpret_cast<std::int32_t*>(args.counts + y * args.counts_y) + left;
    };
    for (std::int64_t c = 0; c < args.channels; ++c) {
        const auto state_of = [&](std::int64_t y) {
            return args.state + y * args.state_y + c * args.state_channel + left * cell;
        };
        const auto fetch = [&](std::int64_t y) __attribute__((always_inline)) {
            if (y >= bottom) return;
            prefetch(state_of(y), n * cell);
            // Sums of narrower types hardly ever touch this half.
            if (rounded) prefetch(state_of(y) + args.errors, n * cell);
            if (c == 0) prefetch(counts_of(y), n * static_cast<std::int64_t>(sizeof(std::int32_t)));
        };
        for (std::int64_t y = top; y < top + kAhead; ++y) fetch(y);
        for (std::int64_t y = top; y < bottom; ++y) {
            fetch(y + kAhead);
            const char* values = tile + (y - tile_top) * args.tile_y + c * args.tile_channel;
            if (args.tile_x != item) {
                pack(values, args.tile_x, packed, item, n);
                values = packed;
            }
            char* const state = state_of(y);
            run.accumulate(args.tile_dtype, args.state_dtype, args.maximum,
                           {values, state, state + args.errors, counts_of(y), n});
            if (c + 1 == args.channels) run.count(counts_of(y), n);
        }
    }
}

}  // namespace

void accumulate_cpu(const AccumulateArgs& args) {
    const RowCode run = {FASTWSI_SELECT(accumulate_row), FASTWSI_SELECT(count_row)};
    const std::vector<Piece> pieces = pieces_of(args);
    std::vector<std::int64_t> first;  // piece of each block, and where the last one ends
    for (std::size_t i = 0; i < pieces.size(); ++i)
        if (i == 0 || !pieces[i].same_block(pieces[i - 1])) first.push_back(static_cast<std::int64_t>(i));
    const auto blocks = static_cast<std::int64_t>(first.size());
    first.push_back(static_cast<std::int64_t>(pieces.size()));
    parallel_for(blocks, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = first[begin]; i < first[end]; ++i) lay(args, run, pieces[i]);
    });
}

void average_cpu(const AverageArgs& args) {
    constexpr std::int64_t kRun = 1024;
    AverageRun* const run = FASTWSI_SELECT(average_row);
    const std::int64_t state_step = args.grid.column_stride(0), counts_step = args.grid.column_stride(1);
    const std::int64_t out_step = args.grid.column_stride(2);
    const std::int64_t cell = item_size(args.state_dtype), out_item = item_size(args.out_dtype);
    constexpr std::int64_t kCount = sizeof(std::int32_t);
    Runs(args.grid, kRun).for_each([&](std::int64_t, const std::int64_t (&offset)[3], std::int64_t n) {
        alignas(64) char state[kRun * sizeof(double)], errors[kRun * sizeof(double)];
        alignas(64) char out[kRun * sizeof(float)];
        alignas(64) std::int32_t counts[kRun];
        AverageRow row = {args.state + offset[0],
                          args.state + args.errors + offset[0],
                          reinterpret_cast<const std::int32_t*>(args.counts + offset[1]),
                          args.out + offset[2],
                          n,
                          args.empty};
        if (state_step != cell) {
            pack(row.state, state_step, state, cell, n);
            row.state = state;
            if (!args.maximum) {
                pack(row.errors, state_step, errors, cell, n);
                row.errors = errors;
            }
        }
        if (counts_step != kCount) {
            pack(args.counts + offset[1], counts_step, reinterpret_cast<char*>(counts), kCount, n);
            row.counts = counts;
        }
        if (out_step != out_item) row.out = out;
        run(args.state_dtype, args.out_dtype, args.maximum, row);
        if (out_step == out_item) return;
        char* const to = args.out + offset[2];
        if (args.out_dtype == DType::f16) {
            scatter(reinterpret_cast<const std::uint16_t*>(out), 1, to, out_step, n);
        } else {
            scatter(reinterpret_cast<const std::uint32_t*>(out), 1, to, out_step, n);
        }
    });
}

}  // namespace fastwsi
