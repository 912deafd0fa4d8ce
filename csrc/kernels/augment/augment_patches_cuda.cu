#include "base/cuda.h"
#include "base/half.h"
#include "kernels/augment/augment_patches.h"
#include "kernels/augment/colour_device.cuh"

namespace fastwsi {
namespace {

// A block takes tiles of 32 x 32 pixels: the rows of a patch that lies on its side are columns of the source,
// and 32 of those share their cache lines.
constexpr int kSide = 32;
constexpr int kBlockRows = 8;  // threads: 32 x 8, four rows of a tile each
constexpr int kThreads = kSide * kBlockRows;
constexpr int kWarps = kThreads / 32;
constexpr std::int64_t kMostBlocks = 512;  // of one patch

// Patches travel as arguments of the launch: nothing to copy, nothing to wait for, fit for CUDA graphs.
constexpr int kBatch = 24;
struct Batch {
    PatchLayout layout;
    Patch patch[kBatch];
};
static_assert(sizeof(Batch) <= 4000, "arguments of a launch have 4 KiB");

std::int64_t tiles_of(const PatchLayout& layout) {
    return ((layout.height + kSide - 1) / kSide) * ((layout.width + kSide - 1) / kSide);
}

// By the size alone: the means must not depend on the card.
std::int64_t blocks_of(const PatchLayout& layout) {
    const std::int64_t wanted = (tiles_of(layout) + 3) / 4;
    return wanted < kMostBlocks ? wanted : kMostBlocks;
}

// Calls body(y, x) for this thread's pixels of the block's tiles.
template <class Body>
__device__ __forceinline__ void for_each_pixel(const PatchLayout& layout, const Body& body) {
    const std::int64_t across = (layout.width + kSide - 1) / kSide;
    const std::int64_t tiles = (layout.height + kSide - 1) / kSide * across;
    for (std::int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const std::int64_t x = tile % across * kSide + threadIdx.x;
        const std::int64_t top = tile / across * kSide + threadIdx.y;
#pragma unroll
        for (int step = 0; step < kSide / kBlockRows; ++step) {
            const std::int64_t y = top + step * kBlockRows;
            if (x < layout.width && y < layout.height) body(y, x);
        }
    }
}

__device__ __forceinline__ void load_pixel(const Patch& patch, std::int64_t y, std::int64_t x,
                                           float (&rgb)[3]) {
    const std::uint8_t* const p = patch.source + y * patch.row + x * patch.column;
#pragma unroll
    for (int c = 0; c < 3; ++c) rgb[c] = static_cast<float>(p[c * patch.channel]);
}

// The block's sum of each thread's three values, in a fixed order, in every thread.
__device__ __forceinline__ void block_sum(double (&values)[3], double (*shared)[kWarps]) {
    const int thread = static_cast<int>(threadIdx.y) * kSide + static_cast<int>(threadIdx.x);
#pragma unroll
    for (int c = 0; c < 3; ++c) {
#pragma unroll
        for (int distance = 16; distance > 0; distance /= 2)
            values[c] += __shfl_xor_sync(0xffffffffu, values[c], distance);
        if (thread % 32 == 0) shared[c][thread / 32] = values[c];
    }
    __syncthreads();
#pragma unroll
    for (int c = 0; c < 3; ++c) {
        values[c] = 0;
#pragma unroll
        for (int warp = 0; warp < kWarps; ++warp) values[c] += shared[c][warp];
    }
}

// sums: [patches, blocks, 3].
__global__ void __launch_bounds__(kThreads) sum_kernel(const __grid_constant__ Batch batch, double* sums) {
    __shared__ double shared[3][kWarps];
    const Patch& patch = batch.patch[blockIdx.y];
    if (!baseline::measures_mean(patch.colour)) return;
    const PixelMap map = baseline::fold_for_mean(patch.colour);
    double total[3] = {};
    for_each_pixel(batch.layout, [&](std::int64_t y, std::int64_t x) {
        float rgb[3];
        load_pixel(patch, y, x, rgb);
        colour_in_mode(map, rgb);
#pragma unroll
        for (int c = 0; c < 3; ++c) total[c] += static_cast<double>(rgb[c]);
    });
    block_sum(total, shared);
    double* const out = sums + (std::int64_t{blockIdx.y} * gridDim.x + blockIdx.x) * 3;
#pragma unroll
    for (int c = 0; c < 3; ++c)  // by number, out of registers, a thread could not look its value up
        if (threadIdx.y == 0 && static_cast<int>(threadIdx.x) == c) out[c] = total[c];
}

__device__ __forceinline__ void store_value(float x, std::uint8_t* out) {
    *out = static_cast<std::uint8_t>(__float2int_rn(x * 255.f));
}
template <class T>
__device__ __forceinline__ void store_value(float x, T* out) {
    baseline::from_float(x, out);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    store_kernel(const __grid_constant__ Batch batch, const double* sums, int blocks) {
    __shared__ double shared[3][kWarps];
    __shared__ PixelMap folded;
    const PatchLayout& layout = batch.layout;
    const Patch& patch = batch.patch[blockIdx.y];
    const int thread = static_cast<int>(threadIdx.y) * kSide + static_cast<int>(threadIdx.x);
    double mean[3];
    for (int c = 0; c < 3; ++c) mean[c] = static_cast<double>(patch.colour.contrast_mean[c]);
    if (baseline::measures_mean(patch.colour)) {  // the same for the whole block
        double total[3] = {};
        for (int block = thread; block < blocks; block += kThreads)
            for (int c = 0; c < 3; ++c) total[c] += sums[(std::int64_t{blockIdx.y} * blocks + block) * 3 + c];
        block_sum(total, shared);
        for (int c = 0; c < 3; ++c) mean[c] = total[c] / static_cast<double>(layout.height * layout.width);
    }
    if (thread == 0) folded = baseline::fold(patch.colour, mean);
    __syncthreads();
    const PixelMap& map = folded;
    for_each_pixel(layout, [&](std::int64_t y, std::int64_t x) {
        float rgb[3];
        load_pixel(patch, y, x, rgb);
        colour_in_mode(map, rgb);
        baseline::finish_pixel(map, static_cast<std::uint32_t>(y * layout.width + x), rgb);
        char* const out = static_cast<char*>(patch.output) + y * layout.row + x * layout.column;
        constexpr bool kBytes = sizeof(T) == 1;
#pragma unroll
        for (int c = 0; c < 3; ++c)
            store_value(kBytes ? rgb[c] : rgb[c] * map.scale[c] + map.shift[c],
                        reinterpret_cast<T*>(out + c * layout.channel));
    });
}

template <class T>
void launch(const Batch& batch, unsigned patches, double* sums, cudaStream_t stream) {
    const unsigned blocks = static_cast<unsigned>(blocks_of(batch.layout));
    const dim3 threads(kSide, kBlockRows), grid(blocks, patches);
    bool measured = false;
    for (unsigned i = 0; i < patches; ++i) measured |= baseline::measures_mean(batch.patch[i].colour);
    if (measured) {
        sum_kernel<<<grid, threads, 0, stream>>>(batch, sums);
        FASTWSI_CUDA_CHECK(cudaGetLastError());
    }
    store_kernel<T><<<grid, threads, 0, stream>>>(batch, sums, static_cast<int>(blocks));
    FASTWSI_CUDA_CHECK(cudaGetLastError());
}

}  // namespace

std::int64_t augment_patches_workspace(const PatchLayout& layout, std::int64_t count) {
    return 3 * blocks_of(layout) * count;
}

void augment_patches_cuda(const PatchLayout& layout, const Patch* patches, std::int64_t count,
                          double* workspace, int device, void* stream) {
    const DeviceGuard guard(device);
    if (layout.height == 0 || layout.width == 0) return;
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    Batch batch = {};
    batch.layout = layout;
    for (std::int64_t first = 0; first < count; first += kBatch) {
        const std::int64_t n = count - first < kBatch ? count - first : kBatch;
        for (std::int64_t i = 0; i < n; ++i) batch.patch[i] = patches[first + i];
        double* const sums =
            workspace == nullptr ? nullptr : workspace + augment_patches_workspace(layout, first);
        const unsigned here = static_cast<unsigned>(n);
        switch (layout.dtype) {
            case DType::u8: launch<std::uint8_t>(batch, here, sums, queue); break;
            case DType::f16: launch<Half>(batch, here, sums, queue); break;
            case DType::bf16: launch<BFloat16>(batch, here, sums, queue); break;
            default: launch<float>(batch, here, sums, queue); break;
        }
    }
}

}  // namespace fastwsi
