// Walking a grid on many threads: rows cut into runs that fit the cache, runs gathered into tasks that are
// worth a thread's while. The cuts depend on the grid alone, never on the number of threads.
#pragma once

#include <cstdint>

#include "base/grid.h"
#include "base/parallel.h"

namespace fastwsi {

constexpr std::int64_t kTaskPositions = 1 << 15;  // some 0.1 ms of work, against 10 us to wake a thread

template <int N>
class Runs {
  public:
    // `longest`: positions that one run may have; kernels size their scratch by it.
    Runs(const Grid<N>& grid, std::int64_t longest)
        : grid_(grid), longest_(longest), empty_(grid.positions() == 0) {
        if (empty_) return;
        const std::int64_t columns = grid.columns();
        per_row_ = (columns - 1) / longest + 1;
        count_ = grid.rows() * per_row_;
        per_task_ = kTaskPositions / (columns < longest ? columns : longest);
        if (per_task_ < 1) per_task_ = 1;
    }

    std::int64_t tasks() const { return empty_ ? 0 : (count_ - 1) / per_task_ + 1; }

    // Calls body(task, offset, n) for every run of n positions, where offset[a] is array a's byte offset at
    // the run's start. The runs of one task come in order on one thread.
    template <class Body>
    void for_each(const Body& body) const {
        parallel_for(count_, per_task_, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                std::int64_t offset[N];
                grid_.row_offsets(i / per_row_, offset);
                const std::int64_t first = i % per_row_ * longest_;
                for (int a = 0; a < N; ++a) offset[a] += first * grid_.column_stride(a);
                const std::int64_t left = grid_.columns() - first;
                body(begin / per_task_, offset, left < longest_ ? left : longest_);
            }
        });
    }

  private:
    const Grid<N>& grid_;
    std::int64_t longest_;
    bool empty_;
    std::int64_t per_row_ = 0, count_ = 0, per_task_ = 1;
};

}  // namespace fastwsi
