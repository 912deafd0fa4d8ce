// Included by augment_patches_cpu.cpp and augment_patches_avx2.cpp: the same code, each with its own flags.
#include <cstring>

#include "kernels/augment/augment_patches_rows.h"
#include "kernels/augment/colour_rows.inl"

namespace fastwsi::FASTWSI_ISA {
namespace {

// Packed bytes as blocks of planes.
struct PixelLoader {
    const std::uint8_t* in;
    std::int64_t n;

    FASTWSI_INLINE_MEMBER void operator()(std::int64_t i, f32x8 (&x)[2][3]) const {
        const std::uint8_t* p = in + 3 * i;
        std::uint8_t rest[3 * kBlock];
        if (i + kBlock > n) {  // nothing behind the last pixel may be touched
            const std::size_t left = static_cast<std::size_t>(3 * (n - i));
            memset(rest, 0, sizeof rest);
            memcpy(rest, p, left);
            p = rest;
        }
        load_rgb8(p, x[0]);
        load_rgb8(p + 24, x[1]);
    }
};

// Keeps nothing.
struct Nowhere {
    static float* park(std::int64_t, std::int64_t, int) { return nullptr; }
};
template <class Output>
constexpr bool kKeeps = true;
template <>
constexpr bool kKeeps<Nowhere> = false;

// With an Output other than Nowhere, also parks the values there.
template <ColourMode Mode, class Output>
void sum_run(const std::uint8_t* in, std::int64_t n, const PixelMap& given, const Output& given_output,
             double (&sums)[3]) {
    // Few enough additions in float32 that their rounding stays below a unit in the last place of one value.
    constexpr std::int64_t kGroup = 4 * kBlock;
    const PixelMap map = given;  // the stores below cannot change a copy
    const Output output = given_output;
    const PixelLoader load{in, n};
    f64x4 total[3] = {};
    f32x8 x[2][3];
    std::int64_t i = 0;
    while (i + kBlock <= n) {
        f32x8 group[3] = {};
        const std::int64_t end = i + kGroup < n ? i + kGroup : n;
        for (; i + kBlock <= end; i += kBlock) {
            load(i, x);
            for (int half = 0; half < 2; ++half) colour_vector<Mode>(map, x[half]);
            for (int c = 0; c < 3; ++c) {
                group[c] += x[0][c] + x[1][c];
                if (kKeeps<Output>)
                    for (int half = 0; half < 2; ++half)
                        store8(x[half][c], output.park(i, kBlock, c) + 8 * half);
            }
        }
        for (int c = 0; c < 3; ++c) total[c] += widened_sum(group[c]);
    }
    if (i < n) {
        load(i, x);
        for (int half = 0; half < 2; ++half) colour_vector<Mode>(map, x[half]);
        for (int c = 0; c < 3; ++c)
            for (std::int64_t k = 0; k < n - i; ++k) {
                total[c][0] += static_cast<double>(x[k / 8][c][k % 8]);
                if (kKeeps<Output>) output.park(i, n - i, c)[k] = x[k / 8][c][k % 8];
            }
    }
    for (int c = 0; c < 3; ++c) sums[c] += (total[c][0] + total[c][1]) + (total[c][2] + total[c][3]);
}

template <class Output>
void sum_in_mode(const std::uint8_t* in, std::int64_t n, const PixelMap& map, const Output& output,
                 double (&sums)[3]) {
    switch (map.mode) {
        case ColourMode::plain: return sum_run<ColourMode::plain>(in, n, map, output, sums);
        case ColourMode::saturation: return sum_run<ColourMode::saturation>(in, n, map, output, sums);
        case ColourMode::hue: return sum_run<ColourMode::hue>(in, n, map, output, sums);
        case ColourMode::done: return;  // nothing is left to do for it
    }
}

// Parked values as blocks.
template <class Output>
struct ParkedLoader {
    Output output;
    std::int64_t n;

    FASTWSI_INLINE_MEMBER void operator()(std::int64_t i, f32x8 (&x)[2][3]) const {
        if (i + kBlock <= n) {
            for (int c = 0; c < 3; ++c)
                for (int half = 0; half < 2; ++half) x[half][c] = load8(output.park(i, kBlock, c) + 8 * half);
            return;
        }
        for (int c = 0; c < 3; ++c) {
            float rest[kBlock] = {};
            memcpy(rest, output.park(i, n - i, c), static_cast<std::size_t>(n - i) * sizeof(float));
            for (int half = 0; half < 2; ++half) x[half][c] = load8(rest + 8 * half);
        }
    }
};

template <class Output>
void finish_run(const Output& output, std::int64_t n, std::uint32_t number, const PixelMap& map) {
    store_floats<ColourMode::done>(ParkedLoader<Output>{output, n}, n, number, map, output);
}

}  // namespace

void patch_sums(const std::uint8_t* in, std::int64_t n, const PixelMap& map, double (&sums)[3]) {
    sum_in_mode(in, n, map, Nowhere{}, sums);
}

void patch_begin(const std::uint8_t* in, std::int64_t n, const PixelMap& map, const PatchOutput& output,
                 double (&sums)[3]) {
    if (output.interleaved) return sum_in_mode(in, n, map, Interleaved<float>(output.at), sums);
    sum_in_mode(in, n, map, Planar<float>(output.at), sums);
}

void patch_end(const PatchOutput& output, std::int64_t n, std::uint32_t number, const PixelMap& map) {
    if (output.interleaved) return finish_run(Interleaved<float>(output.at), n, number, map);
    finish_run(Planar<float>(output.at), n, number, map);
}

void patch_store(const std::uint8_t* in, std::int64_t n, std::uint32_t number, const PixelMap& map,
                 DType dtype, const PatchOutput& output) {
    const PixelLoader load{in, n};
    if (output.interleaved) return store_run<Interleaved>(load, n, number, map, dtype, output.at);
    store_run<Planar>(load, n, number, map, dtype, output.at);
}

}  // namespace fastwsi::FASTWSI_ISA
