#include <algorithm>

#include "kernels/streaming/max_pool.h"

namespace fastwsi {
namespace {

constexpr std::int64_t kChannels = 32;  // of a task in channels last: two lines of the cache for float32

// Windows are walked in their own order and threads share planes or channels, never windows: so each cell's
// sum has one order.
template <class T>
class Spread {
  public:
    explicit Spread(const MaxPoolArgs& args)
        : args_(args),
          step_(args.slab.channels_last ? args.slab.channels : 1),
          taps_(args.y.kernel * args.x.kernel) {
        const std::int64_t row = args.large.row / static_cast<std::int64_t>(sizeof(T));
        for (std::int64_t k = 0; k < taps_; ++k)
            offset_[k] =
                k / args.x.kernel * args.y.dilation * row + k % args.x.kernel * args.x.dilation * step_;
    }

    // The channels [begin, end) of an image, or of a plane the one that it has.
    void add(std::int64_t outer, std::int64_t begin, std::int64_t end) const {
        const MaxPoolAxis &ay = args_.y, &ax = args_.x;
        for (std::int64_t oy = 0; oy < args_.pooled.height; ++oy) {
            const bool inside_y = ay.first(oy) == 0 && ay.last(oy, args_.slab.height) == ay.kernel;
            const T* g =
                reinterpret_cast<const T*>(args_.small.outer(args_.pooled, outer) + oy * args_.small.row);
            const std::uint8_t* k = reinterpret_cast<const std::uint8_t*>(
                args_.index.outer(args_.pooled, outer) + oy * args_.index.row);
            for (std::int64_t ox = 0; ox < args_.pooled.width; ++ox, g += step_, k += step_) {
                if (inside_y && ax.begin(ox) >= 0 &&
                    ax.begin(ox) + (ax.kernel - 1) * ax.dilation < args_.slab.width) {
                    T* const at = cell(outer, ay.begin(oy), ax.begin(ox));
                    for (std::int64_t c = begin; c < end; ++c)
                        if (k[c] < taps_) at[offset_[k[c]] + c] += g[c];
                } else {
                    for (std::int64_t c = begin; c < end; ++c) add_one(outer, oy, ox, c, k[c], g[c]);
                }
            }
        }
    }

  private:
    T* cell(std::int64_t outer, std::int64_t y, std::int64_t x) const {
        return reinterpret_cast<T*>(args_.large.outer(args_.slab, outer) + y * args_.large.row) + x * step_;
    }

    // For windows that reach beyond the slab.
    void add_one(std::int64_t outer, std::int64_t oy, std::int64_t ox, std::int64_t c, std::int64_t k,
                 T g) const {
        const std::int64_t ky = k / args_.x.kernel, kx = k % args_.x.kernel;
        const std::int64_t y = args_.y.begin(oy) + ky * args_.y.dilation;
        const std::int64_t x = args_.x.begin(ox) + kx * args_.x.dilation;
        if (ky >= args_.y.kernel || y < 0 || y >= args_.slab.height || x < 0 || x >= args_.slab.width) return;
        cell(outer, y, x)[c] += g;
    }

    const MaxPoolArgs& args_;
    std::int64_t step_, taps_;
    std::int64_t offset_[255];
};

template <class T>
void backward(const MaxPoolArgs& args) {
    const Spread<T> spread(args);
    if (!args.slab.channels_last) {
        return parallel_for(args.slab.outers(), 1, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t plane = begin; plane < end; ++plane) spread.add(plane, 0, 1);
        });
    }
    const std::int64_t channels = args.slab.channels, blocks = (channels - 1) / kChannels + 1;
    parallel_for(args.slab.images * blocks, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t first = i % blocks * kChannels;
            spread.add(i / blocks, first, std::min(first + kChannels, channels));
        }
    });
}

}  // namespace

void max_pool_backward_cpu(const MaxPoolArgs& args) {
    if (args.slab.outers() == 0 || args.slab.channels == 0) return;
    args.dtype == DType::f32 ? backward<float>(args) : backward<double>(args);
}

}  // namespace fastwsi
