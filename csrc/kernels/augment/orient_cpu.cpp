#include "kernels/augment/orient.h"

#include <algorithm>
#include <cstdint>

#include "base/cpu.h"
#include "base/orientation.h"
#include "base/parallel.h"
#include "kernels/augment/orient_rows.inl"

namespace fastwsi {
namespace {

// A column of the input becomes a row of the output: within a tile of this many rows and columns every cache
// line that is touched is used up while the first-level cache still holds it.
constexpr std::int64_t kBand = 64;
constexpr std::int64_t side_of(std::int64_t unit) { return unit <= 4 ? 64 : 32; }

// Wide bands are cut as well, so that each is work for many threads.
constexpr std::int64_t piece_of(std::int64_t unit) { return unit <= 4 ? 4096 : unit <= 64 ? 256 : 64; }

constexpr std::int64_t kTaskBytes = 1 << 18;  // some 40 us of work, against 10 us to wake a thread

std::int64_t pieces_of(std::int64_t length, std::int64_t piece) { return (length - 1) / piece + 1; }

void copy_piece(OrientCopy* copy, OrientTile tile) {
    const bool rows = tile.input_x == tile.unit || tile.input_x == -tile.unit;
    const std::int64_t width = tile.width, step = rows ? width : side_of(tile.unit);
    for (std::int64_t x = 0; x < width; x += step) {
        tile.width = std::min(step, width - x);
        copy(tile);
        tile.input += step * tile.input_x;
        tile.output += step * tile.output_x;
    }
}

}  // namespace

void orient_cpu(const OrientArgs& args) {
    OrientCopy* const copy = FASTWSI_SELECT(orient_copy);
    const std::int64_t outer = args.outer.positions();
    if (args.images == 0 || outer == 0 || args.height == 0 || args.width == 0) return;
    // Images of odd and even orientation stand side by side only where height and width are equal.
    const bool turned = transposes(args.orientations[0]);
    const std::int64_t height = turned ? args.width : args.height, width = turned ? args.height : args.width;
    const std::int64_t piece = piece_of(args.unit);
    const std::int64_t bands = pieces_of(height, kBand), pieces = pieces_of(width, piece);
    const std::int64_t piece_bytes = std::min(height, kBand) * std::min(width, piece) * args.unit;
    const std::int64_t inner = args.outer.columns();

    const auto one = [&](std::int64_t i) {
        const std::int64_t x = i % pieces * piece;
        const std::int64_t y = i / pieces % bands * kBand;
        const std::int64_t at = i / pieces / bands;
        const std::int64_t position = at % outer, image = at / outer;
        const Plane plane =
            oriented(args.height, args.width, args.input_y, args.input_x, args.orientations[image]);
        std::int64_t offset[2];
        args.outer.row_offsets(position / inner, offset);
        for (int a = 0; a < 2; ++a) offset[a] += position % inner * args.outer.column_stride(a);
        copy_piece(copy, {args.input + image * args.input_image + offset[0] + plane.offset +
                              y * plane.stride_y + x * plane.stride_x,
                          args.output + image * args.output_image + offset[1] + y * args.output_y +
                              x * args.output_x,
                          std::min(kBand, height - y), std::min(piece, width - x), plane.stride_y,
                          plane.stride_x, args.output_y, args.output_x, args.unit});
    };
    parallel_for(args.images * outer * bands * pieces, std::max<std::int64_t>(1, kTaskBytes / piece_bytes),
                 [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t i = begin; i < end; ++i) one(i);
                 });
}

}  // namespace fastwsi
