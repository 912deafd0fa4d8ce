#include "kernels/streaming/act_gate.h"

#include <vector>

#include "base/cpu.h"
#include "kernels/streaming/act_gate_rows.inl"

namespace fastwsi {
namespace {

template <class T>
void act_gate(const ActGateArgs& args, void (*function)(const GateRun<T>&)) {
    const RowShape& shape = args.shape;
    // So many sums at a time that an addition does not wait for the one before.
    const std::int64_t period = pattern_period(shape, 32);
    GateRun<T> common = {};
    common.act = args.act;
    common.slope = static_cast<T>(args.slope);
    common.period = period;
    const RowTasks tasks(shape, {args.grad, args.value, args.out}, sizeof(T), period);
    // Each task adds up its own channels; they are added together at the end, in the order of the tasks.
    const std::int64_t channels = shape.channels_last ? shape.channels : 1;
    std::vector<double> parts;
    if (args.sums != nullptr) parts.resize(static_cast<std::size_t>(tasks.count() * channels));
    tasks.for_each([&](std::int64_t i, const RowTasks::Task& task) {
        const auto at = [&](const RowArray& array, std::int64_t line) {
            return reinterpret_cast<T*>(array.outer(shape, task.outer) + line * array.row) + task.begin;
        };
        std::vector<double> sums;
        if (args.sums != nullptr) sums.resize(static_cast<std::size_t>(period));
        GateRun<T> run = common;
        run.sums = args.sums != nullptr ? sums.data() : nullptr;
        run.n = task.values;
        for (std::int64_t line = task.first_line; line < task.first_line + task.lines; ++line) {
            run.grad = at(args.grad, line);
            run.value = at(args.value, line);
            run.out = at(args.out, line);
            function(run);
        }
        for (std::size_t k = 0; k < sums.size(); ++k)
            parts[static_cast<std::size_t>(i * channels + static_cast<std::int64_t>(k) % channels)] +=
                sums[k];
    });
    if (args.sums == nullptr) return;
    for (std::int64_t i = 0; i < tasks.count(); ++i)
        for (std::int64_t c = 0; c < channels; ++c) {
            const std::int64_t channel = shape.channels_last ? c : i / tasks.per_outer() % shape.channels;
            args.sums[channel] += parts[static_cast<std::size_t>(i * channels + c)];
        }
}

}  // namespace

void act_gate_cpu(const ActGateArgs& args) {
    if (args.dtype == DType::f32) {
        act_gate<float>(args, FASTWSI_SELECT(gate_run_f32));
    } else {
        act_gate<double>(args, FASTWSI_SELECT(gate_run_f64));
    }
}

}  // namespace fastwsi
