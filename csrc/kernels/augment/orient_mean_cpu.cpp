#include "kernels/augment/orient_mean.h"

#include <algorithm>
#include <cstdint>

#include "base/cpu.h"
#include "base/parallel.h"
#include "kernels/augment/orient_mean_rows.inl"
#include "kernels/augment/orient_rows.h"

namespace fastwsi {
namespace {

constexpr std::int64_t kTaskValues = 1 << 14;  // eight times as many are read

struct Copies {
    OrientCopy* copy;
    OrientMeanAdd* add;
    OrientMeanFinish* finish;
};

// Columns of a tile of several rows: about square, since half of the predictions are read down its columns.
std::int64_t side_of(std::int64_t room) {
    std::int64_t side = 1;
    while (4 * side * side <= 2 * room) side *= 2;
    return side;
}

// Every value is summed in the order of the predictions, whatever the tile or the thread.
void mean_of_tile(const Copies& run, const OrientMeanArgs& args, const std::int64_t (&offset)[9],
                  std::int64_t y0, std::int64_t x0, std::int64_t height, std::int64_t width) {
    alignas(64) double sums[kOrientMeanValues];  // or floats
    alignas(64) char packed[kOrientMeanValues * sizeof(double)];
    const std::int64_t unit = args.values * item_size(args.dtype), row = width * unit;
    const std::int64_t in_row = width * args.values;
    const std::int64_t sum_row =
        in_row * static_cast<std::int64_t>(args.dtype == DType::f64 ? sizeof(double) : sizeof(float));
    // Calls body(bytes, sums, n) for the tile's rows, or once for all of them where they are packed.
    const auto each_row = [&](auto* bytes, std::int64_t step, const auto& body) {
        char* const first = reinterpret_cast<char*>(sums);
        if (step == row) return body(bytes, first, height * in_row);
        for (std::int64_t y = 0; y < height; ++y) body(bytes + y * step, first + y * sum_row, in_row);
    };
    for (int k = 0; k < kOrientations; ++k) {
        const char* values = args.prediction[k] + offset[k] + y0 * args.y[k] + x0 * args.x[k];
        std::int64_t step = args.y[k];
        if (args.x[k] != unit) {
            run.copy({values, packed, height, width, args.y[k], args.x[k], row, unit, unit});
            values = packed;
            step = row;
        }
        each_row(values, step, [&](const char* bytes, char* to, std::int64_t n) {
            run.add(args.dtype, bytes, to, n, k == 0);
        });
    }
    const std::int64_t mean_y = args.y[kOrientations], mean_x = args.x[kOrientations];
    char* const mean = args.mean + offset[kOrientations] + y0 * mean_y + x0 * mean_x;
    const bool in_place = mean_x == unit;
    each_row(in_place ? mean : packed, in_place ? mean_y : row,
             [&](char* bytes, const char* from, std::int64_t n) { run.finish(args.dtype, from, bytes, n); });
    if (!in_place) run.copy({packed, mean, height, width, row, unit, mean_y, mean_x, unit});
}

}  // namespace

void orient_mean_cpu(const OrientMeanArgs& args) {
    const Copies run = {FASTWSI_SELECT(orient_copy), FASTWSI_SELECT(orient_mean_add),
                        FASTWSI_SELECT(orient_mean_finish)};
    const std::int64_t outer = args.outer.positions();
    if (outer == 0 || args.height == 0 || args.width == 0 || args.values == 0) return;
    const std::int64_t room = kOrientMeanValues / args.values;  // positions in a tile
    const std::int64_t width = std::min(args.width, args.height == 1 ? room : side_of(room));
    const std::int64_t height = std::min(args.height, room / width);
    const std::int64_t down = (args.height - 1) / height + 1, across = (args.width - 1) / width + 1;
    const std::int64_t inner = args.outer.columns();
    const std::int64_t tile_values = height * width * args.values;
    parallel_for(outer * down * across, std::max<std::int64_t>(1, kTaskValues / tile_values),
                 [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t i = begin; i < end; ++i) {
                         const std::int64_t x = i % across * width, y = i / across % down * height;
                         const std::int64_t position = i / across / down;
                         std::int64_t offset[kOrientations + 1];
                         args.outer.row_offsets(position / inner, offset);
                         for (int a = 0; a <= kOrientations; ++a)
                             offset[a] += position % inner * args.outer.column_stride(a);
                         mean_of_tile(run, args, offset, y, x, std::min(height, args.height - y),
                                      std::min(width, args.width - x));
                     }
                 });
}

}  // namespace fastwsi
