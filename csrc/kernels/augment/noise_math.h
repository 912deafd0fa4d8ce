// Noise from a counter: the number of a pixel and the image's key give its random words, so that neither
// threads nor the order of work change a bit, and a band of an image gets the noise of the whole.
#pragma once

#include "base/functions.h"
#include "base/isa.h"

namespace fastwsi::FASTWSI_ISA {

// Wellons' "lowbias32" hash: every input bit turns every output bit with probability close to one half.
template <class U>
FASTWSI_INLINE U mix_bits(U x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    x ^= x >> 16;
    return x;
}

// The random words of pixel number `index` (or of a vector of them).
template <class U>
struct RandomWords {
    FASTWSI_HOST_DEVICE RandomWords(U index, const std::uint32_t (&key)[2])
        : base(mix_bits(index + key[0])), step(key[1]) {}
    // The 24 upper bits of word j.
    FASTWSI_HOST_DEVICE U bits24(std::uint32_t j) const {
        return mix_bits(base ^ (step + j * 0x9e3779b9u)) >> 8;
    }
    U base;
    std::uint32_t step;
};

constexpr float kUnit24 = 1.f / (1 << 24);

// Words 4 to 7 as three values of a standard normal distribution (Box and Muller; the fourth is not needed).
template <class U, class V>
FASTWSI_INLINE void normal_noise(const RandomWords<U>& words, V (&normal)[3]) {
    V sine, cosine;
    const V radius = root(-2.f * natural_log(float_of(words.bits24(4) + 1u) * kUnit24));
    sincos_turns(float_of(words.bits24(5)) * kUnit24, sine, cosine);
    normal[0] = radius * cosine;
    normal[1] = radius * sine;
    const V other = root(-2.f * natural_log(float_of(words.bits24(6) + 1u) * kUnit24));
    sincos_turns(float_of(words.bits24(7)) * kUnit24, sine, cosine);
    normal[2] = other * cosine;
}

}  // namespace fastwsi::FASTWSI_ISA
