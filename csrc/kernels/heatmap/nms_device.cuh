// What the warps of nms_cuda.cu do with tiles.
#pragma once

#include "base/half.h"
#include "kernels/heatmap/nms.h"
#include "kernels/heatmap/nms_math.h"

namespace fastwsi {
namespace {

using baseline::nms_column;
using baseline::nms_place;
using baseline::nms_precedes;
using baseline::nms_row;

constexpr int kThreads = 256;
constexpr int kWarp = 32;  // also the width of a tile: a lane per column
constexpr int kWarps = kThreads / kWarp;
constexpr unsigned kAll = 0xffffffffu;
static_assert(kWarp == kNmsTileWidth, "a lane per column, and a lane per row's word");

// Tiles are numbered (map, down, across). What changes under way is read past the first-level cache, which is
// not coherent.
struct Tiles {
    NmsKey* best;         // of each tile; kNmsNone where none is alive
    unsigned* alive;      // bits, `rows` words for each tile
    unsigned* active[2];  // tiles with living cells: of this round and of the next
    unsigned* length;     // of the two lists
    int shift, rows;      // rows = 1 << shift
    unsigned across, down;
    unsigned count;  // of all maps
};

struct Launch {
    NmsArgs args;
    NmsDevice out;
    Tiles tiles;
};

__device__ __forceinline__ NmsKey load_key(const NmsKey* key) {
    return {__ldcg(reinterpret_cast<const long long*>(&key->order)),
            __ldcg(reinterpret_cast<const long long*>(&key->place))};
}

__device__ __forceinline__ unsigned map_of(const Tiles& tiles, unsigned tile) {
    return tile / (tiles.across * tiles.down);
}

// The first cell of a tile.
__device__ __forceinline__ void corner_of(const Tiles& tiles, unsigned tile, std::int64_t& y,
                                          std::int64_t& x) {
    const unsigned line = tile / tiles.across;
    y = std::int64_t{line % tiles.down} << tiles.shift;
    x = std::int64_t{tile - line * tiles.across} * kWarp;
}

// Where this lane's column of a tile begins; not to be read outside of the map.
__device__ __forceinline__ const char* column_at(const NmsArgs& args, unsigned map, std::int64_t y,
                                                 std::int64_t x) {
    return static_cast<const char*>(args.map) + map * args.map_stride + y * args.row_stride +
           x * args.column_stride;
}

template <class T>
__device__ __forceinline__ auto value_at(const char* cell) {
    return baseline::to_float(*reinterpret_cast<const T*>(cell));
}

// The first of the lanes' keys, to all lanes.
__device__ __forceinline__ NmsKey first_of_warp(NmsKey key) {
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
        const NmsKey other = {__shfl_xor_sync(kAll, static_cast<long long>(key.order), distance),
                              __shfl_xor_sync(kAll, static_cast<long long>(key.place), distance)};
        if (nms_precedes(other, key)) key = other;
    }
    return key;
}

// The best living cell of a tile, to all lanes of the warp; lane r holds the word of row r.
template <class T>
__device__ NmsKey search_tile(const Launch& launch, unsigned tile, unsigned word) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    std::int64_t y, x;
    corner_of(launch.tiles, tile, y, x);
    const char* cell = column_at(launch.args, map_of(launch.tiles, tile), y, x + lane);
    std::int64_t place = nms_place(y, x + lane);
    NmsKey best = {kNmsNone, kNmsNone};
    for (int r = 0; r < launch.tiles.rows; ++r) {
        if ((__shfl_sync(kAll, word, r) >> lane & 1u) != 0) {
            const std::int64_t order = baseline::nms_order(value_at<T>(cell));
            if (order < best.order) best = {order, place};
        }
        cell += launch.args.row_stride;
        place += nms_place(1, 0);
    }
    return first_of_warp(best);
}

// Which cells of a tile are above the threshold: to lane r the word of row r.
template <class T>
__device__ unsigned mark_tile(const Launch& launch, unsigned tile) {
    using Value = decltype(value_at<T>(nullptr));
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const Value threshold = static_cast<Value>(launch.args.threshold);
    std::int64_t y, x;
    corner_of(launch.tiles, tile, y, x);
    const char* cell = column_at(launch.args, map_of(launch.tiles, tile), y, x + lane);
    const std::int64_t below = launch.args.height - y;
    const int inside = x + lane >= launch.args.width ? 0 : below < kWarp ? static_cast<int>(below) : kWarp;
    unsigned word = 0;
    for (int r = 0; r < launch.tiles.rows; ++r) {
        const unsigned row = __ballot_sync(kAll, r < inside && value_at<T>(cell) > threshold);
        if (lane == r) word = row;
        cell += launch.args.row_stride;
    }
    return word;
}

// Whether no other tile that the best cell of its tile can reach, or whose cells can reach it, has a better
// one. All lanes get the answer. Wider than need be, to whole tiles and for discs to the square; the best
// cell of all always passes.
__device__ bool is_certain(const Launch& launch, unsigned tile, const NmsKey& key) {
    const Tiles& tiles = launch.tiles;
    const std::int64_t reach = launch.args.region.before;  // never less than `after`
    const std::int64_t y = nms_row(key.place), x = nms_column(key.place);
    const std::int64_t top = y > reach ? y - reach : 0, left = x > reach ? x - reach : 0;
    const std::int64_t low = y + reach < launch.args.height ? y + reach : launch.args.height - 1;
    const std::int64_t right = x + reach < launch.args.width ? x + reach : launch.args.width - 1;
    const unsigned y0 = static_cast<unsigned>(top >> tiles.shift), x0 = static_cast<unsigned>(left / kWarp);
    const unsigned columns = static_cast<unsigned>(right / kWarp) - x0 + 1;
    const unsigned near = (static_cast<unsigned>(low >> tiles.shift) - y0 + 1) * columns;
    const unsigned first = map_of(tiles, tile) * tiles.down + y0;
    for (unsigned start = 0; start < near; start += kWarp) {
        const unsigned i = start + threadIdx.x % kWarp;
        bool better = false;
        if (i < near) {
            const unsigned line = i / columns;
            const std::int64_t other = std::int64_t{first + line} * tiles.across + x0 + (i - line * columns);
            better = other != tile && nms_precedes(load_key(tiles.best + other), key);
        }
        if (__any_sync(kAll, better)) return false;
    }
    return true;
}

// The cells of a word that a detection suppresses, dy rows below it and with the word's first column
// dx columns to its right.
__device__ __forceinline__ unsigned struck(const NmsRegion& region, std::int64_t dy, std::int64_t dx) {
    if (dy < -region.before || dy > region.after) return 0;
    const std::int64_t from = -baseline::nms_left(region, dy) - dx, to = baseline::nms_right(region, dy) - dx;
    return from < kWarp && to >= 0 ? baseline::nms_span_bits(from, to) : 0;
}

// Strikes what a detection suppresses, a lane per word.
__device__ void strike(const Launch& launch, unsigned tile, const NmsKey& key) {
    const Tiles& tiles = launch.tiles;
    const std::int64_t before = launch.args.region.before, after = launch.args.region.after;
    const std::int64_t y = nms_row(key.place), x = nms_column(key.place);
    const std::int64_t top = y > before ? y - before : 0, left = x > before ? x - before : 0;
    const std::int64_t low = y + after < launch.args.height ? y + after : launch.args.height - 1;
    const std::int64_t right = x + after < launch.args.width ? x + after : launch.args.width - 1;
    const std::int64_t y0 = top >> tiles.shift;
    const unsigned x0 = static_cast<unsigned>(left / kWarp);
    const unsigned columns = static_cast<unsigned>(right / kWarp) - x0 + 1;
    const std::int64_t words = ((low >> tiles.shift) - y0 + 1) * columns << tiles.shift;
    const std::int64_t first = (map_of(tiles, tile) * std::int64_t{tiles.down} + y0) * tiles.across + x0;
    for (std::int64_t i = threadIdx.x % kWarp; i < words; i += kWarp) {
        const unsigned near = static_cast<unsigned>(i >> tiles.shift), line = near / columns;
        const unsigned column = near - line * columns;
        const std::int64_t other = first + std::int64_t{line} * tiles.across + column;
        if (load_key(tiles.best + other).order == kNmsNone) continue;
        const std::int64_t row = ((y0 + line) << tiles.shift) + (i & (tiles.rows - 1));
        const unsigned bits = struck(launch.args.region, row - y, std::int64_t{x0 + column} * kWarp - x);
        if (bits != 0) atomicAnd(tiles.alive + (other << tiles.shift) + (i & (tiles.rows - 1)), ~bits);
    }
}

}  // namespace
}  // namespace fastwsi
