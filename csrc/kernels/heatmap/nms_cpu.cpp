// The exact greedy order without sorting cells. Tiles with a cell above the threshold stand in a heap by
// their best cell. The best tile's cell is reported and the cells around it are struck from the tiles' bits
// of living cells; a tile whose best cell was struck is searched anew only when its turn comes, since until
// then what it was worth is an upper bound of what it is.
#include "kernels/heatmap/nms.h"

#include <algorithm>
#include <cstring>

#include "base/cpu.h"
#include "base/parallel.h"
#include "kernels/heatmap/nms_rows.inl"

namespace fastwsi {
namespace {

using baseline::nms_column;
using baseline::nms_place;
using baseline::nms_precedes;
using baseline::nms_row;

constexpr int kMaxTileRows = 32;
constexpr int kItemMax = 8;

const NmsRows& choose_rows(DType dtype) {
    switch (dtype) {
        case DType::f16: return FASTWSI_SELECT(nms_f16);
        case DType::bf16: return FASTWSI_SELECT(nms_bf16);
        case DType::f64: return FASTWSI_SELECT(nms_f64);
        default: return FASTWSI_SELECT(nms_f32);
    }
}

template <class T>
void copy_cells(const char* from, std::int64_t row_stride, std::int64_t column_stride, int rows, int columns,
                char* to) {
    const auto copy = [&](int y, int x) {
        std::memcpy(to + (y * kNmsTileWidth + x) * static_cast<int>(sizeof(T)),
                    from + y * row_stride + x * column_stride, sizeof(T));
    };
    if (std::abs(column_stride) <= std::abs(row_stride)) {
        for (int y = 0; y < rows; ++y)
            for (int x = 0; x < columns; ++x) copy(y, x);
    } else {
        for (int x = 0; x < columns; ++x)
            for (int y = 0; y < rows; ++y) copy(y, x);
    }
}

template <class T>
std::int64_t order_at(const char* cell) {
    T value;
    std::memcpy(&value, cell, sizeof value);
    return baseline::nms_order(baseline::to_float(value));
}

struct Tiles {
    const NmsArgs& args;
    const NmsRows& code;
    int shift, rows;  // of a tile: rows = 1 << shift
    std::int64_t across, down, per_map;
    std::int64_t item;
    bool packed;                            // cells of a row are neighbours in memory
    std::vector<std::uint32_t> alive;       // (maps, down, across, rows)
    std::vector<NmsKey> best;               // (maps, down, across)
    std::vector<std::int64_t> left, right;  // nms_left and nms_right of |dy|, as far as rows go

    explicit Tiles(const NmsArgs& a)
        : args(a),
          code(choose_rows(a.dtype)),
          shift(baseline::nms_tile_shift(a.region)),
          rows(1 << shift),
          across((a.width + kNmsTileWidth - 1) / kNmsTileWidth),
          down((a.height + rows - 1) >> shift),
          per_map(across * down),
          item(item_size(a.dtype)),
          packed(a.column_stride == item) {
        alive.resize(static_cast<std::size_t>(a.maps * per_map << shift));
        best.resize(static_cast<std::size_t>(a.maps * per_map), NmsKey{kNmsNone, kNmsNone});
        const std::int64_t reach = std::min(a.region.before, a.height);
        for (std::int64_t dy = 0; dy <= reach; ++dy) {
            left.push_back(baseline::nms_left(a.region, dy));
            right.push_back(baseline::nms_right(a.region, dy));
        }
    }

    const char* cell(std::int64_t map, std::int64_t y, std::int64_t x) const {
        return static_cast<const char*>(args.map) + map * args.map_stride + y * args.row_stride +
               x * args.column_stride;
    }
    std::uint32_t* words(std::int64_t tile) { return alive.data() + (tile << shift); }
    int rows_at(std::int64_t y) const {
        return static_cast<int>(std::min<std::int64_t>(rows, args.height - y));
    }

    // A tile as the packed code reads it: where it lies, or copied to `room`.
    struct Cells {
        const char* first;
        std::int64_t stride;
        int rows, columns;
    };
    Cells cells(std::int64_t map, std::int64_t y, std::int64_t x, char* room) const {
        const int height = rows_at(y);
        const int width = static_cast<int>(std::min<std::int64_t>(kNmsTileWidth, args.width - x));
        const char* const first = cell(map, y, x);
        if (packed && width == kNmsTileWidth) return {first, args.row_stride, height, width};
        const auto copy = item == 2   ? copy_cells<std::uint16_t>
                          : item == 4 ? copy_cells<std::uint32_t>
                                      : copy_cells<std::uint64_t>;
        std::memset(room, 0, static_cast<std::size_t>(kNmsTileWidth * item * height));
        copy(first, args.row_stride, args.column_stride, height, width, room);
        return {room, kNmsTileWidth * item, height, width};
    }

    // The key of the best of a tile's living cells. Where the search fails, none lives any more.
    NmsKey search(const Cells& at, std::int64_t y, std::int64_t x, std::uint32_t* bits) const {
        const NmsBest found = code.search(at.first, at.stride, at.rows, bits);
        if (found.row < 0) {
            std::memset(bits, 0, static_cast<std::size_t>(rows) * sizeof *bits);
            return {kNmsNone, kNmsNone};
        }
        return {baseline::nms_order(found.value), nms_place(y + found.row, x + found.column)};
    }
    void fill_tile(std::int64_t map, std::int64_t y, std::int64_t x, std::int64_t tile) {
        char room[kMaxTileRows * kNmsTileWidth * kItemMax];
        const Cells at = cells(map, y, x, room);
        std::uint32_t* const bits = words(tile);
        if (!code.above(at.first, at.stride, at.rows, args.threshold, bits)) return;
        std::uint32_t any = 0;
        for (int r = 0; r < at.rows; ++r) any |= bits[r] &= baseline::nms_span_bits(0, at.columns - 1);
        if (any != 0) best[static_cast<std::size_t>(tile)] = search(at, y, x, bits);
    }

    // Marks the living cells of all tiles and finds the best of each, a chunk of a row of tiles at a time:
    // rows are read from end to end, which is what memory is fast at.
    void fill() {
        const std::int64_t chunks = (across + kNmsChunkTiles - 1) / kNmsChunkTiles;
        parallel_for(args.maps * down * chunks, 1, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) fill_chunk(i / chunks, i % chunks * kNmsChunkTiles);
        });
    }
    void fill_chunk(std::int64_t line, std::int64_t tile_x) {
        const std::int64_t map = line / down, y = line % down << shift;
        const std::int64_t end = std::min(tile_x + kNmsChunkTiles, across);
        std::uint8_t found[kNmsChunkTiles];
        std::memset(found, 1, sizeof found);  // tiles that the packed code cannot see are looked into
        const std::int64_t whole = packed ? std::min(end, args.width / kNmsTileWidth) : tile_x;
        if (whole > tile_x)
            code.find(cell(map, y, tile_x * kNmsTileWidth), args.row_stride, rows_at(y),
                      static_cast<int>(whole - tile_x), args.threshold, found);
        for (std::int64_t x = tile_x; x < end; ++x)
            if (found[x - tile_x] != 0) fill_tile(map, y, x * kNmsTileWidth, line * across + x);
    }

    // Strikes the cells that a detection suppresses.
    void strike(std::int64_t map, std::int64_t y, std::int64_t x) {
        const NmsRegion& region = args.region;
        const std::int64_t first = std::max<std::int64_t>(y - region.before, 0);
        const std::int64_t last = std::min(y + region.after, args.height - 1);
        const std::int64_t x0 = std::max<std::int64_t>(x - region.before, 0) / kNmsTileWidth;
        const std::int64_t x1 = std::min(x + region.after, args.width - 1) / kNmsTileWidth;
        for (std::int64_t row = first; row <= last; ++row) {
            const std::size_t dy = static_cast<std::size_t>(row < y ? y - row : row - y);
            const std::int64_t from = x - left[dy], to = x + right[dy];
            std::uint32_t* word = words((map * down + (row >> shift)) * across) + (row & (rows - 1));
            for (std::int64_t t = x0; t <= x1; ++t) {
                const std::int64_t a = from - t * kNmsTileWidth, b = to - t * kNmsTileWidth;
                if (a < kNmsTileWidth && b >= 0) word[t << shift] &= ~baseline::nms_span_bits(a, b);
            }
        }
    }

    // The key of a cell that is not NaN.
    NmsKey key(std::int64_t map, std::int64_t y, std::int64_t x) const {
        const char* const at = cell(map, y, x);
        std::int64_t order;
        switch (args.dtype) {
            case DType::f16: order = order_at<Half>(at); break;
            case DType::bf16: order = order_at<BFloat16>(at); break;
            case DType::f64: order = order_at<double>(at); break;
            default: order = order_at<float>(at);
        }
        return {order, nms_place(y, x)};
    }
    std::int64_t count_alive(std::int64_t map) const {
        std::int64_t n = 0;
        const std::uint32_t* const first = alive.data() + (map * per_map << shift);
        for (std::int64_t i = 0; i < per_map << shift; ++i)
            if (first[i] != 0) n += __builtin_popcount(first[i]);
        return n;
    }

    NmsDetection detection(std::int64_t map, std::int64_t place) const {
        NmsDetection found{place, 0};
        std::memcpy(&found.score, cell(map, nms_row(place), nms_column(place)),
                    static_cast<std::size_t>(item));
        return found;
    }
};

// A heap in an array, the key that comes first at its root.
struct Heap {
    NmsKey* keys;
    std::int64_t size;

    void sink(std::int64_t i) {
        const NmsKey key = keys[i];
        for (std::int64_t child; (child = 2 * i + 1) < size; i = child) {
            child += child + 1 < size && nms_precedes(keys[child + 1], keys[child]);
            if (!nms_precedes(keys[child], key)) break;
            keys[i] = keys[child];
        }
        keys[i] = key;
    }
    void build() {
        for (std::int64_t i = size / 2; i-- > 0;) sink(i);
    }
    void replace_first(const NmsKey& key) {
        keys[0] = key;
        sink(0);
    }
    void drop_first() { replace_first(keys[--size]); }
};

void report_greedily(Tiles& tiles, std::int64_t map, std::int64_t most, Heap heap,
                     std::vector<NmsDetection>& out) {
    char room[kMaxTileRows * kNmsTileWidth * kItemMax];
    heap.build();
    while (heap.size > 0 && static_cast<std::int64_t>(out.size()) < most) {
        const std::int64_t place = heap.keys[0].place, y = nms_row(place), x = nms_column(place);
        const std::int64_t tile_y = y >> tiles.shift, tile_x = x / kNmsTileWidth;
        std::uint32_t* const words = tiles.words((map * tiles.down + tile_y) * tiles.across + tile_x);
        if ((words[y & (tiles.rows - 1)] >> x % kNmsTileWidth & 1u) != 0) {
            out.push_back(tiles.detection(map, place));
            tiles.strike(map, y, x);
        }
        const std::int64_t top = tile_y << tiles.shift, start = tile_x * kNmsTileWidth;
        std::uint32_t any = 0;
        for (int r = 0; r < tiles.rows; ++r) any |= words[r];
        NmsKey next = {kNmsNone, kNmsNone};
        if (any != 0) next = tiles.search(tiles.cells(map, top, start, room), top, start, words);
        if (next.order == kNmsNone) {
            heap.drop_first();
        } else {
            heap.replace_first(next);
        }
    }
}

// Where cells suppress none but themselves, all that live are detections. `keys` has room for them.
void report_all(const Tiles& tiles, std::int64_t map, std::int64_t most, std::vector<NmsKey>& keys,
                std::vector<NmsDetection>& out) {
    for (std::int64_t t = 0; t < tiles.per_map; ++t) {
        const std::size_t tile = static_cast<std::size_t>(map * tiles.per_map + t);
        if (tiles.best[tile].order == kNmsNone) continue;
        const std::uint32_t* const words = tiles.alive.data() + (tile << tiles.shift);
        const std::int64_t top = t / tiles.across << tiles.shift, left = t % tiles.across * kNmsTileWidth;
        for (int r = 0; r < tiles.rows; ++r)
            for (std::uint32_t word = words[r]; word != 0; word &= word - 1)
                keys.push_back(tiles.key(map, top + r, left + __builtin_ctz(word)));
    }
    const auto precedes = [](const NmsKey& a, const NmsKey& b) { return nms_precedes(a, b); };
    const std::size_t count = std::min(keys.size(), static_cast<std::size_t>(most));
    const auto end = keys.begin() + static_cast<std::ptrdiff_t>(count);
    if (count < keys.size()) std::nth_element(keys.begin(), end, keys.end(), precedes);
    std::sort(keys.begin(), end, precedes);
    for (std::size_t i = 0; i < count; ++i) out.push_back(tiles.detection(map, keys[i].place));
}

// The tiles of a map with living cells, gathered at the front of its keys, which a heap may then move.
Heap gather_heap(Tiles& tiles, std::int64_t map) {
    NmsKey* const keys = tiles.best.data() + map * tiles.per_map;
    NmsKey* const end =
        std::remove_if(keys, keys + tiles.per_map, [](const NmsKey& key) { return key.order == kNmsNone; });
    return {keys, end - keys};
}

}  // namespace

NmsLists nms_cpu(const NmsArgs& args, std::int64_t max_points) {
    if (args.height == 0 || args.width == 0) return {};
    NmsLists lists(static_cast<std::size_t>(args.maps));
    if (args.maps == 0) return lists;
    Tiles tiles(args);
    tiles.fill();
    // All memory is taken here: tasks must not throw. How much hangs on which cells live and on the region
    // alone, not on values, which may change.
    const bool alone = baseline::nms_alone(args.region);
    const std::int64_t tile_most = baseline::nms_most(tiles.rows, kNmsTileWidth, args.region);
    const std::int64_t map_most =
        std::min(max_points, baseline::nms_most(args.height, args.width, args.region));
    std::vector<std::vector<NmsKey>> keys(lists.size());
    std::vector<Heap> heaps;
    for (std::int64_t map = 0; map < args.maps; ++map) {
        const std::size_t m = static_cast<std::size_t>(map);
        std::int64_t most;
        if (alone) {
            most = tiles.count_alive(map);
            keys[m].reserve(static_cast<std::size_t>(most));
        } else {
            heaps.push_back(gather_heap(tiles, map));
            most = heaps[m].size * tile_most;
        }
        lists[m].reserve(static_cast<std::size_t>(std::min(map_most, most)));
    }
    parallel_for(args.maps, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t map = begin; map < end; ++map) {
            const std::size_t m = static_cast<std::size_t>(map);
            if (alone) {
                report_all(tiles, map, map_most, keys[m], lists[m]);
            } else {
                report_greedily(tiles, map, map_most, heaps[m], lists[m]);
            }
        }
    });
    return lists;
}

}  // namespace fastwsi
