// How the CPU walks dense pooling: planes cut into tiles, rows added up as they slide by. For the baseline
// units of both directions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/parallel.h"
#include "kernels/pooling/dense_pool.h"
#include "kernels/pooling/dense_pool_rows.h"

namespace fastwsi {

constexpr std::int64_t kWoven = 4;             // rows of a single lane that slide across side by side
constexpr std::int64_t kLanes = 16;            // that are worked on at a time, or more where there is room
constexpr std::int64_t kRingValues = 1 << 16;  // that slide down at a time where windows allow: half a MiB
constexpr std::int64_t kMostRingValues = 1 << 21;
constexpr std::int64_t kTaskValues = 1 << 17;  // before pooling, that are worth a thread's while
constexpr std::int64_t kEnoughTasks = 32;      // for any machine's threads

// The row functions of one call: of its dtype, at the instruction set in use.
struct PoolRows {
    PoolSumRows* sum_rows;
    PoolStore* store;
    PoolSpread* spread;
    PoolAdd* add;
    PoolAdvance* advance;
    PoolWeave* weave;
    PoolCutRow* cut;
    PoolSlideRow* slide;
};

PoolRows choose_pool_rows(DType dtype);

// The sums of every `length` successive rows, without subtraction: rows are taken in runs of `length`; a
// window is the end of one run, added up backwards once that run is whole, and the beginning of the next.
class SlidingRows {
  public:
    SlidingRows(const PoolRows& run, std::int64_t length, std::int64_t n)
        : run_(&run), length_(length), n_(n), ring_(length * n), prefix_(n) {}

    void restart() { count_ = 0; }

    // Where the next row is to be written.
    double* slot() { return ring_.data() + count_ % length_ * n_; }

    // The row in slot() is there. Where a window ends with it: true, and the window's sum.
    bool push(double* sum) {
        const std::int64_t at = count_ % length_;
        double* const row = slot();
        const bool ends = ++count_ >= length_;
        if (at == length_ - 1) {
            for (std::int64_t i = length_ - 2; i >= 0; --i)
                run_->add(ring_.data() + i * n_, ring_.data() + (i + 1) * n_, n_);
            std::memcpy(sum, ring_.data(), static_cast<std::size_t>(n_) * sizeof(double));
        } else if (at == 0) {
            std::memcpy(prefix_.data(), row, static_cast<std::size_t>(n_) * sizeof(double));
            if (ends) {
                std::memcpy(sum, ring_.data() + n_, static_cast<std::size_t>(n_) * sizeof(double));
                run_->add(sum, prefix_.data(), n_);
            }
        } else if (ends) {
            run_->advance(prefix_.data(), row, row + n_, sum, n_);
        } else {
            run_->add(prefix_.data(), row, n_);
        }
        return ends;
    }

  private:
    const PoolRows* run_;
    std::int64_t length_, n_, count_ = 0;
    std::vector<double> ring_, prefix_;
};

// A rectangle of one plane's windows (forward) or strides (backward), and some of its lanes.
struct PoolTile {
    char* large;
    char* small;
    std::int64_t lanes, y0, y1, x0, x1;
};

// Rows that are pooled across together: four of a single lane, which become four lanes, or one of several.
class Batch {
  public:
    Batch(const PoolRows& run, std::int64_t columns, std::int64_t lanes)
        : run_(&run),
          columns_(columns),
          lanes_(lanes),
          size_(lanes == 1 ? kWoven : 1),
          rows_(columns * lanes * size_),
          woven_(lanes == 1 ? columns * kWoven : 0) {}

    std::int64_t size() const { return size_; }
    std::int64_t columns() const { return columns_; }
    std::int64_t lanes() const { return lanes_ * size_; }  // after weaving
    double* row(std::int64_t i) { return rows_.data() + i * columns_ * lanes_; }
    const double* woven() {
        if (size_ == 1) return rows_.data();
        run_->weave(rows_.data(), columns_, woven_.data());
        return woven_.data();
    }

  private:
    const PoolRows* run_;
    std::int64_t columns_, lanes_, size_;
    std::vector<double> rows_, woven_;
};

// Calls make_worker(longest, lanes) once per task, and worker.pool(tile) for the task's tiles. `down` and
// `across`: windows or strides per plane, which tiles have at most `longest` of across. Tiles begin where
// runs of SlidingRows do, so that neither the cuts nor the threads show in the result.
template <class MakeWorker>
void for_each_tile(const DensePoolArgs& args, std::int64_t down, std::int64_t across,
                   const MakeWorker& make_worker) {
    const std::int64_t planes = args.planes.positions();
    if (planes == 0 || args.lanes == 0 || down <= 0 || across <= 0) return;
    const auto cut = [](std::int64_t wanted, std::int64_t whole, std::int64_t count) {
        const std::int64_t run = std::max<std::int64_t>(whole, 1);
        return std::min((std::max(wanted, 4 * run) + run - 1) / run * run, count);
    };
    // What a row of the ring may hold: lanes first, since they lie side by side, then strides. Large windows
    // need more than that, and where it gets out of hand, fewer lanes than a cache line has.
    const std::int64_t rows = args.y.whole() + 4, room = kRingValues / rows;
    const std::int64_t least =
        std::min(4 * std::max<std::int64_t>(args.x.whole(), 1), across) + args.x.whole();
    const std::int64_t few = kLanes * rows * least <= kMostRingValues ? kLanes : kWoven;
    const std::int64_t lanes = std::min(args.lanes, std::max(room / least, few));
    const std::int64_t groups = (args.lanes - 1) / lanes + 1;
    const std::int64_t longest = cut(room / lanes - args.x.whole(), args.x.whole(), across);
    const std::int64_t columns = (across - 1) / longest + 1;
    const std::int64_t tall =
        cut(kTaskValues / (longest * args.x.stride * lanes) / args.y.stride, args.y.whole(), down);
    // Few planes are cut across their rows as well, though what windows share is then added up twice.
    const std::int64_t height = planes * groups * columns < kEnoughTasks ? tall : down;
    const std::int64_t bands = (down - 1) / height + 1;
    const std::int64_t tile_values = height * args.y.stride * longest * args.x.stride * lanes;
    const std::int64_t inner = args.planes.columns(), item = item_size(args.dtype);
    parallel_for(planes * groups * columns * bands, std::max<std::int64_t>(1, kTaskValues / tile_values),
                 [&](std::int64_t begin, std::int64_t end) {
                     std::int64_t worker_lanes = lanes;
                     auto worker = make_worker(longest, lanes);
                     for (std::int64_t i = begin; i < end; ++i) {
                         const std::int64_t x = i % columns * longest, y = i / columns % bands * height;
                         const std::int64_t lane = i / columns / bands % groups * lanes;
                         const std::int64_t plane = i / columns / bands / groups;
                         std::int64_t offset[2];
                         args.planes.row_offsets(plane / inner, offset);
                         for (int a = 0; a < 2; ++a)
                             offset[a] += plane % inner * args.planes.column_stride(a) + lane * item;
                         const std::int64_t tile_lanes = std::min(lanes, args.lanes - lane);
                         if (tile_lanes != worker_lanes) worker = make_worker(longest, tile_lanes);
                         worker_lanes = tile_lanes;
                         worker.pool({args.large + offset[0], args.small + offset[1], tile_lanes, y,
                                      std::min(y + height, down), x, std::min(x + longest, across)});
                     }
                 });
}

}  // namespace fastwsi
