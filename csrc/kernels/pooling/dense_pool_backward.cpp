#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/pooling/dense_pool.h"
#include "kernels/pooling/dense_pool_tiles.h"

namespace fastwsi {
namespace {

// The gradient of position i is that of the windows over it. All positions of a stride from `rest` on lie
// under the same `whole` windows, those before it under one more. Works on strides, then repeats each value.
class Backward {
  public:
    Backward(const DensePoolArgs& args, const PoolRows& run, std::int64_t strides, std::int64_t lanes)
        : run_(&run),
          y_(args.y),
          x_(args.x),
          item_(item_size(args.dtype)),
          columns_(strides + x_.whole()),
          factor_(1.0 / (static_cast<double>(y_.window) * static_cast<double>(x_.window))),
          batch_(run, columns_, lanes),
          down_(run, std::max<std::int64_t>(y_.whole(), 1), columns_ * lanes),
          sums_(columns_ * batch_.lanes()),
          first_(columns_ * batch_.lanes()),
          suffix_((x_.whole() + 1) * 4),
          extra_(columns_ * lanes),
          targets_(batch_.size()) {}

    void pool(const PoolTile& tile) {
        const std::int64_t whole = y_.whole(), rest = y_.rest();
        down_.restart();
        filled_ = 0;
        for (std::int64_t k = tile.y0 - std::max<std::int64_t>(whole - 1, 0); k < tile.y1; ++k) {
            double* const sum = batch_.row(filled_);
            if (whole > 0) {
                load(tile, k, down_.slot());
                if (!down_.push(sum)) continue;
            } else {
                std::memset(sum, 0, bytes(tile));
            }
            const std::int64_t top = k * y_.stride, bottom = std::min(top + y_.stride, y_.large);
            const std::int64_t cut = std::min(top + rest, bottom);
            if (rest > 0) {
                std::memcpy(extra_.data(), sum, bytes(tile));
                if (k >= whole && k - whole < y_.small) {
                    load(tile, k - whole, batch_.row(filled_));
                    run_->add(batch_.row(filled_), extra_.data(), columns_ * tile.lanes);
                }
                take(tile, top, cut);
                if (cut == bottom) continue;
                std::memcpy(batch_.row(filled_), extra_.data(), bytes(tile));
            }
            take(tile, cut, bottom);
        }
        if (filled_ > 0) across(tile);
    }

  private:
    struct Target {
        std::int64_t top, bottom;
    };

    std::size_t bytes(const PoolTile& tile) const {
        return static_cast<std::size_t>(columns_ * tile.lanes) * sizeof(double);
    }

    // The gradients of row k's windows, from `whole` before the tile's first stride on; 0 where there is
    // none.
    void load(const PoolTile& tile, std::int64_t k, double* row) const {
        std::memset(row, 0, bytes(tile));
        if (k < 0 || k >= y_.small) return;
        const std::int64_t left = tile.x0 - x_.whole();
        const std::int64_t x0 = std::max<std::int64_t>(left, 0), x1 = std::min(tile.x1, x_.small);
        if (x0 >= x1) return;
        char* const from = tile.small + k * y_.small_step + x0 * x_.small_step;
        run_->sum_rows({from, 0, 1, x_.small_step, x1 - x0, tile.lanes}, row + (x0 - left) * tile.lanes,
                       false);
    }

    // The batch's next row is there; it belongs into the rows [top, bottom).
    void take(const PoolTile& tile, std::int64_t top, std::int64_t bottom) {
        targets_[static_cast<std::size_t>(filled_++)] = {top, bottom};
        if (filled_ == batch_.size()) across(tile);
    }

    void across(const PoolTile& tile) {
        const std::int64_t lanes = batch_.lanes(), strides = tile.x1 - tile.x0, whole = x_.whole();
        const double* const woven = batch_.woven();
        const std::int64_t n = strides * lanes;
        if (whole > 0) {
            run_->slide({woven + lanes, nullptr, lanes, whole, strides, suffix_.data(), sums_.data()});
        } else {
            std::fill_n(sums_.data(), n, 0.0);
        }
        const double* first = sums_.data();
        if (x_.rest() > 0) {  // with the window that ends within the stride
            std::memcpy(first_.data(), sums_.data(), static_cast<std::size_t>(n) * sizeof(double));
            run_->add(first_.data(), woven, n);
            first = first_.data();
        }
        const std::int64_t left = tile.x0 * x_.stride, right = std::min(tile.x1 * x_.stride, x_.large);
        for (std::int64_t i = 0; i < filled_; ++i) {
            const Target target = targets_[static_cast<std::size_t>(i)];
            char* const to = tile.large + target.top * y_.large_step + left * x_.large_step;
            run_->spread(first + i, sums_.data() + i, lanes, x_.stride, x_.rest(), factor_,
                         {to, 0, 1, x_.large_step, right - left, tile.lanes});
            for (std::int64_t y = target.top + 1; y < target.bottom; ++y)
                repeat(to, to + (y - target.top) * y_.large_step, right - left, tile.lanes * item_);
        }
        filled_ = 0;
    }

    void repeat(const char* from, char* to, std::int64_t columns, std::int64_t unit) const {
        if (x_.large_step == unit) {
            std::memcpy(to, from, static_cast<std::size_t>(columns * unit));
            return;
        }
        for (std::int64_t c = 0; c < columns; ++c)
            std::memcpy(to + c * x_.large_step, from + c * x_.large_step, static_cast<std::size_t>(unit));
    }

    const PoolRows* run_;
    PoolAxis y_, x_;
    std::int64_t item_, columns_;
    double factor_;
    Batch batch_;
    SlidingRows down_;
    std::vector<double> sums_, first_, suffix_, extra_;
    std::vector<Target> targets_;
    std::int64_t filled_ = 0;
};

}  // namespace

void dense_pool_backward_cpu(const DensePoolArgs& args) {
    const PoolRows run = choose_pool_rows(args.dtype);
    if (args.y.large == 0 || args.x.large == 0) return;
    for_each_tile(args, args.y.strides(), args.x.strides(), [&](std::int64_t strides, std::int64_t lanes) {
        return Backward(args, run, strides, lanes);
    });
}

}  // namespace fastwsi
