#include "kernels/hsd/hsd_moments.h"

namespace fastwsi {

HsdCentral central(const HsdSums& sums) {
    HsdCentral result;
    result.count = sums.count;
    if (!(sums.count > 0)) return result;
    double shift[3];  // mean - reference
    for (int k = 0; k < 3; ++k) {
        shift[k] = sums.first[k] / sums.count;
        result.mean[k] = sums.reference[k] + shift[k];
    }
    constexpr int pair[4][2] = {{0, 0}, {0, 1}, {1, 1}, {2, 2}};
    for (int k = 0; k < 4; ++k) {
        const int a = pair[k][0], b = pair[k][1];
        result.scatter[k] = sums.second[k] - sums.count * shift[a] * shift[b];
        // Rounding must not leave a negative variance.
        if (a == b && result.scatter[k] < 0) result.scatter[k] = 0;
    }
    return result;
}

void merge(HsdCentral& into, const HsdCentral& other) {
    if (!(other.count > 0)) return;
    if (!(into.count > 0)) {
        into = other;
        return;
    }
    const double count = into.count + other.count;
    double delta[3];
    for (int k = 0; k < 3; ++k) delta[k] = other.mean[k] - into.mean[k];
    const double weight = into.count * other.count / count;
    constexpr int pair[4][2] = {{0, 0}, {0, 1}, {1, 1}, {2, 2}};
    for (int k = 0; k < 4; ++k)
        into.scatter[k] += other.scatter[k] + weight * delta[pair[k][0]] * delta[pair[k][1]];
    for (int k = 0; k < 3; ++k) into.mean[k] += delta[k] * (other.count / count);
    into.count = count;
}

}  // namespace fastwsi
