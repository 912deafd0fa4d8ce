// Included by max_pool.cpp and max_pool_avx2.cpp: the same code, each with its own flags.
#include "kernels/streaming/max_pool_rows.h"
#include "kernels/streaming/wide.h"

namespace fastwsi::FASTWSI_ISA {
namespace {

// The numbers in a vector's lanes, as bytes.
FASTWSI_INLINE void store_numbers(i32x8 numbers, std::uint8_t* p) {
#if defined(__AVX2__)
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)numbers),
                                          _mm256_extracti128_si256((__m256i)numbers, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
#else
    for (int i = 0; i < 8; ++i) p[i] = static_cast<std::uint8_t>(numbers[i]);
#endif
}
FASTWSI_INLINE void store_numbers(i64x4 numbers, std::uint8_t* p) {
    for (int i = 0; i < 4; ++i) p[i] = static_cast<std::uint8_t>(numbers[i]);
}

// kVectors side by side, so that one's comparisons fill the time that another's take.
template <int kVectors, class T>
FASTWSI_INLINE void pool_vectors(const PoolTaps<T>& run, std::int64_t i) {
    typedef typename Wide<T>::V V;
    typedef typename Wide<T>::Mask Mask;
    constexpr std::int64_t kLanes = Wide<T>::kLanes;
    V best[kVectors], winner[kVectors];
    for (int k = 0; k < kVectors; ++k) {
        best[k] = load_wide(run.taps[0] + i + k * kLanes);
        winner[k] = (V)(Mask{} + run.numbers[0]);
    }
    for (int t = 1; t < run.count; ++t) {
        const V number = (V)(Mask{} + run.numbers[t]);
        const T* const tap = run.taps[t] + i;
        for (int k = 0; k < kVectors; ++k) {
            const V v = load_wide(tap + k * kLanes);
            const Mask wins = (v > best[k]) | (v != v);
            best[k] = where_sign(wins, v, best[k]);
            winner[k] = where_sign(wins, number, winner[k]);
        }
    }
    for (int k = 0; k < kVectors; ++k) {
        store_wide(best[k], run.y + i + k * kLanes);
        store_numbers((Mask)winner[k], run.index + i + k * kLanes);
    }
}

template <class T>
FASTWSI_INLINE void pool_any(const PoolTaps<T>& run) {
    constexpr std::int64_t kLanes = Wide<T>::kLanes;
    std::int64_t i = 0;
    for (; i + 4 * kLanes <= run.n; i += 4 * kLanes) pool_vectors<4>(run, i);
    for (; i + kLanes <= run.n; i += kLanes) pool_vectors<1>(run, i);
    if (i < run.n && run.n >= kLanes) {  // the rest with some of those before it, whose results stay the same
        pool_vectors<1>(run, run.n - kLanes);
        return;
    }
    for (; i < run.n; ++i) {
        T best = run.taps[0][i];
        std::uint8_t winner = run.numbers[0];
        for (int t = 1; t < run.count; ++t) {
            const T v = run.taps[t][i];
            if (v > best || v != v) {
                best = v;
                winner = run.numbers[t];
            }
        }
        run.y[i] = best;
        run.index[i] = winner;
    }
}

template <class T>
FASTWSI_INLINE void pairs_from(const PoolPairs<T>& run, std::int64_t i) {
    for (std::int64_t k = i; k < run.evens; ++k) run.even[k] = run.x[2 * k];
    for (std::int64_t k = i; k < run.odds; ++k) run.odd[k] = run.x[2 * k + 1];
}

}  // namespace

void pool_taps_f32(const PoolTaps<float>& run) { pool_any(run); }
void pool_taps_f64(const PoolTaps<double>& run) { pool_any(run); }

void pool_pairs_f32(const PoolPairs<float>& run) {
    std::int64_t i = 0;
#if defined(__AVX2__)
    const std::int64_t both = run.evens < run.odds ? run.evens : run.odds;
    for (; i + 8 <= both; i += 8) {
        const __m256 a = _mm256_loadu_ps(run.x + 2 * i), b = _mm256_loadu_ps(run.x + 2 * i + 8);
        const __m256d even = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88));
        const __m256d odd = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xDD));
        _mm256_storeu_pd(reinterpret_cast<double*>(run.even + i), _mm256_permute4x64_pd(even, 0xD8));
        _mm256_storeu_pd(reinterpret_cast<double*>(run.odd + i), _mm256_permute4x64_pd(odd, 0xD8));
    }
#endif
    pairs_from(run, i);
}
void pool_pairs_f64(const PoolPairs<double>& run) { pairs_from(run, 0); }

}  // namespace fastwsi::FASTWSI_ISA
