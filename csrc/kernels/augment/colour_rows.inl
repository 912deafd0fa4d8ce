// Blocks of 16 pixels through the colour steps; included by the `.inl` files of the operations that have
// them.
#pragma once

#include "base/simd.h"
#include "base/view.h"
#include "kernels/augment/colour_math.h"

namespace fastwsi::FASTWSI_ISA {
namespace {

constexpr int kBlock = 16;  // pixels: two vectors, so that one hides the other's latency

template <ColourMode Mode>
struct ModeConstant {
    static constexpr ColourMode value = Mode;
};

// Apart from the loops below, which it would fill with registers' worth of constants when it is not taken.
__attribute__((noinline)) void lch_apart(const PixelMap& map, f32x8 (&x)[3]) { lch_pixel(map.lch_mul, x); }

// The steps before contrast.
template <ColourMode Mode>
FASTWSI_INLINE void colour_vector(const PixelMap& map, f32x8 (&x)[3]) {
    if ((map.steps & kLchStep) != 0) {
        f32x8 apart[3] = {x[0], x[1], x[2]};  // x itself stays in registers
        lch_apart(map, apart);
        for (int c = 0; c < 3; ++c) x[c] = apart[c];
    }
    colour_pixel<Mode>(map, x);
}

// x: values as in bytes on entry, in [0, 1] on return. `number`: of the first pixel in its image.
template <ColourMode Mode>
FASTWSI_INLINE void colour_block(const PixelMap& map, std::uint32_t number, f32x8 (&x)[2][3]) {
    const u32x8 iota = {0, 1, 2, 3, 4, 5, 6, 7};
#pragma GCC unroll 2
    for (std::uint32_t half = 0; half < 2; ++half) {
        if (Mode != ColourMode::done) colour_vector<Mode>(map, x[half]);
        finish_pixel(map, iota + (number + 8 * half), x[half]);
    }
}

// Where a run's values go: three planes of T, or pixels of three T behind one another from the first pointer
// on. `park(i, n, c)` is where channel c of a block of n pixels may wait, as floats, for its last steps:
// memory that holds nothing but this block, in the end too.
template <class T>
struct Planar {
    T* plane[3];

    explicit Planar(void* const (&at)[3])
        : plane{static_cast<T*>(at[0]), static_cast<T*>(at[1]), static_cast<T*>(at[2])} {}
    FASTWSI_INLINE_MEMBER T* park(std::int64_t i, std::int64_t, int c) const { return plane[c] + i; }
    FASTWSI_INLINE_MEMBER void block(const f32x8 (&x)[2][3], std::int64_t i) const {
        for (int c = 0; c < 3; ++c)
            for (int half = 0; half < 2; ++half) store8(x[half][c], plane[c] + i + 8 * half);
    }
    void part(const f32x8 (&x)[2][3], std::int64_t i, std::int64_t n) const {
        T whole[3 * kBlock];
        void* const at[3] = {whole, whole + kBlock, whole + 2 * kBlock};
        Planar(at).block(x, 0);
        for (int c = 0; c < 3; ++c) memcpy(plane[c] + i, at[c], static_cast<std::size_t>(n) * sizeof(T));
    }
};

template <class T>
struct Interleaved {
    T* pixels;

    explicit Interleaved(void* const (&at)[3]) : pixels(static_cast<T*>(at[0])) {}
    FASTWSI_INLINE_MEMBER T* park(std::int64_t i, std::int64_t n, int c) const {
        return pixels + 3 * i + c * n;
    }
    FASTWSI_INLINE_MEMBER void block(const f32x8 (&x)[2][3], std::int64_t i) const {
        for (int half = 0; half < 2; ++half) {
            f32x8 packed[3];
            interleave8(x[half], packed);
            for (int k = 0; k < 3; ++k) store8(packed[k], pixels + 3 * (i + 8 * half) + 8 * k);
        }
    }
    void part(const f32x8 (&x)[2][3], std::int64_t i, std::int64_t n) const {
        T whole[3 * kBlock];
        void* const at[3] = {whole, nullptr, nullptr};
        Interleaved(at).block(x, 0);
        memcpy(pixels + 3 * i, whole, static_cast<std::size_t>(3 * n) * sizeof(T));
    }
};

// `load(i, x)` gives pixels i to i + 15, or fewer at the end with anything behind them. They are scaled.
template <ColourMode Mode, class Output, class Load>
void store_floats(const Load& load, std::int64_t n, std::uint32_t number, const PixelMap& given,
                  const Output& given_output) {
    const PixelMap map = given;  // the stores below cannot change a copy
    const Output output = given_output;
    for (std::int64_t i = 0; i < n; i += kBlock) {
        f32x8 x[2][3];
        load(i, x);
        colour_block<Mode>(map, number + static_cast<std::uint32_t>(i), x);
        for (int half = 0; half < 2; ++half)
            for (int c = 0; c < 3; ++c) x[half][c] = x[half][c] * map.scale[c] + map.shift[c];
        if (i + kBlock <= n) {
            output.block(x, i);
        } else {
            output.part(x, i, n - i);
        }
    }
}

// In mode `done`, the values as they were loaded, as in bytes.
template <ColourMode Mode, class Load>
void store_pixels(const Load& load, std::int64_t n, std::uint32_t number, const PixelMap& given,
                  std::uint8_t* out) {
    const PixelMap map = given;
    for (std::int64_t i = 0; i < n; i += kBlock) {
        f32x8 x[2][3];
        load(i, x);
        if (Mode != ColourMode::done) colour_block<Mode>(map, number + static_cast<std::uint32_t>(i), x);
        f32x8 bytes[3][2];
        for (int c = 0; c < 3; ++c)
            for (int half = 0; half < 2; ++half)
                bytes[c][half] = Mode == ColourMode::done ? x[half][c] : x[half][c] * 255.f;
        if (i + kBlock <= n) {
            store_rgb16(bytes, out + 3 * i);
            continue;
        }
        std::uint8_t rest[3 * kBlock];
        store_rgb16(bytes, rest);
        memcpy(out + 3 * i, rest, static_cast<std::size_t>(3 * (n - i)));
    }
}

// One choice per run: which steps, and what comes out, floats as Planar or Interleaved. Bytes are always
// interleaved, from at[0] on.
template <template <class> class Output, class Load>
void store_run(const Load& load, std::int64_t n, std::uint32_t number, const PixelMap& map, DType dtype,
               void* const (&at)[3]) {
    const auto run = [&](auto mode) {
        constexpr ColourMode kMode = decltype(mode)::value;
        switch (dtype) {
            case DType::u8:
                return store_pixels<kMode>(load, n, number, map, static_cast<std::uint8_t*>(at[0]));
            case DType::f16: return store_floats<kMode>(load, n, number, map, Output<Half>(at));
            case DType::bf16: return store_floats<kMode>(load, n, number, map, Output<BFloat16>(at));
            default: return store_floats<kMode>(load, n, number, map, Output<float>(at));
        }
    };
    switch (map.mode) {
        case ColourMode::plain: return run(ModeConstant<ColourMode::plain>{});
        case ColourMode::saturation: return run(ModeConstant<ColourMode::saturation>{});
        case ColourMode::hue: return run(ModeConstant<ColourMode::hue>{});
        case ColourMode::done: return;  // see the operations
    }
}

}  // namespace
}  // namespace fastwsi::FASTWSI_ISA
