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

// Scaled, into planes of T.
template <class T>
FASTWSI_INLINE void store_block(const PixelMap& map, const f32x8 (&x)[2][3], T* const (&plane)[3]) {
    for (int c = 0; c < 3; ++c)
        for (int half = 0; half < 2; ++half)
            store8(x[half][c] * map.scale[c] + map.shift[c], plane[c] + 8 * half);
}

// `load(i, x)` gives pixels i to i + 15, or fewer at the end with anything behind them.
template <ColourMode Mode, class T, class Load>
void store_planes(const Load& load, std::int64_t n, std::uint32_t number, const PixelMap& given,
                  void* const (&planes)[3]) {
    const PixelMap map = given;  // the stores below cannot change a copy
    T* const plane[3] = {static_cast<T*>(planes[0]), static_cast<T*>(planes[1]), static_cast<T*>(planes[2])};
    for (std::int64_t i = 0; i < n; i += kBlock) {
        f32x8 x[2][3];
        load(i, x);
        colour_block<Mode>(map, number + static_cast<std::uint32_t>(i), x);
        if (i + kBlock <= n) {
            store_block<T>(map, x, {plane[0] + i, plane[1] + i, plane[2] + i});
            continue;
        }
        T rest[3][kBlock];
        store_block<T>(map, x, {rest[0], rest[1], rest[2]});
        for (int c = 0; c < 3; ++c)
            memcpy(plane[c] + i, rest[c], static_cast<std::size_t>(n - i) * sizeof(T));
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

// One choice per run: which steps, and what comes out. For bytes, planes[0] is the interleaved output.
template <class Load>
void store_run(const Load& load, std::int64_t n, std::uint32_t number, const PixelMap& map, DType dtype,
               void* const (&planes)[3]) {
    const auto run = [&](auto mode) {
        constexpr ColourMode kMode = decltype(mode)::value;
        switch (dtype) {
            case DType::u8:
                return store_pixels<kMode>(load, n, number, map, static_cast<std::uint8_t*>(planes[0]));
            case DType::f16: return store_planes<kMode, Half>(load, n, number, map, planes);
            case DType::bf16: return store_planes<kMode, BFloat16>(load, n, number, map, planes);
            default: return store_planes<kMode, float>(load, n, number, map, planes);
        }
    };
    switch (map.mode) {
        case ColourMode::plain: return run(ModeConstant<ColourMode::plain>{});
        case ColourMode::saturation: return run(ModeConstant<ColourMode::saturation>{});
        case ColourMode::hue: return run(ModeConstant<ColourMode::hue>{});
        case ColourMode::done: return;  // a matter of planes, see the operations
    }
}

}  // namespace
}  // namespace fastwsi::FASTWSI_ISA
