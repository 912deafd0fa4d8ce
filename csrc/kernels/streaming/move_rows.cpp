#include "kernels/streaming/move_rows.h"

#include <cstring>

namespace fastwsi {

void move_rows_cpu(const MoveRowsArgs& args) {
    const std::int64_t row = args.shape.line() * args.item, stride = args.buffer.row;
    if (row == 0 || args.count <= 0 || args.source == args.target) return;
    constexpr std::int64_t kBytes = 1 << 17;  // of a task
    parallel_for(args.shape.outers(), kBytes / (row * args.count), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            char* const plane = args.buffer.outer(args.shape, i);
            const char* const from = plane + args.source * stride;
            char* const to = plane + args.target * stride;
            if (stride == row) {
                std::memmove(to, from, static_cast<std::size_t>(row * args.count));
                continue;
            }
            // What would be written over is read first.
            for (std::int64_t k = 0; k < args.count; ++k) {
                const std::int64_t r = args.target < args.source ? k : args.count - 1 - k;
                std::memcpy(to + r * stride, from + r * stride, static_cast<std::size_t>(row));
            }
        }
    });
}

}  // namespace fastwsi
