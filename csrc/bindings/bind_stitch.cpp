#include <pybind11/stl.h>

#include <cstdint>
#include <vector>

#include "base/check.h"
#include "bindings/call.h"
#include "bindings/dlpack.h"
#include "bindings/register.h"
#include "kernels/heatmap/accumulate.h"

namespace fastwsi {
namespace {

// A state's axes: (sum and error,) (channel,) row, column.
struct StateAxes {
    int channel;  // -1 where there is none
    int y, x;
};

StateAxes check_state(const View& state, const View& counts, bool maximum) {
    FASTWSI_CHECK_TYPE(state.dtype == DType::f64 || (maximum && state.dtype == DType::f32),
                       "state: got dtype ", name_of(state.dtype), ", expected float64",
                       maximum ? " or float32" : "");
    FASTWSI_CHECK_TYPE(counts.dtype == DType::i32, "count: got dtype ", name_of(counts.dtype),
                       ", expected int32");
    const int leading = maximum ? 0 : 1;
    const bool fits =
        (state.ndim == leading + 2 || state.ndim == leading + 3) && (maximum || state.shape[0] == 2);
    FASTWSI_CHECK(fits, "state: got shape ", shape_text(state), ", expected ",
                  maximum ? "(height, width) or (channels, height, width)"
                          : "(2, height, width) or (2, channels, height, width)");
    FASTWSI_CHECK(state.ndim < leading + 3 || state.shape[leading] > 0,
                  "state: got 0 channels, expected some");
    const StateAxes axes = {state.ndim == leading + 3 ? leading : -1, state.ndim - 2, state.ndim - 1};
    FASTWSI_CHECK(
        counts.ndim == 2 && counts.shape[0] == state.shape[axes.y] && counts.shape[1] == state.shape[axes.x],
        "count: got shape ", shape_text(counts), " for a state of shape ", shape_text(state),
        ", expected (height, width)");
    check_same_device(state, "state", counts, "count");
    check_no_overlap(state, "state", counts, "count");
    return axes;
}

void check_row(const View& view, const char* name) {
    const int x = view.ndim - 1;
    FASTWSI_CHECK(view.shape[x] <= 1 || view.stride[x] == item_size(view.dtype), name, ": got a step of ",
                  view.stride[x], " bytes between the columns, expected ", item_size(view.dtype),
                  ": the cells of a row side by side");
}

void check_side(std::int64_t length, const char* name) {
    FASTWSI_CHECK(length <= INT32_MAX, name, ": got a side of ", length, " cells, expected at most ",
                  INT32_MAX);
}

void accumulate(py::handle state_object, py::handle counts_object, py::handle tiles_object,
                const std::vector<std::int64_t>& x, const std::vector<std::int64_t>& y, bool maximum,
                std::uintptr_t stream) {
    const Borrowed state(state_object, "state", Access::write, stream);
    const Borrowed counts(counts_object, "count", Access::write, stream);
    const Borrowed tiles(tiles_object, "tiles", Access::read, stream);
    const StateAxes axes = check_state(state.view(), counts.view(), maximum);
    check_row(state.view(), "state");
    check_row(counts.view(), "count");
    check_same_device(state.view(), "state", tiles.view(), "tiles");
    check_no_overlap(tiles.view(), "tiles", state.view(), "state");
    check_no_overlap(tiles.view(), "tiles", counts.view(), "count");
    FASTWSI_CHECK_TYPE(is_float(tiles->dtype), "tiles: got dtype ", name_of(tiles->dtype),
                       ", expected float32, float16, bfloat16 or float64");
    const bool with_channels = axes.channel >= 0;
    FASTWSI_CHECK(
        tiles->ndim == (with_channels ? 4 : 3) &&
            (!with_channels || tiles->shape[1] == state->shape[axes.channel]),
        "tiles: got shape ", shape_text(tiles.view()), " for a state of shape ", shape_text(state.view()),
        with_channels ? ", expected (batch, channels, height, width)" : ", expected (batch, height, width)");
    const std::int64_t count = tiles->shape[0];
    FASTWSI_CHECK(
        static_cast<std::int64_t>(x.size()) == count && static_cast<std::int64_t>(y.size()) == count,
        "x and y: got ", x.size(), " and ", y.size(), " positions, expected ", count, ", one per tile");

    AccumulateArgs args;
    args.maximum = maximum;
    args.tile_dtype = tiles->dtype;
    args.state_dtype = state->dtype;
    args.state = static_cast<char*>(state->data);
    args.state_channel = with_channels ? state->stride[axes.channel] : 0;
    args.state_y = state->stride[axes.y];
    args.errors = maximum ? 0 : state->stride[0];
    args.counts = static_cast<char*>(counts->data);
    args.counts_y = counts->stride[0];
    args.tiles = static_cast<const char*>(tiles->data);
    args.tile = tiles->stride[0];
    args.tile_channel = with_channels ? tiles->stride[1] : 0;
    args.tile_y = tiles->stride[tiles->ndim - 2];
    args.tile_x = tiles->stride[tiles->ndim - 1];
    args.channels = with_channels ? state->shape[axes.channel] : 1;
    args.height = counts->shape[0];
    args.width = counts->shape[1];
    args.tile_height = tiles->shape[tiles->ndim - 2];
    args.tile_width = tiles->shape[tiles->ndim - 1];
    args.count = count;
    args.left = x.data();
    args.top = y.data();
    for (const std::int64_t side : {args.height, args.width}) check_side(side, "state");
    for (const std::int64_t side : {args.tile_height, args.tile_width}) {
        check_side(side, "tiles");
        FASTWSI_CHECK(side > 0, "tiles: got shape ", shape_text(tiles.view()), ", expected cells");
    }
    for (std::int64_t i = 0; i < count; ++i)
        FASTWSI_CHECK(
            x[i] > -args.tile_width && x[i] < args.width && y[i] > -args.tile_height && y[i] < args.height,
            "x and y: got (", x[i], ", ", y[i], ") for tile ", i,
            ", expected some cell of it on the heatmap");
    const Running running;
    if (state->device == Device::cpu) {
        accumulate_cpu(args);
    } else {
        accumulate_cuda(args, state->device_index, reinterpret_cast<void*>(stream));
    }
}

void average(py::handle state_object, py::handle counts_object, py::handle out_object, double empty,
             bool maximum, std::uintptr_t stream) {
    const Borrowed state(state_object, "state", Access::read, stream);
    const Borrowed counts(counts_object, "count", Access::read, stream);
    const Borrowed out(out_object, "out", Access::write, stream);
    const StateAxes axes = check_state(state.view(), counts.view(), maximum);
    check_same_device(state.view(), "state", out.view(), "out");
    check_no_overlap(state.view(), "state", out.view(), "out");
    check_no_overlap(counts.view(), "count", out.view(), "out");
    FASTWSI_CHECK_TYPE(out->dtype == DType::f32 || out->dtype == DType::f16, "out: got dtype ",
                       name_of(out->dtype), ", expected float32 or float16");
    const int leading = maximum ? 0 : 1;
    bool fits = out->ndim == state->ndim - leading;
    for (int d = 0; fits && d < out->ndim; ++d) fits = out->shape[d] == state->shape[leading + d];
    FASTWSI_CHECK(fits, "out: got shape ", shape_text(out.view()), " for a state of shape ",
                  shape_text(state.view()), ", expected that of the heatmap");

    AverageArgs args;
    for (int d = 0; d < out->ndim; ++d) {
        const bool channel = d + leading == axes.channel;
        const int counts_axis = d + leading == axes.y ? 0 : 1;
        args.grid.push(out->shape[d], {state->stride[leading + d], channel ? 0 : counts->stride[counts_axis],
                                       out->stride[d]});
    }
    args.grid.arrange();
    args.maximum = maximum;
    args.state_dtype = state->dtype;
    args.out_dtype = out->dtype;
    args.state = static_cast<const char*>(state->data);
    args.errors = maximum ? 0 : state->stride[0];
    args.counts = static_cast<const char*>(counts->data);
    args.out = static_cast<char*>(out->data);
    args.empty = empty;
    const Running running;
    if (state->device == Device::cpu) {
        average_cpu(args);
    } else {
        average_cuda(args, state->device_index, reinterpret_cast<void*>(stream));
    }
}

}  // namespace

void register_stitch(py::module_& m) {
    m.def("accumulate", &accumulate, py::arg("state"), py::arg("count"), py::arg("tiles"), py::arg("x"),
          py::arg("y"), py::arg("maximum"), py::arg("stream"));
    m.def("average", &average, py::arg("state"), py::arg("count"), py::arg("out"), py::arg("empty"),
          py::arg("maximum"), py::arg("stream"));
}

}  // namespace fastwsi
