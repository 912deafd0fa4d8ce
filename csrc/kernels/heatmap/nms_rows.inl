// Included by nms_cpu.cpp and nms_avx2.cpp: the same code, each with its own flags.
#include "base/simd.h"
#include "kernels/heatmap/nms_math.h"
#include "kernels/heatmap/nms_rows.h"

namespace fastwsi::FASTWSI_ISA {
namespace {

// The vectors that hold values of type T, and their masks as bits.
template <class T>
struct Lanes {
    typedef f32x8 Vector;
    typedef float Value;
    static constexpr int kCount = 8;
    static FASTWSI_INLINE_MEMBER f32x8 load(const T* p) { return load8(p); }
    static FASTWSI_INLINE_MEMBER i32x8 mask(std::uint32_t bits) {
        return ((i32x8{} + static_cast<std::int32_t>(bits)) & i32x8{1, 2, 4, 8, 16, 32, 64, 128}) != 0;
    }
    static FASTWSI_INLINE_MEMBER std::uint32_t bits(i32x8 mask) {
#if defined(__AVX2__)
        return static_cast<std::uint32_t>(_mm256_movemask_ps((__m256)mask));
#else
        const i32x8 parts = mask & i32x8{1, 2, 4, 8, 16, 32, 64, 128};
        std::int32_t all = 0;
        for (int i = 0; i < kCount; ++i) all |= parts[i];
        return static_cast<std::uint32_t>(all);
#endif
    }
};

typedef std::int64_t i64x4 __attribute__((vector_size(32)));

template <>
struct Lanes<double> {
    typedef f64x4 Vector;
    typedef double Value;
    static constexpr int kCount = 4;
    static FASTWSI_INLINE_MEMBER f64x4 load(const double* p) {
        f64x4 x;
        memcpy(&x, p, sizeof x);
        return x;
    }
    static FASTWSI_INLINE_MEMBER i64x4 mask(std::uint32_t bits) {
        return ((i64x4{} + static_cast<std::int64_t>(bits)) & i64x4{1, 2, 4, 8}) != 0;
    }
    static FASTWSI_INLINE_MEMBER std::uint32_t bits(i64x4 mask) {
#if defined(__AVX2__)
        return static_cast<std::uint32_t>(_mm256_movemask_pd((__m256d)mask));
#else
        std::uint32_t all = 0;
        for (int i = 0; i < kCount; ++i) all |= static_cast<std::uint32_t>(mask[i]) & 1u << i;
        return all;
#endif
    }
};

constexpr int kRowsAtOnce = 4;  // streams that the processor's prefetcher follows with ease

// Column maxima of kRowsAtOnce rows, on top of those of the rows before, which `columns` holds.
template <class T, bool First, bool Last>
FASTWSI_INLINE void find_rows(const T* const (&row)[kRowsAtOnce], int tiles,
                              typename Lanes<T>::Value threshold, typename Lanes<T>::Value* columns,
                              std::uint8_t* found) {
    typedef typename Lanes<T>::Vector V;
    constexpr int kVectors = kNmsTileWidth / Lanes<T>::kCount;
    const V floor = V{} + threshold;
    for (int t = 0; t < tiles; ++t) {
        V tile = floor;
        for (int v = 0; v < kVectors; ++v) {
            const int x = t * kNmsTileWidth + v * Lanes<T>::kCount;
            V most = floor;
            if (!First) memcpy(&most, columns + x, sizeof most);
            // In this order, since NaN must stand first to lose.
            for (int k = 0; k < kRowsAtOnce; ++k) most = larger(Lanes<T>::load(row[k] + x), most);
            if (Last) {
                tile = larger(most, tile);
            } else {
                memcpy(columns + x, &most, sizeof most);
            }
        }
        if (Last) found[t] = Lanes<T>::bits(tile > floor) != 0;
    }
}

template <class T>
FASTWSI_INLINE void find_tiles(const char* first, std::int64_t stride, int rows, int tiles, double threshold,
                               std::uint8_t* found) {
    typedef typename Lanes<T>::Value Value;
    Value columns[kNmsChunkTiles * kNmsTileWidth];
    const Value floor = static_cast<Value>(threshold);
    for (int y = 0; y < rows; y += kRowsAtOnce) {
        const T* row[kRowsAtOnce];
        for (int k = 0; k < kRowsAtOnce; ++k)  // short of rows, the last one counts again
            row[k] = reinterpret_cast<const T*>(first + (y + k < rows ? y + k : rows - 1) * stride);
        const bool last = y + kRowsAtOnce >= rows;
        if (y == 0 && last) {
            find_rows<T, true, true>(row, tiles, floor, columns, found);
        } else if (y == 0) {
            find_rows<T, true, false>(row, tiles, floor, columns, found);
        } else if (last) {
            find_rows<T, false, true>(row, tiles, floor, columns, found);
        } else {
            find_rows<T, false, false>(row, tiles, floor, columns, found);
        }
    }
}

template <class T>
FASTWSI_INLINE bool above_tile(const char* tile, std::int64_t stride, int rows, double threshold,
                               std::uint32_t* words) {
    typedef typename Lanes<T>::Vector V;
    constexpr int kCount = Lanes<T>::kCount;
    const V floor = V{} + static_cast<typename Lanes<T>::Value>(threshold);
    std::uint32_t any = 0;
    for (int y = 0; y < rows; ++y) {
        const T* const row = reinterpret_cast<const T*>(tile + y * stride);
        std::uint32_t word = 0;
        for (int x = 0; x < kNmsTileWidth; x += kCount)
            word |= Lanes<T>::bits(Lanes<T>::load(row + x) > floor) << x;
        words[y] = word;
        any |= word;
    }
    return any != 0;
}

template <class T>
FASTWSI_INLINE NmsBest search_tile(const char* tile, std::int64_t stride, int rows,
                                   const std::uint32_t* words) {
    typedef typename Lanes<T>::Vector V;
    typedef typename Lanes<T>::Value Value;
    constexpr int kCount = Lanes<T>::kCount, kVectors = kNmsTileWidth / kCount;
    const V lowest = V{} - static_cast<Value>(__builtin_inf());
    V most[kVectors];
    for (int v = 0; v < kVectors; ++v) most[v] = lowest;
    for (int y = 0; y < rows; ++y) {
        if (words[y] == 0) continue;
        const T* const row = reinterpret_cast<const T*>(tile + y * stride);
        for (int v = 0; v < kVectors; ++v) {
            const V alive =
                Lanes<T>::mask(words[y] >> v * kCount) ? Lanes<T>::load(row + v * kCount) : lowest;
            most[v] = larger(alive, most[v]);
        }
    }
    for (int v = 1; v < kVectors; ++v) most[0] = larger(most[v], most[0]);
    Value value = most[0][0];
    for (int i = 1; i < kCount; ++i) value = most[0][i] > value ? most[0][i] : value;

    const V wanted = V{} + value;
    for (int y = 0; y < rows; ++y) {
        if (words[y] == 0) continue;
        const T* const row = reinterpret_cast<const T*>(tile + y * stride);
        std::uint32_t equal = 0;
        for (int x = 0; x < kNmsTileWidth; x += kCount)
            equal |= Lanes<T>::bits(Lanes<T>::load(row + x) == wanted) << x;
        equal &= words[y];
        if (equal != 0) return {static_cast<double>(value), y, __builtin_ctz(equal)};
    }
    return {static_cast<double>(value), -1, -1};
}

template <class T>
void find(const char* first, std::int64_t stride, int rows, int tiles, double threshold,
          std::uint8_t* found) {
    find_tiles<T>(first, stride, rows, tiles, threshold, found);
}
template <class T>
bool above(const char* tile, std::int64_t stride, int rows, double threshold, std::uint32_t* words) {
    return above_tile<T>(tile, stride, rows, threshold, words);
}
template <class T>
NmsBest search(const char* tile, std::int64_t stride, int rows, const std::uint32_t* words) {
    return search_tile<T>(tile, stride, rows, words);
}

}  // namespace

const NmsRows nms_f16 = {find<Half>, above<Half>, search<Half>};
const NmsRows nms_bf16 = {find<BFloat16>, above<BFloat16>, search<BFloat16>};
const NmsRows nms_f32 = {find<float>, above<float>, search<float>};
const NmsRows nms_f64 = {find<double>, above<double>, search<double>};

}  // namespace fastwsi::FASTWSI_ISA
