#include "kernels/pooling/dense_pool.h"

#include <cstdint>
#include <vector>

#include "base/cpu.h"
#include "kernels/pooling/dense_pool_rows.inl"
#include "kernels/pooling/dense_pool_tiles.h"

namespace fastwsi {

// Proofs (gradcheck) run in float64: one plain copy of the code for every processor.
void baseline::pool_sum_rows_f64(const PoolRect& x, double* sum, bool add) { sum_rows<double>(x, sum, add); }
void baseline::pool_store_f64(const double* values, std::int64_t step, double factor, const PoolRect& y) {
    store<double>(values, step, factor, y);
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

class Forward {
  public:
    Forward(const DensePoolArgs& args, const PoolRows& run, std::int64_t windows, std::int64_t lanes)
        : run_(&run),
          y_(args.y),
          x_(args.x),
          columns_((windows - 1) * x_.stride + x_.window),
          factor_(1.0 / (static_cast<double>(y_.window) * static_cast<double>(x_.window))),
          batch_(run, columns_, lanes),
          down_(run, std::max<std::int64_t>(y_.whole(), 1), columns_ * lanes),
          whole_((windows + x_.whole()) * batch_.lanes()),
          part_((windows + x_.whole()) * batch_.lanes()),
          suffix_((x_.whole() + 1) * 4),
          sums_(windows * batch_.lanes()) {}

    void pool(const PoolTile& tile) {
        const std::int64_t whole = y_.whole(), rest = y_.rest(), stride = y_.stride;
        const std::int64_t columns = (tile.x1 - tile.x0 - 1) * x_.stride + x_.window;
        const char* const corner =
            tile.large + tile.x0 * x_.stride * x_.large_step + tile.y0 * stride * y_.large_step;
        const auto add_rows = [&](std::int64_t first, std::int64_t count, double* sum, bool add) {
            char* const data = const_cast<char*>(corner) + first * y_.large_step;
            run_->sum_rows({data, y_.large_step, count, x_.large_step, columns, tile.lanes}, sum, add);
        };
        std::int64_t window = 0;
        const std::int64_t windows = tile.y1 - tile.y0;
        const auto finish = [&] {
            ++window;
            if (window % batch_.size() == 0 || window == windows) across(tile, window);
        };
        if (whole == 0) {
            while (window < windows) {
                add_rows(window * stride, rest, batch_.row(window % batch_.size()), false);
                finish();
            }
            return;
        }
        down_.restart();
        bool waiting = false;  // for the first `rest` rows of the next stride
        for (std::int64_t k = 0; window < windows; ++k) {
            double* const sum = down_.slot();
            if (rest > 0) {
                add_rows(k * stride, rest, sum, false);
                if (waiting) {
                    run_->add(batch_.row(window % batch_.size()), sum, columns * tile.lanes);
                    finish();
                    if (window == windows) break;
                }
            }
            add_rows(k * stride + rest, stride - rest, sum, rest > 0);
            const bool ends = down_.push(batch_.row(window % batch_.size()));
            waiting = ends && rest > 0;
            if (ends && rest == 0) finish();
        }
    }

  private:
    // The windows of the batch's rows, of which `window` is one past the last.
    void across(const PoolTile& tile, std::int64_t window) {
        const std::int64_t rows = (window - 1) % batch_.size() + 1, lanes = batch_.lanes();
        const std::int64_t count = tile.x1 - tile.x0, whole = x_.whole(), rest = x_.rest();
        run_->cut({batch_.woven(), lanes, x_.stride, rest, whole_.data(), whole > 0 ? count + whole - 1 : 0,
                   part_.data(), rest > 0 ? count + whole : 0});
        const double* sums = part_.data();
        if (whole > 0) {
            run_->slide({whole_.data(), rest > 0 ? part_.data() + whole * lanes : nullptr, lanes, whole,
                         count, suffix_.data(), sums_.data()});
            sums = sums_.data();
        }
        for (std::int64_t i = 0; i < rows; ++i) {
            char* const to =
                tile.small + (tile.y0 + window - rows + i) * y_.small_step + tile.x0 * x_.small_step;
            run_->store(sums + i, lanes, factor_, {to, 0, 1, x_.small_step, count, tile.lanes});
        }
    }

    const PoolRows* run_;
    PoolAxis y_, x_;
    std::int64_t columns_;
    double factor_;
    Batch batch_;
    SlidingRows down_;
    std::vector<double> whole_, part_, suffix_, sums_;
};

}  // namespace

void dense_pool_cpu(const DensePoolArgs& args) {
    const PoolRows run = choose_pool_rows(args.dtype);
    for_each_tile(args, args.y.small, args.x.small, [&](std::int64_t windows, std::int64_t lanes) {
        return Forward(args, run, windows, lanes);
    });
}

}  // namespace fastwsi
