// The positions that several arrays share, walked row by row in the order of the first array's memory.
// Dimensions are merged where every array allows it, so a contiguous batch of images is one long row,
// with its axes swapped or not, and a crop of a larger array is a short row per image row.
#pragma once

#include <cstdint>

#include "base/isa.h"
#include "base/view.h"

namespace fastwsi {

template <int N>
struct Grid {
    int ndim = 0;
    std::int64_t shape[kMaxDims] = {};
    std::int64_t stride[N][kMaxDims] = {};  // bytes

    // Appends an inner dimension; strides in bytes, one per array.
    void push(std::int64_t length, const std::int64_t (&strides)[N]) {
        shape[ndim] = length;
        for (int a = 0; a < N; ++a) stride[a][ndim] = strides[a];
        ++ndim;
    }

    FASTWSI_HOST_DEVICE std::int64_t positions() const {
        std::int64_t n = 1;
        for (int d = 0; d < ndim; ++d) n *= shape[d];
        return n;
    }
    FASTWSI_HOST_DEVICE std::int64_t columns() const { return ndim > 0 ? shape[ndim - 1] : 1; }
    FASTWSI_HOST_DEVICE std::int64_t rows() const {
        std::int64_t n = 1;
        for (int d = 0; d + 1 < ndim; ++d) n *= shape[d];
        return n;
    }
    FASTWSI_HOST_DEVICE std::int64_t column_stride(int array) const {
        return ndim > 0 ? stride[array][ndim - 1] : 0;
    }

    // Byte offset of each array at the start of a row.
    FASTWSI_HOST_DEVICE void row_offsets(std::int64_t row, std::int64_t (&offset)[N]) const {
        for (int a = 0; a < N; ++a) offset[a] = 0;
        for (int d = ndim - 2; d >= 0; --d) {
            const std::int64_t i = row % shape[d];
            row /= shape[d];
            for (int a = 0; a < N; ++a) offset[a] += i * stride[a][d];
        }
    }

    // Call once, after the last push.
    void arrange() {
        sort();
        merge();
    }

  private:
    // Whether dimension d of the first array must be walked outside of e: its stride is wider, or it
    // repeats the same memory (stride 0), which no row should step along.
    bool outside(int d, int e) const {
        const std::int64_t x = stride[0][d], y = stride[0][e];
        if (x == 0 || y == 0) return x == 0 && y != 0;
        return (x < 0 ? -x : x) > (y < 0 ? -y : y);
    }

    // Insertion sort: dimensions that may stand either way stay as they were.
    void sort() {
        for (int d = 1; d < ndim; ++d)
            for (int e = d; e > 0 && outside(e, e - 1); --e) {
                swap(shape[e - 1], shape[e]);
                for (int a = 0; a < N; ++a) swap(stride[a][e - 1], stride[a][e]);
            }
    }

    static void swap(std::int64_t& a, std::int64_t& b) {
        const std::int64_t kept = a;
        a = b;
        b = kept;
    }

    void merge() {
        int kept = 0;
        for (int d = 0; d < ndim; ++d) {
            if (shape[d] == 1 && ndim > 1 && !(kept == 0 && d == ndim - 1)) continue;
            bool joins = kept > 0;
            for (int a = 0; a < N && joins; ++a) joins = stride[a][kept - 1] == shape[d] * stride[a][d];
            const int at = joins ? kept - 1 : kept++;
            shape[at] = joins ? shape[at] * shape[d] : shape[d];
            for (int a = 0; a < N; ++a) stride[a][at] = stride[a][d];
        }
        ndim = kept;
    }
};

}  // namespace fastwsi
