#include "base/cuda.h"
#include "base/half.h"
#include "kernels/hsd/hsd_device.cuh"
#include "kernels/hsd/hsd_normalize.h"
#include "kernels/hsd/hsd_normalize_math.h"

namespace fastwsi {
namespace {

// 2^t - 1 for t clamped to [0, 8]: an intensity clipped to [0, 255]. The clamp sends NaN to 0.
__device__ __forceinline__ float intensity_of(float log_intensity) {
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(fminf(fmaxf(log_intensity, 0.f), 8.f)));
    return power - 1.f;
}

__device__ __forceinline__ void normalize(const std::uint8_t* rgb, const float* table,
                                          const HsdTransform& transform, float (&intensity)[3]) {
    const float d[3] = {table[rgb[0]], table[rgb[1]], table[rgb[2]]};
    float log_intensity[3];
    baseline::hsd_log_intensity(d, transform, log_intensity);
#pragma unroll
    for (int c = 0; c < 3; ++c) intensity[c] = intensity_of(log_intensity[c]);
}

// Adding 2^23 leaves the value, rounded to even, in the lowest byte; cheaper than a conversion.
__device__ __forceinline__ std::uint32_t rounded_byte(float intensity) {
    return __float_as_uint(intensity + 8388608.f) & 0xffu;
}

// Where the pixels of one step go. T = uint8_t: interleaved; else planes of T.
template <class T>
struct Store {
    static __device__ __forceinline__ void one(const HsdNormalizeArgs& args, char* out,
                                               const float (&intensity)[3]) {
#pragma unroll
        for (int c = 0; c < 3; ++c)
            baseline::from_float(intensity[c] * args.planes.scale[c] + args.planes.shift[c],
                                 reinterpret_cast<T*>(out + c * args.output_channel));
    }
    static __device__ __forceinline__ void quad(const HsdNormalizeArgs& args, char* out,
                                                const float (&intensity)[kQuad][3]) {
        struct alignas(kQuad * sizeof(T)) Packed {
            T values[kQuad];
        };
#pragma unroll
        for (int c = 0; c < 3; ++c) {
            Packed packed;
#pragma unroll
            for (int i = 0; i < kQuad; ++i)
                baseline::from_float(intensity[i][c] * args.planes.scale[c] + args.planes.shift[c],
                                     &packed.values[i]);
            *reinterpret_cast<Packed*>(out + c * args.output_channel) = packed;
        }
    }
};

template <>
struct Store<std::uint8_t> {
    static __device__ __forceinline__ void one(const HsdNormalizeArgs& args, char* out,
                                               const float (&intensity)[3]) {
#pragma unroll
        for (int c = 0; c < 3; ++c)
            out[c * args.output_channel] = static_cast<char>(rounded_byte(intensity[c]));
    }
    static __device__ __forceinline__ void quad(const HsdNormalizeArgs&, char* out,
                                                const float (&intensity)[kQuad][3]) {
        std::uint32_t* words = reinterpret_cast<std::uint32_t*>(out);
#pragma unroll
        for (int w = 0; w < 3; ++w) {
            std::uint32_t word = 0;
#pragma unroll
            for (int b = 0; b < 4; ++b)
                word |= rounded_byte(intensity[(4 * w + b) / 3][(4 * w + b) % 3]) << (8 * b);
            words[w] = word;
        }
    }
};

// Packed: rows of 4-pixel steps through aligned words, the last 0 to 3 pixels one by one.
// Otherwise: any strides, one pixel per thread and step.
template <class T, bool Packed>
__global__ void __launch_bounds__(kThreads)
    hsd_normalize_kernel(const __grid_constant__ HsdNormalizeArgs args) {
    __shared__ float table[256];
    fill_density_table(table);
    const std::int64_t columns = args.grid.columns();
    const std::int64_t in_step = args.grid.column_stride(0), out_step = args.grid.column_stride(1);
    const std::int64_t rows = args.grid.rows();
    const std::int64_t first = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    const std::int64_t stride = std::int64_t{gridDim.x} * kThreads;
    for (std::int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
        std::int64_t offset[2];
        args.grid.row_offsets(row, offset);
        const std::uint8_t* const in = args.input + offset[0];
        char* const out = static_cast<char*>(args.output) + offset[1];
        const std::int64_t quads = Packed ? columns / kQuad : 0;
        for (std::int64_t q = first; q < quads; q += stride) {
            std::uint8_t pixels[3 * kQuad];
            load_quad(in + q * (3 * kQuad), pixels);
            float intensity[kQuad][3];
#pragma unroll
            for (int i = 0; i < kQuad; ++i) normalize(pixels + 3 * i, table, args.transform, intensity[i]);
            Store<T>::quad(args, out + q * kQuad * out_step, intensity);
        }
        for (std::int64_t x = quads * kQuad + first; x < columns; x += stride) {
            const std::uint8_t* const p = in + x * in_step;
            const std::uint8_t rgb[3] = {p[0], p[args.input_channel], p[2 * args.input_channel]};
            float intensity[3];
            normalize(rgb, table, args.transform, intensity);
            Store<T>::one(args, out + x * out_step, intensity);
        }
    }
}

template <class T>
bool packed(const HsdNormalizeArgs& args) {
    constexpr bool kBytes = sizeof(T) == 1;
    const Grid<2>& grid = args.grid;
    const std::int64_t alignment = kBytes ? 4 : kQuad * static_cast<std::int64_t>(sizeof(T));
    const bool in =
        grid.column_stride(0) == 3 && args.input_channel == 1 && rows_aligned(grid, 0, args.input, 4);
    const bool out = rows_aligned(grid, 1, args.output, alignment) &&
                     (kBytes ? grid.column_stride(1) == 3 && args.output_channel == 1
                             : grid.column_stride(1) == static_cast<std::int64_t>(sizeof(T)) &&
                                   args.output_channel % alignment == 0);
    return in && out;
}

template <class T>
void launch(const HsdNormalizeArgs& args, int processors, cudaStream_t stream) {
    const bool fast = packed<T>(args);
    const std::int64_t columns = args.grid.columns();
    const std::int64_t steps = fast ? (columns + kQuad - 1) / kQuad : columns;
    const dim3 blocks = launch_shape(args.grid.rows(), steps, processors);
    if (fast) {
        hsd_normalize_kernel<T, true><<<blocks, kThreads, 0, stream>>>(args);
    } else {
        hsd_normalize_kernel<T, false><<<blocks, kThreads, 0, stream>>>(args);
    }
    FASTWSI_CUDA_CHECK(cudaGetLastError());
}

}  // namespace

void hsd_normalize_cuda(const HsdNormalizeArgs* images, std::int64_t count, int device, void* stream) {
    const DeviceGuard guard(device);
    const int processors = multiprocessors(device);
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    for (const HsdNormalizeArgs* image = images; image != images + count; ++image) {
        if (image->grid.positions() == 0) continue;
        switch (image->output_dtype) {
            case DType::u8: launch<std::uint8_t>(*image, processors, queue); break;
            case DType::f16: launch<Half>(*image, processors, queue); break;
            case DType::bf16: launch<BFloat16>(*image, processors, queue); break;
            default: launch<float>(*image, processors, queue); break;
        }
    }
}

}  // namespace fastwsi
