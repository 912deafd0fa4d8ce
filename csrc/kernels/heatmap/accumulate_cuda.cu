#include <algorithm>
#include <cstdint>

#include "base/cuda.h"
#include "base/half.h"
#include "kernels/heatmap/accumulate.h"
#include "kernels/heatmap/accumulate_math.h"

namespace fastwsi {
namespace {

constexpr int kThreads = 256;
constexpr int kBatch = 64;  // tiles of one launch: a bit each, and their positions travel as arguments

struct Batch {
    AccumulateArgs args;  // of these tiles alone; its positions are the host's
    std::int32_t left[kBatch], top[kBatch];
    // Tiles of the batch that share cells with each, as bits: those before it, and those after it.
    std::uint64_t before[kBatch], after[kBatch];
    int columns_log2;  // of the part of a tile that a block works on; its rows are the other threads
    unsigned blocks_across;
};

__device__ __forceinline__ bool covers(const Batch& batch, int tile, unsigned x, unsigned y) {
    // Unsigned differences: left of it or above it is far away.
    return x - static_cast<unsigned>(batch.left[tile]) < static_cast<unsigned>(batch.args.tile_width) &&
           y - static_cast<unsigned>(batch.top[tile]) < static_cast<unsigned>(batch.args.tile_height);
}

__device__ __forceinline__ int lowest(std::uint64_t bits) {
    return __ffsll(static_cast<long long>(bits)) - 1;
}

// A thread per tile and cell, a row of blocks per tile. The first tile of the batch over a cell lays all of
// them on it, in their order, so no two threads meet and no cell's state is read twice.
template <class T, class State, bool kMaximum>
__global__ void __launch_bounds__(kThreads) accumulate_kernel(const __grid_constant__ Batch batch) {
    const AccumulateArgs& args = batch.args;
    const int tile = static_cast<int>(blockIdx.y);
    const int column_bits = batch.columns_log2;
    const std::int64_t block_row = blockIdx.x / batch.blocks_across;
    const std::int64_t block_column = blockIdx.x - block_row * batch.blocks_across;
    const std::int64_t column = (block_column << column_bits) + (threadIdx.x & ((1u << column_bits) - 1));
    const std::int64_t row = block_row * (kThreads >> column_bits) + (threadIdx.x >> column_bits);
    const std::int64_t left = batch.left[tile], top = batch.top[tile];
    const std::int64_t x = (left < 0 ? 0 : left) + column, y = (top < 0 ? 0 : top) + row;
    if (x >= args.width || y >= args.height) return;
    if (x - left >= args.tile_width || y - top >= args.tile_height) return;
    const unsigned ux = static_cast<unsigned>(x), uy = static_cast<unsigned>(y);
    for (std::uint64_t rest = batch.before[tile]; rest != 0; rest &= rest - 1)
        if (covers(batch, lowest(rest), ux, uy)) return;
    std::uint64_t over_cell = std::uint64_t{1} << tile;
    for (std::uint64_t rest = batch.after[tile]; rest != 0; rest &= rest - 1)
        if (covers(batch, lowest(rest), ux, uy)) over_cell |= rest & (~rest + 1);

    std::int32_t* const count = reinterpret_cast<std::int32_t*>(args.counts + y * args.counts_y) + x;
    const std::int32_t count_before = *count;
    char* cell = args.state + y * args.state_y + x * static_cast<std::int64_t>(sizeof(State));
    for (std::int64_t c = 0; c < args.channels; ++c, cell += args.state_channel) {
        State state = *reinterpret_cast<const State*>(cell);
        bool fresh = count_before == 0;
        for (std::uint64_t rest = over_cell; rest != 0; rest &= rest - 1, fresh = false) {
            const int i = lowest(rest);
            const char* const at = args.tiles + i * args.tile + c * args.tile_channel +
                                   (y - batch.top[i]) * args.tile_y + (x - batch.left[i]) * args.tile_x;
            const State value = static_cast<State>(baseline::to_float(*reinterpret_cast<const T*>(at)));
            if constexpr (kMaximum) {
                state = baseline::greatest(state, value, fresh);
            } else {
                State lost;
                const State total = baseline::two_sum(state, value, lost);
                // The first value replaces 0 rather than being added to it: -0 stays what it is.
                state = fresh ? value : total;
                // Sums of like numbers lose nothing, and then the errors are not even read.
                if (lost != State{}) *reinterpret_cast<State*>(cell + args.errors) += lost;
            }
        }
        *reinterpret_cast<State*>(cell) = state;
    }
    *count = count_before + __popcll(over_cell);
}

bool meet(std::int64_t a, std::int64_t b, std::int64_t length) { return a - b < length && b - a < length; }

Batch batch_of(const AccumulateArgs& args, std::int64_t first) {
    Batch batch = {};
    batch.args = args;
    batch.args.tiles += first * args.tile;
    batch.args.count = std::min<std::int64_t>(args.count - first, kBatch);
    for (int i = 0; i < batch.args.count; ++i) {
        batch.left[i] = static_cast<std::int32_t>(args.left[first + i]);
        batch.top[i] = static_cast<std::int32_t>(args.top[first + i]);
        for (int j = 0; j < i; ++j) {
            if (!meet(batch.left[i], batch.left[j], args.tile_width) ||
                !meet(batch.top[i], batch.top[j], args.tile_height))
                continue;
            batch.before[i] |= std::uint64_t{1} << j;
            batch.after[j] |= std::uint64_t{1} << i;
        }
    }
    return batch;
}

// Columns of a block, as a power of two: the widest that leaves the fewest threads beside a row's end, and
// a warp's worth where the row has that many.
int columns_log2_of(std::int64_t width) {
    int best = width < 32 ? 0 : 5;
    std::int64_t best_covered = INT64_MAX;
    for (int bits = best; bits <= 8; ++bits) {
        const std::int64_t covered = (((width - 1) >> bits) + 1) << bits;
        if (covered <= best_covered) {
            best = bits;
            best_covered = covered;
        }
    }
    return best;
}

template <class T, class State, bool kMaximum>
void launch_all(const AccumulateArgs& args, cudaStream_t stream) {
    // Threads for the cells that a tile has on the heatmap, which may be a small part of it.
    const std::int64_t width = std::min(args.tile_width, args.width);
    const std::int64_t height = std::min(args.tile_height, args.height);
    const int bits = columns_log2_of(width);
    const std::int64_t rows = kThreads >> bits;
    const std::int64_t across = ((width - 1) >> bits) + 1, down = (height - 1) / rows + 1;
    FASTWSI_CHECK(across * down <= INT32_MAX, "tiles: got ", width, " x ", height,
                  " cells on the heatmap, expected fewer");
    for (std::int64_t first = 0; first < args.count; first += kBatch) {
        Batch batch = batch_of(args, first);
        batch.columns_log2 = bits;
        batch.blocks_across = static_cast<unsigned>(across);
        const dim3 blocks(static_cast<unsigned>(across * down), static_cast<unsigned>(batch.args.count));
        accumulate_kernel<T, State, kMaximum><<<blocks, kThreads, 0, stream>>>(batch);
        FASTWSI_CUDA_CHECK(cudaGetLastError());
    }
}

template <class T>
void choose_state(const AccumulateArgs& args, cudaStream_t stream) {
    if (!args.maximum) return launch_all<T, double, false>(args, stream);
    if (args.state_dtype == DType::f64) return launch_all<T, double, true>(args, stream);
    launch_all<T, float, true>(args, stream);
}

__device__ __forceinline__ void store_rounded(double x, float* out) { *out = static_cast<float>(x); }
__device__ __forceinline__ void store_rounded(double x, Half* out) {
    asm("cvt.rn.f16.f64 %0, %1;" : "=h"(out->bits) : "d"(x));
}

template <class State, class Out, bool kMaximum>
__global__ void __launch_bounds__(kThreads) average_kernel(const __grid_constant__ AverageArgs args) {
    const Grid<3>& grid = args.grid;
    const std::int64_t columns = grid.columns(), rows = grid.rows();
    const std::int64_t stride = std::int64_t{gridDim.x} * kThreads;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < rows * columns;
         i += stride) {
        const std::int64_t row = rows == 1 ? 0 : i / columns;
        const std::int64_t column = i - row * columns;
        std::int64_t offset[3];
        grid.row_offsets(row, offset);
        const char* const cell = args.state + offset[0] + column * grid.column_stride(0);
        const std::int32_t count =
            *reinterpret_cast<const std::int32_t*>(args.counts + offset[1] + column * grid.column_stride(1));
        double value = args.empty;
        if (count != 0) {
            value = *reinterpret_cast<const State*>(cell);
            if constexpr (!kMaximum)
                value = baseline::mean_of(value, *reinterpret_cast<const double*>(cell + args.errors),
                                          static_cast<double>(count));
        }
        store_rounded(value, reinterpret_cast<Out*>(args.out + offset[2] + column * grid.column_stride(2)));
    }
}

template <class State, class Out, bool kMaximum>
void launch_average(const AverageArgs& args, int processors, cudaStream_t stream) {
    const std::int64_t wanted = (args.grid.positions() + kThreads - 1) / kThreads;
    const unsigned blocks = static_cast<unsigned>(std::min(wanted, std::int64_t{processors} * 32));
    average_kernel<State, Out, kMaximum><<<blocks, kThreads, 0, stream>>>(args);
    FASTWSI_CUDA_CHECK(cudaGetLastError());
}

template <class Out>
void choose_average(const AverageArgs& args, int processors, cudaStream_t stream) {
    if (!args.maximum) return launch_average<double, Out, false>(args, processors, stream);
    if (args.state_dtype == DType::f64) return launch_average<double, Out, true>(args, processors, stream);
    launch_average<float, Out, true>(args, processors, stream);
}

}  // namespace

void accumulate_cuda(const AccumulateArgs& args, int device, void* stream) {
    const DeviceGuard guard(device);
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    switch (args.tile_dtype) {
        case DType::f16: return choose_state<Half>(args, queue);
        case DType::bf16: return choose_state<BFloat16>(args, queue);
        case DType::f64: return choose_state<double>(args, queue);
        default: return choose_state<float>(args, queue);
    }
}

void average_cuda(const AverageArgs& args, int device, void* stream) {
    const DeviceGuard guard(device);
    if (args.grid.positions() == 0) return;
    const int processors = multiprocessors(device);
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    if (args.out_dtype == DType::f16) return choose_average<Half>(args, processors, queue);
    choose_average<float>(args, processors, queue);
}

}  // namespace fastwsi
