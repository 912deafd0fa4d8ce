#include "kernels/pooling/dense_pool.h"

#include <cstdint>
#include <vector>

#include "base/cpu.h"
#include "kernels/pooling/dense_pool_rows.inl"
#include "kernels/pooling/dense_pool_tiles.h"

namespace fastwsi {

// Proofs (gradcheck) run in float64: one plain copy of the code for every processor.
void baseline::pool_sum_rows_f64(const PoolRect& x, double* sum, bool add) { sum_rows<double>(x, sum, add); }
void baseline::pool_store_f64(const double* values, double factor, const PoolRect& y) {
    store<double>(values, factor, y);
}
void baseline::pool_spread_f64(const double* first, const double* others, std::int64_t step,
                               std::int64_t stride, std::int64_t rest, double factor, const PoolRect& y) {
    spread<double>(first, others, step, stride, rest, factor, y);
}

PoolRows choose_pool_rows(DType dtype) {
    PoolRows rows = {baseline::pool_sum_rows_f64, baseline::pool_store_f64,     baseline::pool_spread_f64,
                     FASTWSI_SELECT(pool_add),    FASTWSI_SELECT(pool_advance), FASTWSI_SELECT(pool_weave),
                     FASTWSI_SELECT(pool_cut),    FASTWSI_SELECT(pool_slide)};
    const auto choose = [&](PoolSumRows* sum_rows, PoolStore* store, PoolSpread* spread) {
        rows.sum_rows = sum_rows;
        rows.store = store;
        rows.spread = spread;
    };
    if (dtype == DType::f32)
        choose(FASTWSI_SELECT(pool_sum_rows_f32), FASTWSI_SELECT(pool_store_f32),
               FASTWSI_SELECT(pool_spread_f32));
    if (dtype == DType::f16)
        choose(FASTWSI_SELECT(pool_sum_rows_f16), FASTWSI_SELECT(pool_store_f16),
               FASTWSI_SELECT(pool_spread_f16));
    if (dtype == DType::bf16)
        choose(FASTWSI_SELECT(pool_sum_rows_bf16), FASTWSI_SELECT(pool_store_bf16),
               FASTWSI_SELECT(pool_spread_bf16));
    return rows;
}

namespace {

constexpr std::int64_t kChunkValues = 2048;  // of a row of sums, on their way into the cut

// A row of a tile is cut into strides as soon as it is read, which leaves little to slide down and across.
class Forward {
  public:
    Forward(const DensePoolArgs& args, const PoolRows& run, std::int64_t windows, std::int64_t lanes)
        : run_(&run),
          y_(args.y),
          x_(args.x),
          factor_(1.0 / (static_cast<double>(y_.window) * static_cast<double>(x_.window))),
          lanes_(lanes),
          room_(windows + x_.whole() + 3),
          chunk_(std::max<std::int64_t>(kChunkValues / (x_.stride * lanes) / 4, 1) * 4),
          batch_(run, room_ * (x_.rest() > 0 ? 2 : 1), lanes),
          down_(run, std::max<std::int64_t>(y_.whole(), 1), batch_.columns() * lanes),
          line_((chunk_ + 3) * x_.stride * lanes),
          more_(batch_.columns() * lanes),
          suffix_((x_.whole() + 1) * 4),
          sums_(windows * batch_.lanes()) {}

    void pool(const PoolTile& tile) {
        const std::int64_t whole = y_.whole(), rest = y_.rest(), stride = y_.stride;
        const std::int64_t windows = tile.y1 - tile.y0, n = batch_.columns() * lanes_;
        std::int64_t window = 0;
        const auto next_row = [&] { return batch_.row(window % batch_.size()); };
        const auto finish = [&] {
            ++window;
            if (window % batch_.size() == 0 || window == windows) across(tile, window);
        };
        if (whole == 0) {
            for (; window < windows; finish()) cut_rows(tile, window * stride, rest, next_row());
            return;
        }
        down_.restart();
        bool waiting = false;  // for the first `rest` rows of the next stride
        for (std::int64_t k = 0; window < windows; ++k) {
            double* const sum = down_.slot();
            if (rest > 0) {
                cut_rows(tile, k * stride, rest, sum);
                if (waiting) {
                    run_->add(next_row(), sum, n);
                    finish();
                    if (window == windows) break;
                }
                cut_rows(tile, k * stride + rest, stride - rest, more_.data());
                run_->add(sum, more_.data(), n);
            } else {
                cut_rows(tile, k * stride, stride, sum);
            }
            const bool ends = down_.push(next_row());
            waiting = ends && rest > 0;
            if (ends && rest == 0) finish();
        }
    }

  private:
    // Rows of the tile, added up and cut: a value per stride, then where windows end within one, a value for
    // the part of each that belongs to them.
    void cut_rows(const PoolTile& tile, std::int64_t first, std::int64_t count, double* values) {
        const std::int64_t windows = tile.x1 - tile.x0, rest = x_.rest();
        const std::int64_t wholes = x_.whole() > 0 ? windows + x_.whole() - 1 : 0;
        const std::int64_t parts = rest > 0 ? windows + x_.whole() : 0;
        char* const from =
            tile.large + (tile.y0 * y_.stride + first) * y_.large_step + tile.x0 * x_.stride * x_.large_step;
        PoolRect rows = {from, y_.large_step, count, x_.large_step, 0, lanes_};
        if (x_.stride == 1) {
            rows.columns = wholes;
            return run_->sum_rows(rows, values, false);
        }
        for (std::int64_t k = 0; k < std::max(wholes, parts); k += chunk_) {
            const std::int64_t end = k + chunk_, cut = std::min(end, wholes);
            rows.data = from + k * x_.stride * x_.large_step;
            rows.columns = (cut - k) * x_.stride;
            if (cut < end && parts > wholes) rows.columns += rest;  // the last window's end
            if (wholes == 0) rows.columns = (std::min(end, parts) - k - 1) * x_.stride + rest;
            run_->sum_rows(rows, line_.data(), false);
            run_->cut({line_.data(), lanes_, x_.stride, rest, values + k * lanes_, cut - k,
                       values + (room_ + k) * lanes_, std::min(end, parts) - k});
        }
    }

    // The windows of the batch's rows, of which `window` is one past the last.
    void across(const PoolTile& tile, std::int64_t window) {
        const std::int64_t rows = (window - 1) % batch_.size() + 1, lanes = batch_.lanes();
        const std::int64_t count = tile.x1 - tile.x0, whole = x_.whole();
        const double* const woven = batch_.woven();
        const double* const parts = woven + room_ * lanes;
        const double* sums = parts;
        if (whole > 0) {
            run_->slide({woven, x_.rest() > 0 ? parts + whole * lanes : nullptr, lanes, whole, count,
                         suffix_.data(), sums_.data()});
            sums = sums_.data();
        }
        char* const to = tile.small + (tile.y0 + window - rows) * y_.small_step + tile.x0 * x_.small_step;
        run_->store(sums, factor_, {to, y_.small_step, rows, x_.small_step, count, tile.lanes});
    }

    const PoolRows* run_;
    PoolAxis y_, x_;
    double factor_;
    std::int64_t lanes_, room_, chunk_;
    Batch batch_;
    SlidingRows down_;
    std::vector<double> line_, more_, suffix_, sums_;
};

}  // namespace

void dense_pool_cpu(const DensePoolArgs& args) {
    const PoolRows run = choose_pool_rows(args.dtype);
    for_each_tile(args, args.y.small, args.x.small, [&](std::int64_t windows, std::int64_t lanes) {
        return Forward(args, run, windows, lanes);
    });
}

}  // namespace fastwsi
