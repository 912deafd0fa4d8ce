// The list that the loop gives, found in rounds. A cell is certain to be reported where no living cell that
// comes before it is within reach. A round reports such cells and strikes what they suppress, and then
// searches anew the tiles that lost their best cell. All rounds run in one cooperative launch: the host need
// not know how many they are.
#include <cooperative_groups.h>

#include "base/cuda.h"
#include "kernels/heatmap/nms.h"
#include "kernels/heatmap/nms_device.cuh"

namespace fastwsi {
namespace {

__device__ void report(const Launch& launch, unsigned tile, const NmsKey& key) {
    const unsigned map = map_of(launch.tiles, tile);
    unsigned long long* const count = reinterpret_cast<unsigned long long*>(launch.out.count + map);
    const std::int64_t index = static_cast<std::int64_t>(atomicAdd(count, 1ull));
    if (index >= launch.out.capacity) return;  // the map changes: see NmsDevice
    launch.out.order[map * launch.out.capacity + index] = key.order;
    launch.out.place[map * launch.out.capacity + index] = key.place;
}

// Empties the lists and counts. Runs before everything else.
__global__ void __launch_bounds__(kThreads) nms_clear_kernel(const __grid_constant__ Launch launch) {
    const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
    const std::int64_t entries = launch.args.maps * launch.out.capacity;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < entries; i += step)
        launch.out.order[i] = launch.out.place[i] = kNmsNone;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < launch.args.maps; i += step)
        launch.out.count[i] = 0;
    if (blockIdx.x == 0 && threadIdx.x < 2) launch.tiles.length[threadIdx.x] = 0;
}

// Marks the living cells of every tile, finds its best and lists it if there is one. A warp for each tile.
template <class T>
__global__ void __launch_bounds__(kThreads) nms_mark_kernel(const __grid_constant__ Launch launch) {
    const Tiles& tiles = launch.tiles;
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const unsigned warps = gridDim.x * kWarps;
    for (unsigned tile = (blockIdx.x * kThreads + threadIdx.x) / kWarp; tile < tiles.count; tile += warps) {
        const unsigned word = mark_tile<T>(launch, tile);
        if (lane < tiles.rows) tiles.alive[(std::int64_t{tile} << tiles.shift) + lane] = word;
        NmsKey best = {kNmsNone, kNmsNone};
        if (__any_sync(kAll, word != 0)) best = search_tile<T>(launch, tile, word);
        if (lane != 0) continue;
        tiles.best[tile] = best;
        if (best.order != kNmsNone) tiles.active[0][atomicAdd(tiles.length, 1u)] = tile;
    }
}

// For regions of one cell: every cell above the threshold is a detection.
template <class T>
__global__ void __launch_bounds__(kThreads) nms_report_all_kernel(const __grid_constant__ Launch launch) {
    const Tiles& tiles = launch.tiles;
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const unsigned warps = gridDim.x * kWarps;
    for (unsigned tile = (blockIdx.x * kThreads + threadIdx.x) / kWarp; tile < tiles.count; tile += warps) {
        const unsigned word = mark_tile<T>(launch, tile);
        // Slots of a row's cells: after those of the rows before it.
        int end = __popc(word);
        for (int distance = 1; distance < kWarp; distance *= 2) {
            const int before = __shfl_up_sync(kAll, end, distance);
            if (lane >= distance) end += before;
        }
        const int total = __shfl_sync(kAll, end, kWarp - 1);
        if (total == 0) continue;
        const unsigned map = map_of(tiles, tile);
        unsigned long long base = 0;
        if (lane == 0)
            base = atomicAdd(reinterpret_cast<unsigned long long*>(launch.out.count + map),
                             static_cast<unsigned long long>(total));
        const std::int64_t first =
            map * launch.out.capacity + static_cast<std::int64_t>(__shfl_sync(kAll, base, 0));
        std::int64_t y, x;
        corner_of(tiles, tile, y, x);
        const char* cell = column_at(launch.args, map, y, x + lane);
        std::int64_t place = nms_place(y, x + lane);
        for (int r = 0; r < tiles.rows; ++r) {
            const unsigned row = __shfl_sync(kAll, word, r);
            const int start = __shfl_sync(kAll, end, r) - __popc(row);
            if ((row >> lane & 1u) != 0) {
                const std::int64_t slot = first + start + __popc(row & ((1u << lane) - 1));
                launch.out.order[slot] = baseline::nms_order(value_at<T>(cell));
                launch.out.place[slot] = place;
            }
            cell += launch.args.row_stride;
            place += nms_place(1, 0);
        }
    }
}

// Until a round's first barrier the tiles' best cells stay what they were at its start, and so bound from
// above whatever is alive in them. A cell that passes is_certain() against these bounds is reported for good:
// what suppresses it and comes before it was either struck in an earlier round or lives in a tile whose bound
// objects. So a tile may report several cells in a row, and it does not matter which of its neighbours'
// strikes of this round it sees.
template <class T>
__global__ void __launch_bounds__(kThreads) nms_rounds_kernel(const __grid_constant__ Launch launch) {
    const Tiles& tiles = launch.tiles;
    const cooperative_groups::grid_group grid = cooperative_groups::this_grid();
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const unsigned warp = (blockIdx.x * kThreads + threadIdx.x) / kWarp, warps = gridDim.x * kWarps;
    const auto load_word = [&](unsigned tile) {
        return lane < tiles.rows ? __ldcg(tiles.alive + (std::int64_t{tile} << tiles.shift) + lane) : 0u;
    };
    const auto search = [&](unsigned tile, unsigned word) {
        return __any_sync(kAll, word != 0) ? search_tile<T>(launch, tile, word) : NmsKey{kNmsNone, kNmsNone};
    };
    for (unsigned now = 0;; now ^= 1) {
        // The length of this list next changes after two more barriers.
        const unsigned active = __ldcg(tiles.length + now);
        if (active == 0) return;
        if (blockIdx.x == 0 && threadIdx.x == 0) tiles.length[now ^ 1] = 0;
        for (unsigned i = warp; i < active; i += warps) {
            const unsigned tile = __ldcg(tiles.active[now] + i);
            unsigned word = load_word(tile);
            NmsKey key = load_key(tiles.best + tile);
            while (key.order != kNmsNone && is_certain(launch, tile, key)) {
                if (lane == 0) report(launch, tile, key);
                strike(launch, tile, key);
                std::int64_t y, x;
                corner_of(tiles, tile, y, x);
                word &= ~struck(launch.args.region, y + lane - nms_row(key.place), x - nms_column(key.place));
                key = search(tile, word);
            }
        }
        grid.sync();
        for (unsigned i = warp; i < active; i += warps) {
            const unsigned tile = __ldcg(tiles.active[now] + i), word = load_word(tile);
            NmsKey key = load_key(tiles.best + tile);
            const int r = static_cast<int>(nms_row(key.place)) & (tiles.rows - 1);
            if ((__shfl_sync(kAll, word, r) >> nms_column(key.place) % kWarp & 1u) == 0) {
                key = search(tile, word);
                if (lane == 0) tiles.best[tile] = key;
            }
            if (lane == 0 && key.order != kNmsNone)
                tiles.active[now ^ 1][atomicAdd(tiles.length + (now ^ 1), 1u)] = tile;
        }
        grid.sync();
    }
}

// Detections in their order to arrays of their own.
template <class T>
__global__ void __launch_bounds__(kThreads)
    nms_read_kernel(const __grid_constant__ NmsArgs args, const __grid_constant__ NmsRead read) {
    const std::int64_t entries = args.maps * read.length;
    const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < entries; i += step) {
        const std::int64_t map = i / read.length;
        const std::int64_t place = read.place[map * read.capacity + (i - map * read.length)];
        const bool there = place != kNmsNone;
        T score = {};
        if (there)
            score = *reinterpret_cast<const T*>(static_cast<const char*>(args.map) + map * args.map_stride +
                                                nms_row(place) * args.row_stride +
                                                nms_column(place) * args.column_stride);
        read.x[i] = there ? nms_column(place) : -1;
        read.y[i] = there ? nms_row(place) : -1;
        static_cast<T*>(read.score)[i] = score;
    }
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < args.maps; i += step)
        if (read.count[i] > read.length) read.count[i] = read.length;
}

// Numbers the tiles and lays them out in scratch memory; returns its size.
std::int64_t lay_out(const NmsArgs& args, char* scratch, Tiles& tiles) {
    tiles.shift = baseline::nms_tile_shift(args.region);
    tiles.rows = 1 << tiles.shift;
    const std::int64_t across = (args.width + kWarp - 1) / kWarp;
    const std::int64_t down = (args.height + tiles.rows - 1) >> tiles.shift;
    FASTWSI_CHECK(across == 0 || down == 0 || args.maps < (std::int64_t{1} << 31) / across / down,
                  "heatmap: got ", args.maps, " x ", args.height, " x ", args.width,
                  " cells, expected fewer than 2^31 tiles of 32 x ", tiles.rows);
    tiles.across = static_cast<unsigned>(across);
    tiles.down = static_cast<unsigned>(down);
    tiles.count = static_cast<unsigned>(args.maps * across * down);
    std::int64_t used = 0;
    const auto take = [&](std::int64_t bytes) {
        char* const at = scratch + used;
        used += (bytes + 15) / 16 * 16;
        return at;
    };
    const std::int64_t n = tiles.count;
    tiles.best = reinterpret_cast<NmsKey*>(take(n * std::int64_t{sizeof(NmsKey)}));
    tiles.alive = reinterpret_cast<unsigned*>(take((n << tiles.shift) * std::int64_t{sizeof(unsigned)}));
    for (unsigned** const list : {&tiles.active[0], &tiles.active[1]})
        *list = reinterpret_cast<unsigned*>(take(n * std::int64_t{sizeof(unsigned)}));
    tiles.length = reinterpret_cast<unsigned*>(take(2 * std::int64_t{sizeof(unsigned)}));
    return used;
}

unsigned blocks_for(std::int64_t threads, int processors) {
    const std::int64_t wanted = (threads + kThreads - 1) / kThreads, limit = std::int64_t{processors} * 32;
    return static_cast<unsigned>(wanted < 1 ? 1 : wanted < limit ? wanted : limit);
}

template <class T>
void run(const Launch& launch, int processors, cudaStream_t stream) {
    const std::int64_t entries = launch.args.maps * launch.out.capacity;
    nms_clear_kernel<<<blocks_for(entries, processors), kThreads, 0, stream>>>(launch);
    FASTWSI_CUDA_CHECK(cudaGetLastError());
    if (launch.tiles.count == 0) return;
    const unsigned blocks = blocks_for(std::int64_t{launch.tiles.count} * kWarp, processors);
    if (baseline::nms_alone(launch.args.region)) {
        nms_report_all_kernel<T><<<blocks, kThreads, 0, stream>>>(launch);
        FASTWSI_CUDA_CHECK(cudaGetLastError());
        return;
    }
    nms_mark_kernel<T><<<blocks, kThreads, 0, stream>>>(launch);
    FASTWSI_CUDA_CHECK(cudaGetLastError());
    // As many blocks as are sure to run at the same time, and no more than there is work for.
    int resident = 0;
    FASTWSI_CUDA_CHECK(
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, nms_rounds_kernel<T>, kThreads, 0));
    const std::int64_t together = std::int64_t{processors} * resident;
    void* arguments[] = {const_cast<Launch*>(&launch)};
    FASTWSI_CUDA_CHECK(
        cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(nms_rounds_kernel<T>),
                                    dim3(static_cast<unsigned>(blocks < together ? blocks : together)),
                                    dim3(kThreads), arguments, 0, stream));
}

}  // namespace

std::int64_t nms_scratch_bytes(const NmsArgs& args) {
    Tiles tiles;
    return lay_out(args, nullptr, tiles);
}

void nms_cuda(const NmsArgs& args, const NmsDevice& out, int device, void* stream) {
    const DeviceGuard guard(device);
    const int processors = multiprocessors(device);
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    Launch launch = {args, out, {}};
    lay_out(args, static_cast<char*>(out.scratch), launch.tiles);
    switch (args.dtype) {
        case DType::f16: return run<Half>(launch, processors, queue);
        case DType::bf16: return run<BFloat16>(launch, processors, queue);
        case DType::f64: return run<double>(launch, processors, queue);
        default: return run<float>(launch, processors, queue);
    }
}

void nms_read_cuda(const NmsArgs& args, const NmsRead& read, int device, void* stream) {
    const DeviceGuard guard(device);
    if (args.maps == 0) return;
    const unsigned blocks = blocks_for(args.maps * read.length, multiprocessors(device));
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    // Scores are moved, not computed with: by their size.
    switch (item_size(args.dtype)) {
        case 2: nms_read_kernel<std::uint16_t><<<blocks, kThreads, 0, queue>>>(args, read); break;
        case 8: nms_read_kernel<std::uint64_t><<<blocks, kThreads, 0, queue>>>(args, read); break;
        default: nms_read_kernel<std::uint32_t><<<blocks, kThreads, 0, queue>>>(args, read);
    }
    FASTWSI_CUDA_CHECK(cudaGetLastError());
}

}  // namespace fastwsi
