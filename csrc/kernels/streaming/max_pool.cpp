#include "kernels/streaming/max_pool.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "base/cpu.h"
#include "kernels/streaming/max_pool_rows.inl"

namespace fastwsi {
namespace {

constexpr int kMostTaps = 255;
constexpr std::int64_t kTaskValues = 1 << 15;

template <class T>
struct Functions {
    void (*taps)(const PoolTaps<T>&);
    void (*pairs)(const PoolPairs<T>&);
};

template <class T>
const T* cells(const RowArray& array, const RowShape& shape, std::int64_t outer, std::int64_t row) {
    return reinterpret_cast<const T*>(array.outer(shape, outer) + row * array.row);
}

// What a window outside of the slab gives; the callers' windows all meet it.
template <class T>
void put_nothing(T* y, std::uint8_t* index, std::int64_t n) {
    std::fill(y, y + n, -std::numeric_limits<T>::infinity());
    std::memset(index, 255, static_cast<std::size_t>(n));
}

// The taps of one window, `n` channels wide; x is where its column 0 would be in the slab's row 0.
template <class T>
class Window {
  public:
    Window(const MaxPoolArgs& args, void (*function)(const PoolTaps<T>&))
        : args_(args), function_(function), step_(args.slab.channels_last ? args.slab.channels : 1) {}

    void pool(std::int64_t outer, std::int64_t oy, std::int64_t ox, T* y, std::uint8_t* index) {
        int count = 0;
        const std::int64_t y1 = args_.y.last(oy, args_.slab.height), x1 = args_.x.last(ox, args_.slab.width);
        for (std::int64_t ky = args_.y.first(oy); ky < y1; ++ky) {
            const T* const row =
                cells<T>(args_.large, args_.slab, outer, args_.y.begin(oy) + ky * args_.y.dilation);
            for (std::int64_t kx = args_.x.first(ox); kx < x1; ++kx) {
                taps_[count] = row + (args_.x.begin(ox) + kx * args_.x.dilation) * step_;
                numbers_[count++] = static_cast<std::uint8_t>(ky * args_.x.kernel + kx);
            }
        }
        if (count == 0) return put_nothing(y, index, step_);
        function_({taps_, numbers_, count, step_, y, index});
    }

  private:
    const MaxPoolArgs& args_;
    void (*function_)(const PoolTaps<T>&);
    std::int64_t step_;
    const T* taps_[kMostTaps];
    std::uint8_t numbers_[kMostTaps];
};

template <class T>
void pool_channels_last(const MaxPoolArgs& args, const Functions<T>& functions) {
    const std::int64_t rows = args.pooled.height, line = args.pooled.line();
    parallel_for(args.pooled.images * rows, kTaskValues / line, [&](std::int64_t begin, std::int64_t end) {
        Window<T> window(args, functions.taps);
        for (std::int64_t i = begin; i < end; ++i) {
            T* y = const_cast<T*>(cells<T>(args.small, args.pooled, i / rows, i % rows));
            std::uint8_t* index =
                const_cast<std::uint8_t*>(cells<std::uint8_t>(args.index, args.pooled, i / rows, i % rows));
            for (std::int64_t ox = 0; ox < args.pooled.width; ++ox) {
                window.pool(i / rows, i % rows, ox, y, index);
                y += args.pooled.channels;
                index += args.pooled.channels;
            }
        }
    });
}

// Rows of a plane, taken apart by the stride: then neighbouring windows find each of their taps side by side.
// Windows that reach beyond the sides are left to Window.
template <class T>
class Plane {
  public:
    Plane(const MaxPoolArgs& args, const Functions<T>& functions)
        : args_(args), x_(args.x), functions_(functions), window_(args, functions.taps) {
        const std::int64_t width = args.slab.width, columns = args.pooled.width;
        const std::int64_t reach = (x_.kernel - 1) * x_.dilation;
        inner_ = x_.inner_begin(columns);
        inner_end_ = x_.inner_end(columns, width);
        if (x_.stride == 1 || inner_ == inner_end_) return;
        lengths_.resize(static_cast<std::size_t>(x_.stride));
        for (std::int64_t kx = 0; kx < x_.kernel; ++kx) {
            std::int64_t& length = lengths_[static_cast<std::size_t>(kx * x_.dilation % x_.stride)];
            length = inner_end_ - inner_ + kx * x_.dilation / x_.stride;
        }
        room_ = inner_end_ - inner_ + reach / x_.stride;
        slots_ = (args.y.kernel - 1) * args.y.dilation + 1;
        held_.assign(static_cast<std::size_t>(slots_), -1);
        store_.resize(static_cast<std::size_t>(slots_ * x_.stride * room_));
    }

    void pool_rows(std::int64_t plane, std::int64_t begin, std::int64_t end) {
        std::fill(held_.begin(), held_.end(), -1);
        for (std::int64_t oy = begin; oy < end; ++oy) pool_row(plane, oy);
    }

  private:
    void pool_row(std::int64_t plane, std::int64_t oy) {
        T* const y = const_cast<T*>(cells<T>(args_.small, args_.pooled, plane, oy));
        std::uint8_t* const index =
            const_cast<std::uint8_t*>(cells<std::uint8_t>(args_.index, args_.pooled, plane, oy));
        for (std::int64_t ox = 0; ox < inner_; ++ox) window_.pool(plane, oy, ox, y + ox, index + ox);
        for (std::int64_t ox = inner_end_; ox < args_.pooled.width; ++ox)
            window_.pool(plane, oy, ox, y + ox, index + ox);
        if (inner_ == inner_end_) return;
        int count = 0;
        const std::int64_t last = args_.y.last(oy, args_.slab.height);
        for (std::int64_t ky = args_.y.first(oy); ky < last; ++ky) {
            const std::int64_t r = args_.y.begin(oy) + ky * args_.y.dilation;
            const T* const row = cells<T>(args_.large, args_.slab, plane, r) + x_.begin(inner_);
            const T* const parts = x_.stride == 1 ? row : taken_apart(row, r);
            for (std::int64_t kx = 0; kx < x_.kernel; ++kx) {
                const std::int64_t at = kx * x_.dilation;
                taps_[count] = parts + at % x_.stride * room_ + at / x_.stride;
                numbers_[count++] = static_cast<std::uint8_t>(ky * x_.kernel + kx);
            }
        }
        const std::int64_t n = inner_end_ - inner_;
        if (count == 0) return put_nothing(y + inner_, index + inner_, n);
        functions_.taps({taps_, numbers_, count, n, y + inner_, index + inner_});
    }

    // The row r, read once for all the windows that it is in.
    const T* taken_apart(const T* row, std::int64_t r) {
        T* const to = store_.data() + r % slots_ * x_.stride * room_;
        std::int64_t& held = held_[static_cast<std::size_t>(r % slots_)];
        if (held == r) return to;
        held = r;
        if (x_.stride == 2) {
            functions_.pairs({row, to, lengths_[0], to + room_, lengths_[1]});
            return to;
        }
        for (std::int64_t p = 0; p < x_.stride; ++p)
            for (std::int64_t i = 0; i < lengths_[static_cast<std::size_t>(p)]; ++i)
                to[p * room_ + i] = row[p + i * x_.stride];
        return to;
    }

    const MaxPoolArgs& args_;
    const MaxPoolAxis x_;
    const Functions<T>& functions_;
    Window<T> window_;
    std::int64_t inner_, inner_end_;  // the windows that lie within the sides
    std::int64_t room_ = 0, slots_ = 1;
    std::vector<std::int64_t> lengths_, held_;  // of the parts of a row; the rows in the slots
    std::vector<T> store_;
    const T* taps_[kMostTaps];
    std::uint8_t numbers_[kMostTaps];
};

template <class T>
void max_pool(const MaxPoolArgs& args, const Functions<T>& functions) {
    if (args.pooled.outers() * args.pooled.height * args.pooled.line() == 0) return;
    if (args.slab.channels_last) return pool_channels_last(args, functions);
    const std::int64_t rows = args.pooled.height;
    const std::int64_t group = std::min(std::max<std::int64_t>(kTaskValues / args.pooled.width, 1), rows);
    const std::int64_t groups = (rows - 1) / group + 1;
    const std::int64_t per_task = std::max<std::int64_t>(kTaskValues / (args.pooled.width * group), 1);
    parallel_for(args.pooled.outers() * groups, per_task, [&](std::int64_t begin, std::int64_t end) {
        Plane<T> plane(args, functions);
        for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t first = i % groups * group;
            plane.pool_rows(i / groups, first, std::min(first + group, rows));
        }
    });
}

}  // namespace

void max_pool_cpu(const MaxPoolArgs& args) {
    if (args.dtype == DType::f32) {
        max_pool<float>(args, {FASTWSI_SELECT(pool_taps_f32), FASTWSI_SELECT(pool_pairs_f32)});
    } else {
        max_pool<double>(args, {FASTWSI_SELECT(pool_taps_f64), FASTWSI_SELECT(pool_pairs_f64)});
    }
}

}  // namespace fastwsi
