// Included by orient_cpu.cpp and orient_avx2.cpp: the same code, each with its own flags.
#include <cstdint>
#include <cstring>

#include "base/isa.h"
#include "kernels/augment/orient_rows.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

// One spelling for every instruction set; compilers differ in theirs.
#if defined(__clang__)
#define FASTWSI_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define FASTWSI_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (decltype(a)){__VA_ARGS__})
#endif

namespace fastwsi::FASTWSI_ISA {
namespace {

typedef std::uint8_t u8x16 __attribute__((vector_size(16)));
typedef std::uint16_t u16x8 __attribute__((vector_size(16)));
typedef std::uint32_t u32x4 __attribute__((vector_size(16)));
typedef std::uint64_t u64x2 __attribute__((vector_size(16)));

FASTWSI_INLINE u8x16 zip_low(u8x16 a, u8x16 b) {
    return FASTWSI_SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
FASTWSI_INLINE u8x16 zip_high(u8x16 a, u8x16 b) {
    return FASTWSI_SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
FASTWSI_INLINE u16x8 zip_low(u16x8 a, u16x8 b) { return FASTWSI_SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
FASTWSI_INLINE u16x8 zip_high(u16x8 a, u16x8 b) { return FASTWSI_SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }
FASTWSI_INLINE u32x4 zip_low(u32x4 a, u32x4 b) { return FASTWSI_SHUFFLE(a, b, 0, 4, 1, 5); }
FASTWSI_INLINE u32x4 zip_high(u32x4 a, u32x4 b) { return FASTWSI_SHUFFLE(a, b, 2, 6, 3, 7); }
FASTWSI_INLINE u64x2 zip_low(u64x2 a, u64x2 b) { return FASTWSI_SHUFFLE(a, b, 0, 2); }
FASTWSI_INLINE u64x2 zip_high(u64x2 a, u64x2 b) { return FASTWSI_SHUFFLE(a, b, 1, 3); }

FASTWSI_INLINE u8x16 reversed(u8x16 a) {
#if defined(__AVX2__)
    return FASTWSI_SHUFFLE(a, a, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
#else  // SSE2 cannot move a byte freely
    const u64x2 words = (u64x2)a;
    return (u8x16)u64x2{__builtin_bswap64(words[1]), __builtin_bswap64(words[0])};
#endif
}
FASTWSI_INLINE u16x8 reversed(u16x8 a) { return FASTWSI_SHUFFLE(a, a, 7, 6, 5, 4, 3, 2, 1, 0); }
FASTWSI_INLINE u32x4 reversed(u32x4 a) { return FASTWSI_SHUFFLE(a, a, 3, 2, 1, 0); }
FASTWSI_INLINE u64x2 reversed(u64x2 a) { return FASTWSI_SHUFFLE(a, a, 1, 0); }

// One step of the perfect shuffle: each index moves the top bit of its row below its column's lowest one
// and back, so that after log2(N) steps rows and columns have changed places.
template <int N, class V>
FASTWSI_INLINE void interleave(const V (&a)[N], V (&b)[N]) {
    for (int i = 0; i < N / 2; ++i) {
        b[2 * i] = zip_low(a[i], a[i + N / 2]);
        b[2 * i + 1] = zip_high(a[i], a[i + N / 2]);
    }
}

// N x N elements: `from` holds N runs of 16 bytes, one per column of `to`.
template <class V, int N>
FASTWSI_INLINE void transpose_block(const char* from, std::int64_t from_step, char* to,
                                    std::int64_t to_step) {
    V a[N], b[N];
    for (int i = 0; i < N; ++i) memcpy(&a[i], from + i * from_step, sizeof(V));
    interleave<N>(a, b);
    if constexpr (N == 4 || N == 16) interleave<N>(b, a);
    if constexpr (N == 8) {
        interleave<N>(b, a);
        interleave<N>(a, b);
    }
    if constexpr (N == 16) {
        interleave<N>(a, b);
        interleave<N>(b, a);
    }
    for (int i = 0; i < N; ++i) memcpy(to + i * to_step, N == 4 || N == 16 ? &a[i] : &b[i], sizeof(V));
}

template <int Unit>
FASTWSI_INLINE void copy_strided(const OrientTile& t, std::int64_t y0, std::int64_t x0, std::int64_t y1,
                                 std::int64_t x1) {
    for (std::int64_t y = y0; y < y1; ++y) {
        const char* const from = t.input + y * t.input_y;
        char* const to = t.output + y * t.output_y;
        for (std::int64_t x = x0; x < x1; ++x)
            memcpy(to + x * t.output_x, from + x * t.input_x,
                   static_cast<std::size_t>(Unit > 0 ? Unit : t.unit));
    }
}

// Rows of the output that are columns in memory, upwards or downwards.
template <class V, int Unit>
FASTWSI_INLINE void copy_transposed(const OrientTile& t) {
    constexpr std::int64_t kN = 16 / Unit;
    const std::int64_t rows = t.height / kN * kN, columns = t.width / kN * kN;
    const bool down = t.input_y > 0;
    for (std::int64_t y = 0; y < rows; y += kN) {
        // The lowest address of the run that becomes kN rows of the output, and the row it becomes.
        const char* const from = t.input + (down ? y : y + kN - 1) * t.input_y;
        char* const to = t.output + (down ? y : y + kN - 1) * t.output_y;
        for (std::int64_t x = 0; x < columns; x += kN)
            transpose_block<V, kN>(from + x * t.input_x, t.input_x, to + x * Unit,
                                   down ? t.output_y : -t.output_y);
    }
    copy_strided<Unit>(t, 0, columns, rows, t.width);
    copy_strided<Unit>(t, rows, 0, t.height, t.width);
}

template <class V, int Unit>
FASTWSI_INLINE void copy_mirrored(const OrientTile& t) {
    constexpr std::int64_t kN = 16 / Unit;
    const std::int64_t columns = t.width / kN * kN;
    for (std::int64_t y = 0; y < t.height; ++y) {
        const char* const from = t.input + y * t.input_y;
        char* const to = t.output + y * t.output_y;
        for (std::int64_t x = 0; x < columns; x += kN) {
            V run;
            memcpy(&run, from - (x + kN - 1) * Unit, sizeof run);
            run = reversed(run);
            memcpy(to + x * Unit, &run, sizeof run);
        }
    }
    copy_strided<Unit>(t, 0, columns, t.height, t.width);
}

template <class V, int Unit>
FASTWSI_INLINE void copy_power_of_two(const OrientTile& t) {
    const bool packed = t.output_x == Unit;
    if (packed && (t.input_y == Unit || t.input_y == -Unit)) return copy_transposed<V, Unit>(t);
    if (packed && t.input_x == -Unit) return copy_mirrored<V, Unit>(t);
    copy_strided<Unit>(t, 0, 0, t.height, t.width);
}

#if defined(__AVX2__)

// Four pixels of three bytes into the four lanes of a register, and back.
FASTWSI_INLINE __m128i load_pixels(const char* from, bool wide) {
    __m128i bytes;
    if (wide) {
        bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    } else {
        std::int32_t last;
        memcpy(&last, from + 8, sizeof last);
        bytes = _mm_insert_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)), last, 2);
    }
    return _mm_shuffle_epi8(bytes, _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1));
}

FASTWSI_INLINE void store_pixels(__m128i lanes, char* to, bool wide) {
    const __m128i bytes =
        _mm_shuffle_epi8(lanes, _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    if (wide) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
    } else {
        _mm_storel_epi64(reinterpret_cast<__m128i*>(to), bytes);
        const std::int32_t last = _mm_extract_epi32(bytes, 2);
        memcpy(to + 8, &last, sizeof last);
    }
}

// As copy_transposed. `wide` accesses take four bytes too many, which are the next pixel's: read where the
// tile has one, and written where it is still to come.
FASTWSI_INLINE void copy_transposed_pixels(const OrientTile& t) {
    constexpr std::int64_t kN = 4, kUnit = 3;
    const std::int64_t rows = t.height / kN * kN, columns = t.width / kN * kN;
    const bool down = t.input_y > 0;
    for (std::int64_t y = 0; y < rows; y += kN) {
        const char* const from = t.input + (down ? y : y + kN - 1) * t.input_y;
        char* const to = t.output + (down ? y : y + kN - 1) * t.output_y;
        const std::int64_t to_step = down ? t.output_y : -t.output_y;
        const bool wide_load = (down ? t.height - y : y + kN) >= kN + 2;
        for (std::int64_t x = 0; x < columns; x += kN) {
            const bool wide_store = t.width - x >= kN + 2;
            __m128i p[kN];
            for (int i = 0; i < kN; ++i) p[i] = load_pixels(from + (x + i) * t.input_x, wide_load);
            const __m128i a = _mm_unpacklo_epi32(p[0], p[1]), b = _mm_unpackhi_epi32(p[0], p[1]);
            const __m128i c = _mm_unpacklo_epi32(p[2], p[3]), d = _mm_unpackhi_epi32(p[2], p[3]);
            char* const at = to + x * kUnit;
            store_pixels(_mm_unpacklo_epi64(a, c), at, wide_store);
            store_pixels(_mm_unpackhi_epi64(a, c), at + to_step, wide_store);
            store_pixels(_mm_unpacklo_epi64(b, d), at + 2 * to_step, wide_store);
            store_pixels(_mm_unpackhi_epi64(b, d), at + 3 * to_step, wide_store);
        }
    }
    copy_strided<kUnit>(t, 0, columns, rows, t.width);
    copy_strided<kUnit>(t, rows, 0, t.height, t.width);
}

// Five pixels at a time; the sixteenth byte read and written is the sixth pixel's.
FASTWSI_INLINE void copy_mirrored_pixels(const OrientTile& t) {
    constexpr std::int64_t kN = 5, kUnit = 3;
    const __m128i order = _mm_setr_epi8(13, 14, 15, 10, 11, 12, 7, 8, 9, 4, 5, 6, 1, 2, 3, 0);
    const std::int64_t columns = t.width > kN ? (t.width - 1) / kN * kN : 0;
    for (std::int64_t y = 0; y < t.height; ++y) {
        const char* const from = t.input + y * t.input_y;
        char* const to = t.output + y * t.output_y;
        for (std::int64_t x = 0; x < columns; x += kN) {
            const char* const low = from - (x + kN - 1) * kUnit - 1;
            const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(low));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(to + x * kUnit), _mm_shuffle_epi8(bytes, order));
        }
    }
    copy_strided<kUnit>(t, 0, columns, t.height, t.width);
}

#endif

FASTWSI_INLINE void copy_pixels(const OrientTile& t) {
#if defined(__AVX2__)
    const bool packed = t.output_x == 3;
    if (packed && (t.input_y == 3 || t.input_y == -3)) return copy_transposed_pixels(t);
    if (packed && t.input_x == -3) return copy_mirrored_pixels(t);
#endif
    copy_strided<3>(t, 0, 0, t.height, t.width);
}

void copy_rows(const OrientTile& t) {
    const std::int64_t row = t.width * t.unit;
    const bool whole = t.input_y == row && t.output_y == row;
    const std::int64_t runs = whole ? 1 : t.height;
    for (std::int64_t y = 0; y < runs; ++y)
        memcpy(t.output + y * t.output_y, t.input + y * t.input_y,
               static_cast<std::size_t>(whole ? t.height * row : row));
}

}  // namespace

void orient_copy(const OrientTile& t) {
    if (t.input_x == t.unit && t.output_x == t.unit) return copy_rows(t);
    switch (t.unit) {
        case 1: return copy_power_of_two<u8x16, 1>(t);
        case 2: return copy_power_of_two<u16x8, 2>(t);
        case 4: return copy_power_of_two<u32x4, 4>(t);
        case 8: return copy_power_of_two<u64x2, 8>(t);
        case 3: return copy_pixels(t);
        case 6: return copy_strided<6>(t, 0, 0, t.height, t.width);
        case 12: return copy_strided<12>(t, 0, 0, t.height, t.width);
        case 16: return copy_strided<16>(t, 0, 0, t.height, t.width);
        default: return copy_strided<0>(t, 0, 0, t.height, t.width);
    }
}

}  // namespace fastwsi::FASTWSI_ISA

#undef FASTWSI_SHUFFLE
