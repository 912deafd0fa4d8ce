#include <algorithm>
#include <cstdint>

#include "base/cuda.h"
#include "base/orientation.h"
#include "kernels/augment/orient.h"

namespace fastwsi {
namespace {

constexpr int kSide = 32;  // positions of a tile, in both directions
constexpr int kLanes = 8;  // rows of a tile that a block moves at a time
constexpr int kThreads = kSide * kLanes;
constexpr int kChunk = 1024;  // images per launch: their orientations travel with the arguments

struct Chunk {
    OrientArgs args;             // `orientations` points into host memory here: unused
    std::int64_t height, width;  // of the output's plane
    std::uint8_t orientations[kChunk];
};

// The input of one image's plane, in the order of the output, and the output.
struct Planes {
    const char* input;
    char* output;
    std::int64_t input_y, input_x;
};

__device__ __forceinline__ Planes planes_of(const Chunk& chunk, std::int64_t index) {
    const OrientArgs& args = chunk.args;
    const std::int64_t outer = args.outer.positions(), inner = args.outer.columns();
    const std::int64_t image = index / outer, position = index - image * outer;
    std::int64_t offset[2];
    args.outer.row_offsets(position / inner, offset);
    for (int a = 0; a < 2; ++a) offset[a] += position % inner * args.outer.column_stride(a);
    const Plane seen =
        oriented(args.height, args.width, args.input_y, args.input_x, chunk.orientations[image]);
    return {args.input + image * args.input_image + offset[0] + seen.offset,
            args.output + image * args.output_image + offset[1], seen.stride_y, seen.stride_x};
}

template <class Word, int Words>
__device__ __forceinline__ void copy_words(const char* from, char* to) {
#pragma unroll
    for (int w = 0; w < Words; ++w) reinterpret_cast<Word*>(to)[w] = reinterpret_cast<const Word*>(from)[w];
}

__device__ __forceinline__ std::int64_t magnitude(std::int64_t x) { return x < 0 ? -x : x; }

// A tile per block and step. Where neighbours in the input are neighbours down the output, the tile goes
// through shared memory: threads side by side then read, and write, memory that lies side by side.
template <class Word, int Words>
__global__ void __launch_bounds__(kThreads) orient_tiles(const __grid_constant__ Chunk chunk) {
    __shared__ Word tile[kSide][kSide * Words + 1];  // the odd pitch spreads a column over the banks
    const OrientArgs& args = chunk.args;
    const int tx = threadIdx.x % kSide, ty = threadIdx.x / kSide;
    const std::int64_t down = (chunk.height + kSide - 1) / kSide, across = (chunk.width + kSide - 1) / kSide;
    const std::int64_t tiles = args.images * args.outer.positions() * down * across;
    for (std::int64_t i = blockIdx.x; i < tiles; i += gridDim.x) {
        const std::int64_t x0 = i % across * kSide, y0 = i / across % down * kSide;
        const Planes planes = planes_of(chunk, i / across / down);
        const char* const in = planes.input + y0 * planes.input_y + x0 * planes.input_x;
        char* const out = planes.output + y0 * args.output_y + x0 * args.output_x;
        const std::int64_t height = chunk.height - y0, width = chunk.width - x0;
        const bool through = magnitude(planes.input_y) < magnitude(planes.input_x);  // same for the block
        if (through) {
            for (int r = ty; r < kSide; r += kLanes)
                if (tx < height && r < width)
                    copy_words<Word, Words>(in + tx * planes.input_y + r * planes.input_x,
                                            reinterpret_cast<char*>(&tile[r][tx * Words]));
            __syncthreads();
        }
        for (int r = ty; r < kSide; r += kLanes)
            if (r < height && tx < width)
                copy_words<Word, Words>(through ? reinterpret_cast<const char*>(&tile[tx][r * Words])
                                                : in + r * planes.input_y + tx * planes.input_x,
                                        out + r * args.output_y + tx * args.output_x);
        if (through) __syncthreads();
    }
}

// Long units: a thread per word, neighbours inside the unit.
template <class Word>
__global__ void __launch_bounds__(kThreads) orient_words(const __grid_constant__ Chunk chunk) {
    const OrientArgs& args = chunk.args;
    const std::int64_t words = args.unit / static_cast<std::int64_t>(sizeof(Word));
    const std::int64_t total = args.images * args.outer.positions() * chunk.height * chunk.width * words;
    const std::int64_t stride = std::int64_t{gridDim.x} * kThreads;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < total; i += stride) {
        const std::int64_t position = i / words, word = i - position * words;
        const std::int64_t x = position % chunk.width, y = position / chunk.width % chunk.height;
        const Planes planes = planes_of(chunk, position / chunk.width / chunk.height);
        const std::int64_t byte = word * static_cast<std::int64_t>(sizeof(Word));
        copy_words<Word, 1>(planes.input + y * planes.input_y + x * planes.input_x + byte,
                            planes.output + y * args.output_y + x * args.output_x + byte);
    }
}

template <class Word>
void launch(const Chunk& chunk, int processors, cudaStream_t stream) {
    const OrientArgs& args = chunk.args;
    const std::int64_t planes = args.images * args.outer.positions();
    const std::int64_t words = args.unit / static_cast<std::int64_t>(sizeof(Word));
    const std::int64_t tiles =
        planes * ((chunk.height + kSide - 1) / kSide) * ((chunk.width + kSide - 1) / kSide);
    const std::int64_t wanted =
        words <= 3 ? tiles : (planes * chunk.height * chunk.width * words + kThreads - 1) / kThreads;
    const unsigned blocks = static_cast<unsigned>(std::min(wanted, std::int64_t{processors} * 32));
    switch (words) {
        case 1: orient_tiles<Word, 1><<<blocks, kThreads, 0, stream>>>(chunk); break;
        case 2: orient_tiles<Word, 2><<<blocks, kThreads, 0, stream>>>(chunk); break;
        case 3: orient_tiles<Word, 3><<<blocks, kThreads, 0, stream>>>(chunk); break;
        default: orient_words<Word><<<blocks, kThreads, 0, stream>>>(chunk); break;
    }
    FASTWSI_CUDA_CHECK(cudaGetLastError());
}

// The lowest set bit of everything that must be a multiple of the word: the widest word that fits.
std::int64_t word_of(const OrientArgs& args) {
    std::uint64_t bits = reinterpret_cast<std::uintptr_t>(args.input) |
                         reinterpret_cast<std::uintptr_t>(args.output) |
                         static_cast<std::uint64_t>(args.unit | args.input_y | args.input_x | args.output_y |
                                                    args.output_x | args.input_image | args.output_image) |
                         sizeof(std::uint64_t);
    for (int d = 0; d < args.outer.ndim; ++d)
        bits |= static_cast<std::uint64_t>(args.outer.stride[0][d] | args.outer.stride[1][d]);
    return static_cast<std::int64_t>(bits & (~bits + 1));
}

}  // namespace

void orient_cuda(const OrientArgs& args, int device, void* stream) {
    const DeviceGuard guard(device);
    if (args.images == 0 || args.outer.positions() == 0 || args.height == 0 || args.width == 0) return;
    const int processors = multiprocessors(device);
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    const std::int64_t word = word_of(args);
    // Images of odd and even orientation stand side by side only where height and width are equal.
    const bool turned = transposes(args.orientations[0]);
    for (std::int64_t begin = 0; begin < args.images; begin += kChunk) {
        Chunk chunk{args, turned ? args.width : args.height, turned ? args.height : args.width, {}};
        chunk.args.images = std::min<std::int64_t>(kChunk, args.images - begin);
        chunk.args.input += begin * args.input_image;
        chunk.args.output += begin * args.output_image;
        std::copy_n(args.orientations + begin, chunk.args.images, chunk.orientations);
        switch (word) {
            case 1: launch<std::uint8_t>(chunk, processors, queue); break;
            case 2: launch<std::uint16_t>(chunk, processors, queue); break;
            case 4: launch<std::uint32_t>(chunk, processors, queue); break;
            default: launch<std::uint64_t>(chunk, processors, queue); break;
        }
    }
}

}  // namespace fastwsi
