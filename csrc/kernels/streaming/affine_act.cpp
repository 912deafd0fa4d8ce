#include "kernels/streaming/affine_act.h"

#include <limits>
#include <vector>

#include "base/cpu.h"
#include "kernels/streaming/affine_act_rows.inl"

namespace fastwsi {
namespace {

// The channels' values as they repeat along a line, or a stretch of equal values for each plane; `neutral`
// stands where there are none.
template <class T>
std::vector<T> pattern(const RowShape& shape, const void* values, T neutral, std::int64_t period) {
    const T* const from = static_cast<const T*>(values);
    const std::int64_t stretch = shape.channels_last ? 1 : period;
    std::vector<T> table(static_cast<std::size_t>(shape.channels_last ? period : period * shape.channels));
    for (std::size_t i = 0; i < table.size(); ++i)
        table[i] = from == nullptr ? neutral : from[static_cast<std::int64_t>(i) / stretch % shape.channels];
    return table;
}

template <class T>
void affine_act(const AffineActArgs& args, void (*function)(const AffineRun<T>&)) {
    constexpr T kInfinity = std::numeric_limits<T>::infinity();
    constexpr std::int64_t kItem = sizeof(T);
    const RowShape& shape = args.shape;
    const std::int64_t period = pattern_period(shape, 8);
    // Times 1 minus 0 leaves every value as it is, the sign of zero too.
    const std::vector<T> scale = pattern(shape, args.scale, T{1}, period);
    const std::vector<T> shift = pattern(shape, args.shift, -T{0}, period);
    AffineRun<T> common = {};
    common.period = period;
    common.low = args.act == Activation::none ? -kInfinity : T{0};
    common.high = args.act == Activation::relu6 ? T{6} : kInfinity;
    common.slope = static_cast<T>(args.slope);
    common.leaky = args.act == Activation::leaky_relu;
    common.contract = args.contract && args.scale != nullptr;
    const RowTasks tasks(shape, {args.x, args.residual, args.out}, kItem, period);
    tasks.for_each([&](std::int64_t, const RowTasks::Task& task) {
        const auto at = [&](const RowArray& array, std::int64_t line) {
            return reinterpret_cast<T*>(array.outer(shape, task.outer) + line * array.row) + task.begin;
        };
        AffineRun<T> run = common;
        const std::int64_t table = shape.channels_last ? 0 : task.outer % shape.channels * period;
        run.scale = scale.data() + table;
        run.shift = shift.data() + table;
        run.n = task.values;
        for (std::int64_t line = task.first_line; line < task.first_line + task.lines; ++line) {
            run.x = at(args.x, line);
            run.residual = args.residual.data == nullptr ? nullptr : at(args.residual, line);
            run.out = at(args.out, line);
            function(run);
        }
    });
}

}  // namespace

void affine_act_cpu(const AffineActArgs& args) {
    if (args.dtype == DType::f32) {
        affine_act<float>(args, FASTWSI_SELECT(affine_run_f32));
    } else {
        affine_act<double>(args, FASTWSI_SELECT(affine_run_f64));
    }
}

}  // namespace fastwsi
