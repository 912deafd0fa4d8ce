// Included by warp_cpu.cpp and warp_avx2.cpp: the same code, each with its own flags.
#include <cstring>

#include "kernels/augment/colour_rows.inl"
#include "kernels/augment/warp_math.h"
#include "kernels/augment/warp_rows.h"

namespace fastwsi::FASTWSI_ISA {
namespace {

struct Positions {
    double x[kWarpRun], y[kWarpRun];
};

// The displacement along one output row: a cubic (or a line) per cell of the grid.
class RowField {
  public:
    RowField(const WarpMap& map, std::int64_t y) : map_(map) {
        const GridPlace place = grid_place(y, grid_scale(map.grid_rows, map.height), map.grid_rows);
        node_weights(place, map.grid_rows, map.cubic, weight_);
        for (int k = 0; k < 4; ++k)
            row_[k] = map.displacement +
                      2 * map.grid_columns * existing_node(place.cell - 1 + k, map.grid_rows);
    }

    // Coefficients of t^0 to t^3 between nodes `cell` and `cell + 1`, for dx and dy.
    void cell(std::int64_t cell, double (&c)[2][4]) const {
        for (int axis = 0; axis < 2; ++axis) {
            double p[4];
            for (int k = 0; k < 4; ++k) {
                const std::int64_t node = existing_node(cell - 1 + k, map_.grid_columns);
                p[k] = 0;
                for (int row = 0; row < 4; ++row) p[k] += weight_[row] * row_[row][2 * node + axis];
            }
            if (cell == 0) p[0] = 2 * p[1] - p[2];
            if (cell == map_.grid_columns - 2) p[3] = 2 * p[2] - p[1];
            c[axis][0] = p[1];
            if (map_.cubic) {
                c[axis][1] = (p[2] - p[0]) / 2;
                c[axis][2] = p[0] - 2.5 * p[1] + 2 * p[2] - p[3] / 2;
                c[axis][3] = (p[3] - p[0] + 3 * (p[1] - p[2])) / 2;
            } else {
                c[axis][1] = p[2] - p[1];
                c[axis][2] = c[axis][3] = 0;
            }
        }
    }

  private:
    const WarpMap& map_;
    double weight_[4];
    const double* row_[4];
};

// Source positions of n pixels of row y from column x on, relative to nothing but the pixel: a run that
// starts elsewhere gives the same.
void find_positions(const WarpMap& map, std::int64_t y, std::int64_t x, std::int64_t n, Positions& at) {
    const double* m = map.matrix;
    const double ax = m[0], ay = m[3];
    const double bx = m[1] * static_cast<double>(y) + m[2], by = m[4] * static_cast<double>(y) + m[5];
    if (map.displacement == nullptr) {
        for (std::int64_t i = 0; i < n; ++i) {
            const double column = static_cast<double>(static_cast<std::int32_t>(x + i));
            at.x[i] = ax * column + bx;
            at.y[i] = ay * column + by;
        }
        return;
    }
    const RowField field(map, y);
    const double scale = grid_scale(map.grid_columns, map.width);
    double c[2][4];
    for (std::int64_t i = 0; i < n;) {
        const std::int64_t cell = grid_place(x + i, scale, map.grid_columns).cell;
        // An estimate of where the next cell begins, put right by a pixel where rounding had it wrong.
        std::int64_t end = n;
        if (cell < map.grid_columns - 2 && static_cast<double>(cell + 1) < static_cast<double>(x + n) * scale) {
            end = static_cast<std::int64_t>(static_cast<double>(cell + 1) / scale) - x;
            if (end <= i) end = i + 1;
            while (end < n && grid_place(x + end, scale, map.grid_columns).cell == cell) ++end;
            while (end > i + 1 && grid_place(x + end - 1, scale, map.grid_columns).cell != cell) --end;
            if (end > n) end = n;
        }
        field.cell(cell, c);
        const double first = static_cast<double>(cell);
        for (; i < end; ++i) {
            const double column = static_cast<double>(static_cast<std::int32_t>(x + i));
            const double t = column * scale - first;
            at.x[i] = ax * column + bx + (((c[0][3] * t + c[0][2]) * t + c[0][1]) * t + c[0][0]);
            at.y[i] = ay * column + by + (((c[1][3] * t + c[1][2]) * t + c[1][1]) * t + c[1][0]);
        }
    }
}

// Whole part and fraction of 8 coordinates.
struct Split {
    i32x8 whole;
    f32x8 part;
};

FASTWSI_INLINE Split split8(const double* x, double shift, std::int64_t size) {
    Split split;
#if defined(__AVX2__)
    const __m256d low = _mm256_set1_pd(-3.0), high = _mm256_set1_pd(static_cast<double>(size) + 2);
    __m128i whole[2];
    __m128 part[2];
    for (int half = 0; half < 2; ++half) {
        __m256d v = _mm256_add_pd(_mm256_loadu_pd(x + 4 * half), _mm256_set1_pd(shift));
        v = _mm256_min_pd(_mm256_max_pd(v, low), high);  // NaN becomes `low`
        const __m256d below = _mm256_floor_pd(v);
        whole[half] = _mm256_cvttpd_epi32(below);
        part[half] = _mm256_cvtpd_ps(_mm256_sub_pd(v, below));
    }
    split.whole = (i32x8)_mm256_set_m128i(whole[1], whole[0]);
    split.part = (f32x8)_mm256_set_m128(part[1], part[0]);
#else
    for (int i = 0; i < 8; ++i) {
        const double v = near_image(x[i] + shift, size);
        std::int32_t whole = static_cast<std::int32_t>(v);
        if (static_cast<double>(whole) > v) --whole;
        split.whole[i] = whole;
        split.part[i] = static_cast<float>(v - static_cast<double>(whole));
    }
#endif
    return split;
}

// One channel of one pixel of the full image, wherever it is.
FASTWSI_INLINE float pixel_value(const WarpArgs& args, std::int64_t x, std::int64_t y, int c) {
    const std::int64_t column = x - args.source_x, row = y - args.source_y;
    const bool inside = column >= 0 && row >= 0 && column < args.source_width && row < args.source_height;
    return static_cast<float>(inside ? args.source[row * args.source_row + column * args.source_column +
                                                   c * args.source_channel]
                                     : args.fill[c]);
}

FASTWSI_INLINE float mixed(float a, float b, float t) { return a + (b - a) * t; }

FASTWSI_INLINE float sampled(const WarpArgs& args, std::int64_t x, std::int64_t y, float fx, float fy, int c) {
    if (!args.bilinear) return pixel_value(args, x, y, c);
    const float top = mixed(pixel_value(args, x, y, c), pixel_value(args, x + 1, y, c), fx);
    const float bottom = mixed(pixel_value(args, x, y + 1, c), pixel_value(args, x + 1, y + 1, c), fx);
    return mixed(top, bottom, fy);
}

typedef std::uint64_t u64x4 __attribute__((vector_size(32)));

FASTWSI_INLINE std::uint64_t load_bytes(const std::uint8_t* p) {
    std::uint64_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    return bytes;
}

// Two neighbouring pixels from each of eight places, 8 bytes at a time: of `left` the bytes are the left pixel's
// three channels and the right one's first, of `right` its other two; the rest is to be ignored.
struct PixelPairs {
    u32x8 left, right;
};

FASTWSI_INLINE PixelPairs load_pairs(const std::uint8_t* p, const std::int64_t (&at)[8]) {
    const u64x4 a = {load_bytes(p + at[0]), load_bytes(p + at[1]), load_bytes(p + at[4]),
                     load_bytes(p + at[5])};
    const u64x4 b = {load_bytes(p + at[2]), load_bytes(p + at[3]), load_bytes(p + at[6]),
                     load_bytes(p + at[7])};
    return {__builtin_shufflevector((u32x8)a, (u32x8)b, 0, 2, 8, 10, 4, 6, 12, 14),
            __builtin_shufflevector((u32x8)a, (u32x8)b, 1, 3, 9, 11, 5, 7, 13, 15)};
}

FASTWSI_INLINE f32x8 byte_of(u32x8 words, int k) { return float_of(words >> (8 * k) & 0xffu); }

FASTWSI_INLINE f32x8 mixed8(f32x8 a, f32x8 b, f32x8 t) { return a + (b - a) * t; }

// True in lanes between `low` and `high`, both included.
FASTWSI_INLINE i32x8 between(i32x8 x, std::int64_t low, std::int64_t high) {
    const std::int32_t a = static_cast<std::int32_t>(low), b = static_cast<std::int32_t>(high);
    return (x >= a) & (x <= b);
}

// `packed`: three channels side by side.
FASTWSI_INLINE void sample8(const WarpArgs& args, bool packed, const double* xs, const double* ys,
                            std::int64_t i, float (&planes)[3][kWarpRun]) {
    const double shift = args.bilinear ? 0.0 : 0.5;
    const Split x = split8(xs, shift, args.full_width), y = split8(ys, shift, args.full_height);
    const std::int64_t reach = args.bilinear ? 1 : 0;
    // Pixels are fetched 8 bytes at a time, which end in the pixel after next.
    const i32x8 inside = between(x.whole, args.source_x, args.source_x + args.source_width - 3) &
                         between(y.whole, args.source_y, args.source_y + args.source_height - 1 - reach);
    if (packed && !any(~inside)) {
        std::int64_t offset[8];
        for (int lane = 0; lane < 8; ++lane)
            offset[lane] = (y.whole[lane] - args.source_y) * args.source_row + (x.whole[lane] - args.source_x) * 3;
        const PixelPairs top = load_pairs(args.source, offset);
        if (!args.bilinear) {
            for (int c = 0; c < 3; ++c) store8(byte_of(top.left, c), planes[c] + i);
            return;
        }
        const PixelPairs bottom = load_pairs(args.source + args.source_row, offset);
        const f32x8 above[3] = {mixed8(byte_of(top.left, 0), byte_of(top.left, 3), x.part),
                                mixed8(byte_of(top.left, 1), byte_of(top.right, 0), x.part),
                                mixed8(byte_of(top.left, 2), byte_of(top.right, 1), x.part)};
        const f32x8 below[3] = {mixed8(byte_of(bottom.left, 0), byte_of(bottom.left, 3), x.part),
                                mixed8(byte_of(bottom.left, 1), byte_of(bottom.right, 0), x.part),
                                mixed8(byte_of(bottom.left, 2), byte_of(bottom.right, 1), x.part)};
        for (int c = 0; c < 3; ++c) store8(mixed8(above[c], below[c], y.part), planes[c] + i);
        return;
    }
    const i32x8 near = between(x.whole, -reach, args.full_width - 1) & between(y.whole, -reach, args.full_height - 1);
    for (int c = 0; c < args.channels; ++c) {
        if (!any(near)) {
            store8(splat8(static_cast<float>(args.fill[c])), planes[c] + i);
            continue;
        }
        for (int lane = 0; lane < 8; ++lane)
            planes[c][i + lane] =
                sampled(args, x.whole[lane], y.whole[lane], x.part[lane], y.part[lane], c);
    }
}

struct ValueLoader {
    const float (&values)[3][kWarpRun];

    // Reads past the end of a run stay within the planes.
    void operator()(std::int64_t i, f32x8 (&x)[2][3]) const {
        for (int c = 0; c < 3; ++c)
            for (int half = 0; half < 2; ++half) x[half][c] = load8(values[c] + i + 8 * half);
    }
};

// Adding 2^23 leaves the value, rounded to even, in the lowest byte.
FASTWSI_INLINE std::uint8_t rounded_byte(float x) { return static_cast<std::uint8_t>(bits_of(x + 8388608.f)); }

void store_bytes(const float (&values)[3][kWarpRun], std::int64_t n, std::uint8_t* out) {
    for (std::int64_t i = 0; i + kBlock <= n; i += kBlock) {
        f32x8 rgb[3][2];
        for (int c = 0; c < 3; ++c)
            for (int half = 0; half < 2; ++half) rgb[c][half] = load8(values[c] + i + 8 * half);
        store_rgb16(rgb, out + 3 * i);
    }
    for (std::int64_t i = n - n % kBlock; i < n; ++i)
        for (int c = 0; c < 3; ++c) out[3 * i + c] = rounded_byte(values[c][i]);
}

template <class T>
FASTWSI_INLINE void store_scaled(const float* values, std::int64_t n, float scale, float shift, T* out) {
    for (std::int64_t i = 0; i < n; ++i) from_float(values[i] * scale + shift, out + i);
}

}  // namespace

void warp_sample(const WarpArgs& args, std::int64_t y, std::int64_t x, std::int64_t n,
                 float (&planes)[3][kWarpRun]) {
    Positions at;
    find_positions(args.map, y, x, n, at);
    for (std::int64_t i = n; i % 8 != 0; ++i) at.x[i] = at.y[i] = -3.0;
    const bool packed = args.channels == 3 && args.source_column == 3 && args.source_channel == 1;
    for (std::int64_t i = 0; i < n; i += 8) sample8(args, packed, at.x + i, at.y + i, i, planes);
}

void warp_store(const float (&values)[3][kWarpRun], std::int64_t n, std::uint32_t number, const PixelMap& map,
                int channels, DType dtype, void* const (&planes)[3]) {
    if (channels == 3 && map.mode == ColourMode::done)  // bytes that no colour step touches
        return store_bytes(values, n, static_cast<std::uint8_t*>(planes[0]));
    if (channels == 3) return store_run(ValueLoader{values}, n, number, map, dtype, planes);
    const float scale = map.in_mul[0] * map.scale[0], shift = map.shift[0];
    switch (dtype) {
        case DType::u8:
            for (std::int64_t i = 0; i < n; ++i)
                static_cast<std::uint8_t*>(planes[0])[i] = rounded_byte(values[0][i]);
            return;
        case DType::f16: return store_scaled(values[0], n, scale, shift, static_cast<Half*>(planes[0]));
        case DType::bf16: return store_scaled(values[0], n, scale, shift, static_cast<BFloat16*>(planes[0]));
        default: return store_scaled(values[0], n, scale, shift, static_cast<float*>(planes[0]));
    }
}

}  // namespace fastwsi::FASTWSI_ISA
