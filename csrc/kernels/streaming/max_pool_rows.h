// The inner loops of max_pool, at the instruction set of the including unit.
#pragma once

#include <cstdint>

namespace fastwsi {

// Position i of n has one candidate in each of `count` packed runs: taps[t][i], whose number is numbers[t].
template <class T>
struct PoolTaps {
    const T* const* taps;
    const std::uint8_t* numbers;
    int count;
    std::int64_t n;
    T* y;
    std::uint8_t* index;
};

// Every second value, from the first and from the second: even[i] = x[2 i] for i < evens, odd[i] = x[2 i + 1]
// for i < odds.
template <class T>
struct PoolPairs {
    const T* x;
    T* even;
    std::int64_t evens;
    T* odd;
    std::int64_t odds;
};

namespace baseline {
void pool_taps_f32(const PoolTaps<float>& run);
void pool_taps_f64(const PoolTaps<double>& run);
void pool_pairs_f32(const PoolPairs<float>& run);
void pool_pairs_f64(const PoolPairs<double>& run);
}  // namespace baseline
namespace avx2 {
void pool_taps_f32(const PoolTaps<float>& run);
void pool_taps_f64(const PoolTaps<double>& run);
void pool_pairs_f32(const PoolPairs<float>& run);
void pool_pairs_f64(const PoolPairs<double>& run);
}  // namespace avx2

}  // namespace fastwsi
