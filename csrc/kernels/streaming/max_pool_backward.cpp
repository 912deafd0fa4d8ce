#include <algorithm>

#include "kernels/streaming/max_pool.h"

namespace fastwsi {
namespace {

constexpr std::int64_t kTaskValues = 1 << 15;

// Threads share the slab by bands of its rows and each walks the windows that reach into its own, in their
// order: so each cell's sum has one order, however many bands there are.
template <class T>
class Spread {
  public:
    explicit Spread(const MaxPoolArgs& args)
        : args_(args), step_(args.slab.channels_last ? args.slab.channels : 1) {
        const std::int64_t row = args.large.row / static_cast<std::int64_t>(sizeof(T)), wide = args.x.kernel;
        for (std::int64_t k = 0; k < args.y.kernel * wide; ++k)
            offset_[k] = k / wide * args.y.dilation * row + k % wide * args.x.dilation * step_;
    }

    void add(std::int64_t outer, std::int64_t first_row, std::int64_t end_row) const {
        const MaxPoolAxis &y = args_.y, &x = args_.x;
        const std::int64_t windows = args_.pooled.width, width = args_.slab.width;
        const std::int64_t inner = x.inner_begin(windows), inner_end = x.inner_end(windows, width);
        const std::int64_t top = first_row + y.pad - (y.kernel - 1) * y.dilation;
        const std::int64_t oy_end = std::min((end_row - 1 + y.pad) / y.stride + 1, args_.pooled.height);
        for (std::int64_t oy = top <= 0 ? 0 : (top - 1) / y.stride + 1; oy < oy_end; ++oy) {
            // The places of the window row by row, as far as they stand in the band.
            const MaxPoolAxis below = {y.pad + first_row, y.kernel, y.stride, y.dilation};
            const std::int64_t ky0 = below.first(oy), ky1 = y.last(oy, end_row);
            const Places places = {ky0 * x.kernel, (ky1 - ky0) * x.kernel};
            if (places.count <= 0) continue;
            const T* const g = at<const T>(args_.small, args_.pooled, outer, oy);
            const std::uint8_t* const k = at<const std::uint8_t>(args_.index, args_.pooled, outer, oy);
            T* const row = at<T>(args_.large, args_.slab, outer, 0) +
                           y.begin(oy) * (args_.large.row / static_cast<std::int64_t>(sizeof(T)));
            for (std::int64_t ox = 0; ox < inner; ++ox) add_edge(places, ox, g, k, row);
            add_inner(places, inner, inner_end, g, k, row + x.begin(inner) * step_);
            for (std::int64_t ox = inner_end; ox < windows; ++ox) add_edge(places, ox, g, k, row);
        }
    }

  private:
    struct Places {
        std::int64_t first, count;
        bool has(std::int64_t k) const {
            return static_cast<std::uint64_t>(k - first) < static_cast<std::uint64_t>(count);
        }
    };

    template <class U>
    static U* at(const RowArray& array, const RowShape& shape, std::int64_t outer, std::int64_t row) {
        return reinterpret_cast<U*>(array.outer(shape, outer) + row * array.row);
    }

    void add_inner(Places places, std::int64_t begin, std::int64_t end, const T* g, const std::uint8_t* k,
                   T* to) const {
        const std::int64_t stride = args_.x.stride, channels = step_;
        const std::int64_t* const offset = offset_;
        if (channels == 1) {
            for (std::int64_t ox = begin; ox < end; ++ox, to += stride)
                if (places.has(k[ox])) to[offset[k[ox]]] += g[ox];
            return;
        }
        g += begin * channels;
        k += begin * channels;
        for (std::int64_t ox = begin; ox < end; ++ox) {
            for (std::int64_t c = 0; c < channels; ++c)
                if (places.has(k[c])) to[offset[k[c]] + c] += g[c];
            g += channels;
            k += channels;
            to += stride * channels;
        }
    }

    // A window that reaches beyond the sides.
    void add_edge(Places places, std::int64_t ox, const T* g, const std::uint8_t* k, T* row) const {
        const MaxPoolAxis& x = args_.x;
        const std::int64_t kx0 = x.first(ox), kx1 = x.last(ox, args_.slab.width);
        for (std::int64_t c = 0; c < step_; ++c) {
            const std::int64_t place = k[ox * step_ + c], kx = place % x.kernel;
            if (!places.has(place) || kx < kx0 || kx >= kx1) continue;
            row[offset_[place] + x.begin(ox) * step_ + c] += g[ox * step_ + c];
        }
    }

    const MaxPoolArgs& args_;
    std::int64_t step_;
    std::int64_t offset_[255];
};

template <class T>
void backward(const MaxPoolArgs& args) {
    const Spread<T> spread(args);
    const std::int64_t height = args.slab.height, reach = (args.y.kernel - 1) * args.y.dilation;
    // Windows across the border of two bands are walked twice: bands are much higher than windows.
    std::int64_t band = std::max(kTaskValues / args.slab.line() + 1, 16 * (reach + 1));
    if (band > height) band = height;
    const std::int64_t bands = (height - 1) / band + 1;
    const std::int64_t per_task = kTaskValues / (band * args.slab.line());
    parallel_for(args.slab.outers() * bands, per_task, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t first = i % bands * band;
            spread.add(i / bands, first, std::min(first + band, height));
        }
    });
}

}  // namespace

void max_pool_backward_cpu(const MaxPoolArgs& args) {
    if (args.slab.outers() * args.slab.height * args.slab.line() == 0) return;
    args.dtype == DType::f32 ? backward<float>(args) : backward<double>(args);
}

}  // namespace fastwsi
