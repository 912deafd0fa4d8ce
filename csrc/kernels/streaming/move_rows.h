// Rows of a buffer moved to other rows of it.
#pragma once

#include "kernels/streaming/row_tasks.h"

namespace fastwsi {

struct MoveRowsArgs {
    RowShape shape;
    RowArray buffer;
    std::int64_t item;  // bytes of an element, of any kind
    std::int64_t source, target, count;
};

void move_rows_cpu(const MoveRowsArgs& args);

}  // namespace fastwsi
