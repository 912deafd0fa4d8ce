// How a GPU goes through bands of rows: threads along the lines of `RowShape`, blocks over lines.
#pragma once

#include "base/cuda.h"
#include "kernels/streaming/row_tasks.h"

namespace fastwsi {

constexpr int kRowThreads = 256;
constexpr int kRowValues = 4;  // of a thread, kRowThreads apart

struct RowLines {
    RowShape shape;
    std::int64_t per_outer;  // lines of a plane, or in channels last of an image
    std::int64_t count, values;

    // `item`: bytes of a value. Where no array has gaps between its rows, the rows of a plane are one line.
    template <int N>
    RowLines(const RowShape& given, const RowArray (&arrays)[N], std::int64_t item)
        : shape(given), per_outer(given.height), values(given.line()) {
        bool packed = true;
        for (const RowArray& array : arrays) packed &= array.data == nullptr || array.row == values * item;
        if (packed) {
            values *= per_outer;
            per_outer = 1;
        }
        count = shape.outers() * per_outer;
    }

    dim3 blocks() const {
        constexpr std::int64_t kMost = 65535, kPart = kRowThreads * kRowValues;
        return dim3(static_cast<unsigned>((values - 1) / kPart + 1),
                    static_cast<unsigned>(count < kMost ? count : kMost));
    }
};

#if defined(__CUDACC__)

template <class T>
__device__ __forceinline__ T* line_of(const RowLines& lines, const RowArray& array, std::int64_t line) {
    const std::int64_t outer = line / lines.per_outer, row = line - outer * lines.per_outer;
    const std::int64_t image = lines.shape.channels_last ? outer : outer / lines.shape.channels;
    const std::int64_t channel = lines.shape.channels_last ? 0 : outer - image * lines.shape.channels;
    return reinterpret_cast<T*>(array.data + image * array.image + channel * array.channel + row * array.row);
}

// body(line, each) for the lines of this thread's block; each(part) calls part(i, channel) for this thread's
// values of the line.
template <class Body>
__device__ __forceinline__ void for_row_lines(const RowLines& lines, const Body& body) {
    const std::int64_t channels = lines.shape.channels;
    const bool last = lines.shape.channels_last;
    const std::int64_t begin = std::int64_t{blockIdx.x} * (kRowThreads * kRowValues) + threadIdx.x;
    for (std::int64_t line = blockIdx.y; line < lines.count; line += gridDim.y) {
        // One division; in channels last the channel goes on with the values.
        const std::int64_t first = last ? begin % channels : line / lines.per_outer % channels;
        const std::int64_t step = last ? kRowThreads % channels : 0;
        body(line, [&](const auto& part) {
            std::int64_t channel = first;
#pragma unroll
            for (int k = 0; k < kRowValues; ++k) {
                const std::int64_t i = begin + k * kRowThreads;
                if (i < lines.values) part(i, channel);
                channel += step;
                if (channel >= channels) channel -= channels;
            }
        });
    }
}

#endif

}  // namespace fastwsi
