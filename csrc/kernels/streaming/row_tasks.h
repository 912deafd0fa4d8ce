// Bands of an image's rows, N x C x H x W, and their cutting into tasks. A line is what lies packed: a row of
// one channel, or in channels last a row of all of them. Where no array has gaps between its rows, the rows
// of a plane (of an image) are one line.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace fastwsi {

struct RowShape {
    std::int64_t images, channels, height, width;
    bool channels_last;

    std::int64_t line() const { return channels_last ? width * channels : width; }  // values in a row
    std::int64_t outers() const { return channels_last ? images : images * channels; }
};

struct RowArray {
    char* data;
    std::int64_t image, channel, row;  // bytes; in channels last the channels lie side by side

    char* outer(const RowShape& shape, std::int64_t i) const {
        if (shape.channels_last) return data + i * image;
        return data + i / shape.channels * image + i % shape.channels * channel;
    }
};

// Channels repeat along a line with this period, in whole vectors of any kind; at least `least` values.
inline std::int64_t pattern_period(const RowShape& shape, std::int64_t least) {
    std::int64_t period = shape.channels_last ? shape.channels : 1;
    while (period % 8 != 0) period *= 2;
    return (least - 1) / period * period + period;
}

class RowTasks {
  public:
    struct Task {
        std::int64_t outer;              // the plane, or in channels last the image
        std::int64_t first_line, lines;  // where there is more than one, they are whole
        std::int64_t begin, values;      // the part of each line; `begin` is a multiple of the period
    };

    // `items`: bytes of an element of each array.
    template <int N>
    RowTasks(const RowShape& shape, const RowArray (&arrays)[N], std::int64_t item, std::int64_t period)
        : outers_(shape.outers()), height_(shape.height), line_(shape.line()) {
        bool packed = true;
        for (const RowArray& array : arrays) packed &= array.data == nullptr || array.row == line_ * item;
        if (packed) {
            line_ *= height_;
            height_ = 1;
        }
        if (outers_ * height_ * line_ == 0) return;
        part_ = (kValues + period - 1) / period * period;
        parts_ = (line_ - 1) / part_ + 1;
        group_ = parts_ > 1 ? 1 : (kValues - 1) / line_ + 1;
        groups_ = (height_ - 1) / group_ + 1;
        count_ = outers_ * groups_ * parts_;
    }

    std::int64_t count() const { return count_; }
    std::int64_t per_outer() const { return groups_ * parts_; }

    // body(i, task) for every task, on many threads.
    template <class Body>
    void for_each(const Body& body) const {
        if (count_ == 0) return;
        const std::int64_t values = (group_ < height_ ? group_ : height_) * (line_ < part_ ? line_ : part_);
        parallel_for(count_, kValues / values, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                const std::int64_t group = i / parts_ % groups_, part = i % parts_;
                Task task = {i / parts_ / groups_, group * group_, group_, part * part_, part_};
                if (task.first_line + group_ > height_) task.lines = height_ - task.first_line;
                if (task.begin + part_ > line_) task.values = line_ - task.begin;
                body(i, task);
            }
        });
    }

  private:
    static constexpr std::int64_t kValues = 1 << 15;  // of a task: some 10 us, and they fit the cache

    std::int64_t outers_, height_, line_;
    std::int64_t part_ = 1, parts_ = 1, group_ = 1, groups_ = 1, count_ = 0;
};

}  // namespace fastwsi
