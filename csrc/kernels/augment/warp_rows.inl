// Included by warp_cpu.cpp and warp_avx2.cpp: the same code, each with its own flags.
#include <cstring>

#include "kernels/augment/colour_rows.inl"
#include "kernels/augment/warp_math.h"
#include "kernels/augment/warp_rows.h"

namespace fastwsi::FASTWSI_ISA {
namespace {

// The displacement along one output row: a cubic (or a line) per cell of the grid.
class RowField {
  public:
    RowField(const WarpMap& map, std::int64_t y) : map_(map) {
        const GridPlace place = grid_place(y, grid_scale(map.grid_rows, map.height), map.grid_rows);
        node_weights(place, map.grid_rows, map.cubic, weight_);
        for (int k = 0; k < 4; ++k)
            row_[k] =
                map.displacement + 2 * map.grid_columns * existing_node(place.cell - 1 + k, map.grid_rows);
    }

    // Coefficients of t^0 to t^3 between nodes `cell` and `cell + 1`, for dx and dy.
    void cell(std::int64_t cell, double (&c)[4][2]) const {
        double p[4][2];  // the field on this row at nodes cell - 1 to cell + 2
        const bool inner = cell > 0 && cell < map_.grid_columns - 2;
        if (inner) {
            blend(2 * (cell - 1), &p[0][0], 8);
        } else {
            for (int k = 0; k < 4; ++k) blend(2 * existing_node(cell - 1 + k, map_.grid_columns), p[k], 2);
        }
        for (int axis = 0; axis < 2; ++axis) {
            if (cell == 0) p[0][axis] = 2 * p[1][axis] - p[2][axis];
            if (cell == map_.grid_columns - 2) p[3][axis] = 2 * p[2][axis] - p[1][axis];
            const double before = p[0][axis], a = p[1][axis], b = p[2][axis], behind = p[3][axis];
            c[0][axis] = a;
            c[1][axis] = map_.cubic ? (b - before) / 2 : b - a;
            c[2][axis] = map_.cubic ? before - 2.5 * a + 2 * b - behind / 2 : 0;
            c[3][axis] = map_.cubic ? (behind - before + 3 * (a - b)) / 2 : 0;
        }
    }

  private:
    // n numbers of the grid from one on, blended between its rows.
    void blend(std::int64_t from, double* to, int n) const {
        for (int i = 0; i < n; ++i)
            to[i] = weight_[0] * row_[0][from + i] + weight_[1] * row_[1][from + i] +
                    weight_[2] * row_[2][from + i] + weight_[3] * row_[3][from + i];
    }

    const WarpMap& map_;
    double weight_[4];
    const double* row_[4];
};

// Where the pixels of one row are found, between two nodes of the grid: x and y as polynomials of the column.
struct Positions {
    double step[2], start[2];  // of the affine map
    double scale, first;       // t = column * scale - first
    double bend[4][2];         // the displacement: coefficients of t^0 to t^3

    // Of columns `column` to `column` + 3; axis 0 is x.
    template <bool Bent>
    FASTWSI_INLINE_MEMBER f64x4 at(double column, int axis) const {
        const f64x4 columns = f64x4{0, 1, 2, 3} + column;
        const f64x4 affine = columns * step[axis] + start[axis];
        if (!Bent) return affine;
        const f64x4 t = columns * scale - first;
        return affine + (((t * bend[3][axis] + bend[2][axis]) * t + bend[1][axis]) * t + bend[0][axis]);
    }
};

// Whole part and fraction of 8 coordinates.
struct Split {
    i32x8 whole;
    f32x8 part;
};

// Coordinates far outside are brought near, where they still mean "outside"; NaN is outside, too.
FASTWSI_INLINE Split split8(const f64x4 (&x)[2], double far) {
    typedef std::int32_t i32x4 __attribute__((vector_size(16)));
    typedef float f32x4 __attribute__((vector_size(16)));
    i32x4 whole[2];
    f32x4 part[2];
    for (int half = 0; half < 2; ++half) {
        const f64x4 v = smaller(larger(x[half], splat4(kFarBefore)), splat4(far));
        whole[half] = __builtin_convertvector(v + -kFarBefore, i32x4) + static_cast<std::int32_t>(kFarBefore);
        part[half] = __builtin_convertvector(v - __builtin_convertvector(whole[half], f64x4), f32x4);
    }
    return {__builtin_shufflevector(whole[0], whole[1], 0, 1, 2, 3, 4, 5, 6, 7),
            __builtin_shufflevector(part[0], part[1], 0, 1, 2, 3, 4, 5, 6, 7)};
}

// One channel of one pixel of the full image, wherever it is.
FASTWSI_INLINE float pixel_value(const WarpArgs& args, std::int64_t x, std::int64_t y, int c) {
    const std::int64_t column = x - args.source_x, row = y - args.source_y;
    const bool inside = column >= 0 && row >= 0 && column < args.source_width && row < args.source_height;
    return static_cast<float>(
        inside ? args.source[row * args.source_row + column * args.source_column + c * args.source_channel]
               : args.fill[c]);
}

FASTWSI_INLINE float mixed(float a, float b, float t) { return a + (b - a) * t; }

FASTWSI_INLINE float sampled(const WarpArgs& args, std::int64_t x, std::int64_t y, float fx, float fy,
                             int c) {
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

// Two neighbouring pixels from each of eight places, 8 bytes at a time: of `left` the bytes are the left
// pixel's three channels and the right one's first, of `right` its other two; the rest is to be ignored.
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

// What the loop over a run needs of the arguments, in registers: stores of pixels cannot change a copy.
struct Sampler {
    const std::uint8_t* source;
    std::int64_t row;
    i32x8 x_first, x_last, y_first, y_last;      // of a lane whose pixels all lie inside the rectangle
    i32x8 near_first, x_near_last, y_near_last;  // of a lane that sees anything but the fill
    double shift, far_x, far_y;
    bool packed;  // pixels side by side, their channels too: the fast way is open
    bool narrow;  // offsets within the source fit in 32 bits
    bool bilinear;
};

Sampler sampler_of(const WarpArgs& args) {
    const auto splat = [](std::int64_t x) { return i32x8{} + static_cast<std::int32_t>(x); };
    const std::int64_t reach = args.bilinear ? 1 : 0;
    const std::int64_t row = args.source_row < 0 ? -args.source_row : args.source_row;
    Sampler s;
    s.source = args.source;
    s.row = args.source_row;
    s.x_first = splat(args.source_x);
    s.y_first = splat(args.source_y);
    // Pixels are fetched 8 bytes at a time, which end in the pixel after next.
    s.x_last = splat(args.source_x + args.source_width - 3);
    s.y_last = splat(args.source_y + args.source_height - 1 - reach);
    s.near_first = splat(-reach);
    s.x_near_last = splat(args.full_width - 1);
    s.y_near_last = splat(args.full_height - 1);
    s.shift = args.bilinear ? 0.0 : 0.5;
    s.far_x = far_behind(args.full_width);
    s.far_y = far_behind(args.full_height);
    s.packed = args.source_column == args.channels && (args.channels == 1 || args.source_channel == 1);
    s.narrow = row * args.source_height + 3 * args.source_width < (std::int64_t{1} << 31);
    s.bilinear = args.bilinear;
    return s;
}

// Byte offsets of eight pixels in the source.
FASTWSI_INLINE void find_offsets(const Sampler& s, const Split& x, const Split& y, std::int64_t step,
                                 std::int64_t (&at)[8]) {
    const i32x8 column = x.whole - s.x_first, line = y.whole - s.y_first;
    if (s.narrow) {
        const i32x8 offset =
            line * static_cast<std::int32_t>(s.row) + column * static_cast<std::int32_t>(step);
        for (int lane = 0; lane < 8; ++lane) at[lane] = offset[lane];
    } else {
        for (int lane = 0; lane < 8; ++lane) at[lane] = line[lane] * s.row + column[lane] * step;
    }
}

// Eight pixels that lie inside the source with all their neighbours.
FASTWSI_INLINE void sample_inside(const Sampler& s, const Split& x, const Split& y, f32x8 (&rgb)[3]) {
    std::int64_t at[8];
    find_offsets(s, x, y, 3, at);
    const PixelPairs top = load_pairs(s.source, at);
    if (!s.bilinear) {
        for (int c = 0; c < 3; ++c) rgb[c] = byte_of(top.left, c);
        return;
    }
    const PixelPairs bottom = load_pairs(s.source + s.row, at);
    const auto mix = [&](f32x8 a, f32x8 b, f32x8 c, f32x8 d) {
        return mixed8(mixed8(a, b, x.part), mixed8(c, d, x.part), y.part);
    };
    rgb[0] =
        mix(byte_of(top.left, 0), byte_of(top.left, 3), byte_of(bottom.left, 0), byte_of(bottom.left, 3));
    rgb[1] =
        mix(byte_of(top.left, 1), byte_of(top.right, 0), byte_of(bottom.left, 1), byte_of(bottom.right, 0));
    rgb[2] =
        mix(byte_of(top.left, 2), byte_of(top.right, 1), byte_of(bottom.left, 2), byte_of(bottom.right, 1));
}

// The same of one channel.
FASTWSI_INLINE f32x8 load_values(const std::uint8_t* p, const std::int64_t (&at)[8]) {
    return float_of(u32x8{p[at[0]], p[at[1]], p[at[2]], p[at[3]], p[at[4]], p[at[5]], p[at[6]], p[at[7]]});
}

FASTWSI_INLINE f32x8 sample_label_inside(const Sampler& s, const Split& x, const Split& y) {
    std::int64_t at[8];
    find_offsets(s, x, y, 1, at);
    const f32x8 value = load_values(s.source, at);
    if (!s.bilinear) return value;
    return mixed8(mixed8(value, load_values(s.source + 1, at), x.part),
                  mixed8(load_values(s.source + s.row, at), load_values(s.source + s.row + 1, at), x.part),
                  y.part);
}

// Eight pixels anywhere, one by one where they see anything of the image.
FASTWSI_INLINE f32x8 sample_anywhere(const WarpArgs& args, const Sampler& s, const Split& x, const Split& y,
                                     int c) {
    const i32x8 near = (x.whole >= s.near_first) & (x.whole <= s.x_near_last) & (y.whole >= s.near_first) &
                       (y.whole <= s.y_near_last);
    f32x8 values = splat8(static_cast<float>(args.fill[c]));
    if (!any(near)) return values;
    for (int lane = 0; lane < 8; ++lane)
        if (near[lane] != 0)
            values[lane] = sampled(args, x.whole[lane], y.whole[lane], x.part[lane], y.part[lane], c);
    return values;
}

// Where the pixels of a run are found, worked out before any of them is loaded: the two kinds of work share
// neither registers nor waiting times.
struct Places {
    i32x8 x[kWarpRun / 8], y[kWarpRun / 8];
    f32x8 x_part[kWarpRun / 8], y_part[kWarpRun / 8];
};

template <bool Bent>
FASTWSI_INLINE void find_places(const Sampler& sampler, const Positions& given, double column,
                                std::int64_t blocks, Places& places) {
    const Positions positions = given;
    const double shift = sampler.shift, far_x = sampler.far_x, far_y = sampler.far_y;
    for (std::int64_t i = 0; i < blocks; ++i) {
        const double first = column + static_cast<double>(static_cast<std::int32_t>(8 * i));
        const f64x4 across[2] = {positions.at<Bent>(first, 0) + shift,
                                 positions.at<Bent>(first + 4, 0) + shift};
        const f64x4 down[2] = {positions.at<Bent>(first, 1) + shift,
                               positions.at<Bent>(first + 4, 1) + shift};
        const Split px = split8(across, far_x), py = split8(down, far_y);
        places.x[i] = px.whole;
        places.y[i] = py.whole;
        places.x_part[i] = px.part;
        places.y_part[i] = py.part;
    }
}

// Pixels of a stretch as blocks: what the colour steps take them from.
template <int Channels>
struct WarpLoader {
    const WarpArgs& args;
    const Sampler& sampler;
    const Places& places;

    FASTWSI_INLINE_MEMBER void operator()(std::int64_t i, f32x8 (&x)[2][3]) const {
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
            const std::int64_t k = i / 8 + half;
            const Split px = {places.x[k], places.x_part[k]}, py = {places.y[k], places.y_part[k]};
            const i32x8 inside = (px.whole >= sampler.x_first) & (px.whole <= sampler.x_last) &
                                 (py.whole >= sampler.y_first) & (py.whole <= sampler.y_last);
            if (!sampler.packed || any(~inside)) {
                for (int c = 0; c < Channels; ++c) x[half][c] = sample_anywhere(args, sampler, px, py, c);
            } else if (Channels == 3) {
                sample_inside(sampler, px, py, x[half]);
            } else {
                x[half][0] = sample_label_inside(sampler, px, py);
            }
        }
    }
};

// Eight values on [0, 255], rounded.
FASTWSI_INLINE void store_labels8(f32x8 x, std::uint8_t* out) {
    typedef std::uint8_t u8x8 __attribute__((vector_size(8)));
    // Adding 2^23 leaves the value, rounded to even, in the lowest byte.
    const u8x8 bytes = __builtin_convertvector((u32x8)(x + 8388608.f) & 0xffu, u8x8);
    memcpy(out, &bytes, sizeof bytes);
}
template <class T>
FASTWSI_INLINE void store_labels8(f32x8 x, T* out) {
    store8(x, out);
}

template <class T, class Load>
void store_labels(const Load& load, std::int64_t n, float scale, float shift, void* plane) {
    T* const out = static_cast<T*>(plane);
    for (std::int64_t i = 0; i < n; i += kBlock) {
        f32x8 x[2][3];
        load(i, x);
        T values[kBlock];
        T* const target = i + kBlock <= n ? out + i : values;
        for (int half = 0; half < 2; ++half) store_labels8(x[half][0] * scale + shift, target + 8 * half);
        if (target == values) memcpy(out + i, values, static_cast<std::size_t>(n - i) * sizeof(T));
    }
}

template <class Load>
void label_run(const Load& load, std::int64_t n, const PixelMap& map, DType dtype, void* plane) {
    const float scale = map.in_mul[0] * map.scale[0], shift = map.shift[0];
    switch (dtype) {
        case DType::u8: return store_labels<std::uint8_t>(load, n, 1.f, 0.f, plane);
        case DType::f16: return store_labels<Half>(load, n, scale, shift, plane);
        case DType::bf16: return store_labels<BFloat16>(load, n, scale, shift, plane);
        default: return store_labels<float>(load, n, scale, shift, plane);
    }
}

// The pixel behind the last one of x's cell, at most `end`.
std::int64_t cell_end(std::int64_t x, std::int64_t end, std::int64_t cell, double scale, std::int64_t nodes) {
    if (cell == nodes - 2 || static_cast<double>(cell + 1) >= static_cast<double>(end) * scale) return end;
    // An estimate, put right by a pixel where rounding had it wrong.
    std::int64_t next = static_cast<std::int64_t>(static_cast<double>(cell + 1) / scale);
    if (next <= x) next = x + 1;
    while (next < end && grid_place(next, scale, nodes).cell == cell) ++next;
    while (next > x + 1 && grid_place(next - 1, scale, nodes).cell != cell) --next;
    return next < end ? next : end;
}

template <int Channels>
void warp_stretch(const WarpArgs& args, const Sampler& sampler, const Positions& positions, std::int64_t y,
                  std::int64_t x, std::int64_t n, const PixelMap& map, void* const (&planes)[3]) {
    Places places;
    const std::int64_t blocks = (n + kBlock - 1) / kBlock * (kBlock / 8);
    if (args.map.displacement != nullptr) {
        find_places<true>(sampler, positions, static_cast<double>(x), blocks, places);
    } else {
        find_places<false>(sampler, positions, static_cast<double>(x), blocks, places);
    }
    const WarpLoader<Channels> load{args, sampler, places};
    if (Channels == 1) return label_run(load, n, map, args.dtype, planes[0]);
    const std::uint32_t number = static_cast<std::uint32_t>(y * args.map.width + x);
    if (map.mode == ColourMode::done)
        return store_pixels<ColourMode::done>(load, n, number, map, static_cast<std::uint8_t*>(planes[0]));
    store_run<Planar>(load, n, number, map, args.dtype, planes);
}

}  // namespace

void warp_run(const WarpArgs& args, std::int64_t y, std::int64_t x, std::int64_t n, const PixelMap& map,
              void* const (&planes)[3]) {
    const Sampler sampler = sampler_of(args);
    const double* const m = args.map.matrix;
    Positions positions = {};
    for (int axis = 0; axis < 2; ++axis) {
        positions.step[axis] = m[3 * axis];
        positions.start[axis] = m[3 * axis + 1] * static_cast<double>(y) + m[3 * axis + 2];
    }
    const auto stretch = args.channels == 3 ? warp_stretch<3> : warp_stretch<1>;
    if (args.map.displacement == nullptr) return stretch(args, sampler, positions, y, x, n, map, planes);
    const RowField field(args.map, y);
    const std::int64_t nodes = args.map.grid_columns, end = x + n;
    const std::int64_t step = args.dtype == DType::u8 ? args.channels : item_size(args.dtype);
    positions.scale = grid_scale(nodes, args.map.width);
    for (std::int64_t at = x; at < end;) {
        const std::int64_t cell = grid_place(at, positions.scale, nodes).cell;
        const std::int64_t next = cell_end(at, end, cell, positions.scale, nodes);
        field.cell(cell, positions.bend);
        positions.first = static_cast<double>(cell);
        void* here[3];
        for (int c = 0; c < 3; ++c) here[c] = static_cast<char*>(planes[c]) + (at - x) * step;
        stretch(args, sampler, positions, y, at, next - at, map, here);
        at = next;
    }
}

}  // namespace fastwsi::FASTWSI_ISA
