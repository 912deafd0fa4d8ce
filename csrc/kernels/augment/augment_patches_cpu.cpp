#include "kernels/augment/augment_patches.h"

#include <vector>

#include "base/cpu.h"
#include "base/runs.h"
#include "kernels/augment/augment_patches_rows.inl"
#include "kernels/augment/tiles.h"

namespace fastwsi {
namespace {

constexpr std::int64_t kRun = 1024;  // pixels: what a run touches stays in the L1 cache
static_assert(kRun % baseline::kBlock == 0, "parked values are finished in longer runs than they came in");

struct Functions {
    PatchSums* sums;
    PatchBegin* begin;
    PatchEnd* end;
    PatchStore* store;
};

struct Sums {
    double of[3];
};

// One patch on its way to an output of T (or of a type of its size), whatever the strides.
template <class T>
class Work {
  public:
    Work(const PatchLayout& layout, const Patch& patch, const Functions& functions)
        : layout_(layout),
          patch_(patch),
          functions_(functions),
          // The pixels of one row lie as the packed code writes them; and so do all rows, one behind the
          // other.
          interleaved_(layout.channel == kItem && layout.column == 3 * kItem),
          row_packed_(interleaved_ || (!kBytes && layout.column == kItem)),
          rows_joined_(row_packed_ && layout.row == layout.width * layout.column) {}

    // True where values before contrast may be parked in the output, which spares computing them twice.
    // Sums over rows round otherwise than sums over tiles, and a patch shall come out alike as pixels and as
    // planes: pixels in rows apart are parked only where tiles are cut into rows anyway.
    bool can_park() const {
        const bool alike = !interleaved_ || rows_joined_ || layout_.width > kTileColumns;
        return layout_.dtype == DType::f32 && row_packed_ && alike &&
               baseline::mode_of(patch_.colour) != ColourMode::plain &&
               (patch_.colour.steps & kContrastFirst) == 0;
    }

    Sums park(const Tile& tile, const PixelMap& before) const {
        Sums sums = {};
        for_each_run(tile, [&](const std::uint8_t* in, std::int64_t n, std::uint32_t, char* out) {
            functions_.begin(in, n, before, output(out), sums.of);
        });
        return sums;
    }

    void finish_parked(const Tile& tile, const PixelMap& map) const {
        for_each_stretch(tile, [&](std::int64_t, std::int64_t n, std::uint32_t number, char* out) {
            functions_.end(output(out), n, number, map);
        });
    }

    Sums sum(const Tile& tile, const PixelMap& before) const {
        Sums sums = {};
        std::uint8_t scratch[3 * kTileRows * kTileColumns];
        functions_.sums(packed_pixels(patch_, tile, scratch), tile.rows * tile.columns, before, sums.of);
        return sums;
    }

    void store(const Tile& tile, const PixelMap& map) const {
        for_each_run(tile, [&](const std::uint8_t* in, std::int64_t n, std::uint32_t number, char* out) {
            if (row_packed_) return functions_.store(in, n, number, map, layout_.dtype, output(out));
            T scratch[3 * kRun];
            functions_.store(in, n, number, map, layout_.dtype,
                             {{scratch, scratch + n, scratch + 2 * n}, false});
            for (int c = 0; c < 3; ++c)
                scatter(kBytes ? scratch + c : scratch + c * n, kBytes ? 3 : 1, out + c * layout_.channel,
                        layout_.column, n);
        });
    }

  private:
    static constexpr bool kBytes = sizeof(T) == 1;
    static constexpr std::int64_t kItem = static_cast<std::int64_t>(sizeof(T));

    PatchOutput output(char* out) const {
        return {{out, out + layout_.channel, out + 2 * layout_.channel}, interleaved_};
    }

    // body(pixel in the tile, n, pixel in the patch, where it stands in the output) over stretches of a tile
    // that are whole rows or, where rows follow one another, the tile.
    template <class Body>
    void for_each_stretch(const Tile& tile, const Body& body) const {
        const bool joined = tile.columns == layout_.width && rows_joined_;
        const std::int64_t rows = joined ? 1 : tile.rows;
        const std::int64_t length = joined ? tile.rows * tile.columns : tile.columns;
        for (std::int64_t row = 0; row < rows; ++row) {
            const std::int64_t y = tile.y + row;
            body(row * length, length, static_cast<std::uint32_t>(y * layout_.width + tile.x),
                 static_cast<char*>(patch_.output) + y * layout_.row + tile.x * layout_.column);
        }
    }

    // body(packed pixels, n, pixel in the patch, where it stands in the output) over runs of a tile.
    template <class Body>
    void for_each_run(const Tile& tile, const Body& body) const {
        std::uint8_t scratch[3 * kTileRows * kTileColumns];
        const std::uint8_t* const in = packed_pixels(patch_, tile, scratch);
        for_each_stretch(tile, [&](std::int64_t first, std::int64_t n, std::uint32_t number, char* out) {
            for (std::int64_t i = 0; i < n; i += kRun)
                body(in + 3 * (first + i), n - i < kRun ? n - i : kRun,
                     number + static_cast<std::uint32_t>(i), out + i * layout_.column);
        });
    }

    const PatchLayout& layout_;
    const Patch& patch_;
    const Functions& functions_;
    bool interleaved_, row_packed_, rows_joined_;
};

// Both readings of a patch. Within a task of several patches the loops run on one thread, and the second
// reading finds the patch in the cache. `parts`: one for each tile.
template <class T>
void one_patch(const PatchLayout& layout, const Patch& patch, const Functions& functions, Sums* parts) {
    const Work<T> work(layout, patch, functions);
    const Tiling tiles(layout.height, layout.width);
    const auto for_each_tile = [&](const auto& body) {
        parallel_for(tiles.count(), 2, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) body(i);
        });
    };
    const bool measured = baseline::measures_mean(patch.colour), parked = measured && work.can_park();
    double mean[3];
    for (int c = 0; c < 3; ++c) mean[c] = static_cast<double>(patch.colour.contrast_mean[c]);
    if (measured) {
        const PixelMap before = baseline::fold_for_mean(patch.colour);
        for_each_tile([&](std::int64_t i) {
            parts[i] = parked ? work.park(tiles[i], before) : work.sum(tiles[i], before);
        });
        for (int c = 0; c < 3; ++c) {
            double total = 0;
            for (std::int64_t i = 0; i < tiles.count(); ++i) total += parts[i].of[c];
            mean[c] = total / static_cast<double>(layout.height * layout.width);
        }
    }
    PixelMap map = baseline::fold(patch.colour, mean);
    if (parked) {
        map.mode = ColourMode::done;
        for_each_tile([&](std::int64_t i) { work.finish_parked(tiles[i], map); });
    } else {
        for_each_tile([&](std::int64_t i) { work.store(tiles[i], map); });
    }
}

}  // namespace

void augment_patches_cpu(const PatchLayout& layout, const Patch* patches, std::int64_t count) {
    constexpr std::int64_t kSharedPixels = 1 << 18;  // larger patches are cut between threads
    const std::int64_t pixels = layout.height * layout.width;
    if (pixels == 0) return;
    // Chosen on the calling thread, whose SIMD level counts.
    const Functions functions{FASTWSI_SELECT(patch_sums), FASTWSI_SELECT(patch_begin),
                              FASTWSI_SELECT(patch_end), FASTWSI_SELECT(patch_store)};
    const std::int64_t tiles = Tiling(layout.height, layout.width).count();
    std::vector<Sums> parts(static_cast<std::size_t>(tiles * count));
    const std::int64_t together = pixels > kSharedPixels ? count : kTaskPositions / pixels;
    const auto run = [&](auto* patch_function) {
        parallel_for(count, together, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i)
                patch_function(layout, patches[i], functions, parts.data() + i * tiles);
        });
    };
    switch (layout.dtype) {
        case DType::u8: return run(one_patch<std::uint8_t>);
        case DType::f16:
        case DType::bf16: return run(one_patch<Half>);
        default: return run(one_patch<float>);
    }
}

}  // namespace fastwsi
