// The kernels of pbe-gpu: every operator of Sources/Kernels/Operation.swift in OpenCL C 1.2.
//
// Images lie channels-last (NHWC), filters as RSCK (row, column, input channel, output channel), so that neighbouring
// work-items, and the lanes of a vector, are neighbouring channels. There are no atomics: a gradient gathers what its
// element receives, and a sum over many elements goes through partial sums in a fixed order, so that two runs on one
// device give the same bits.
//
// The text is compiled several times: once for everything but the fast convolutions, and once per variant of those:
//   (neither)           all operators in general form
//   CONVOLUTION         the kernel `convolution`
//   FILTER_GRADIENT     the kernel `filter_gradient`
//   PER_CHANNEL         affine maps, activations and batch norm's gradients, for one activation
//   COMMON              none of them: vectors and activations only, for the files in Sources/CKernels/opencl

// MARK: - Tunables

#ifndef VW
#define VW 1  // channels per work-item: the lanes of a vector (1, 2, 4, 8, 16)
#endif
#ifndef PIXELS
#define PIXELS 8  // `convolution`: output pixels per work-item
#endif
#ifndef UNROLL
#define UNROLL 1  // `convolution`: input channels per load of the input (1 or 4, a divisor of the channels)
#endif
#ifndef CHANNELS
#define CHANNELS 8  // `filter_gradient`: input channels per work-item (a divisor of the channels)
#endif
#ifndef DIVISOR
#define DIVISOR 1  // `convolution`: the stride of the forward pass, when this is an input gradient
#endif
#ifndef PROLOGUE
#define PROLOGUE 0  // 1: applies ACTIVATION to the input on load; 2: the affine map before it, too
#endif
#ifndef MERGE_LANES
#define MERGE_LANES 1  // work-items that merge the parts of a channel's sum (a power of two)
#endif
#define MERGE_CHANNELS 4  // channels per work-group of those kernels, at most
#ifndef ACTIVATION
#define ACTIVATION 0  // the function of the prologue or of PER_CHANNEL, as ACT_...
#endif

// MARK: - Vectors

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#if VW == 1
typedef float vector;
#define STORE_LANES(v, p) (*(p) = (v))
#else
typedef PASTE(float, VW) vector;
#define STORE_LANES(v, p) PASTE(vstore, VW)(v, 0, p)
#endif
#define LOAD(p) (*(global const vector *)(p))         // from an aligned place
#define STORE(v, p) (*(global vector *)(p) = (v))     // to an aligned place

// n / d for n < 2^31 by a multiplication (Granlund and Montgomery, PLDI 1994): `by` is (ceil(2^(31 + l) / d), l - 1) with
// l = ceil(log2 d), and (0, 0) for 1, which the host makes of d (OpenCLLaunch.reciprocal).
static inline int quotient(int n, uint2 by) { return by.x ? (int)(mul_hi((uint)n, by.x) >> by.y) : n; }

// MARK: - Activations

#define ACT_IDENTITY 0
#define ACT_RELU 1
#define ACT_LEAKY_RELU 2
#define ACT_ELU 3
#define ACT_TANH 4
#define ACT_SIGMOID 5
#define ACT_SILU 6
#define ACT_HARD_SWISH 7

// `parameter` is the slope of leaky ReLU and the alpha of ELU.
float activate(float x, int activation, float parameter) {
  switch (activation) {
    case ACT_RELU: return x < 0 ? 0 : x;
    case ACT_LEAKY_RELU: return x > 0 ? x : parameter * x;
    case ACT_ELU: return x > 0 ? x : parameter * expm1(x);
    case ACT_TANH: {
      // Drivers' own are less exact near zero.
      const float e = expm1(-2 * fabs(x));
      return copysign(e / (2 + e), x);
    }
    case ACT_SIGMOID: return 1 / (1 + exp(-x));
    case ACT_SILU: return x / (1 + exp(-x));
    case ACT_HARD_SWISH: return x * clamp(x + 3, 0.0f, 6.0f) / 6;
    default: return x;
  }
}

// The derivative of `activate` at x.
float activation_slope(float x, int activation, float parameter) {
  switch (activation) {
    case ACT_RELU: return x > 0 ? 1 : 0;
    case ACT_LEAKY_RELU: return x > 0 ? 1 : parameter;
    case ACT_ELU: return x > 0 ? 1 : parameter * exp(x);
    // Written without the difference from 1, which vanishes for large x.
    case ACT_TANH: {
      const float e = exp(-2 * fabs(x));
      return 4 * e / ((1 + e) * (1 + e));
    }
    case ACT_SIGMOID: {
      const float e = exp(-fabs(x));
      return e / ((1 + e) * (1 + e));
    }
    case ACT_SILU: {
      const float s = 1 / (1 + exp(-x));
      return s * (1 + x * (1 - s));
    }
    case ACT_HARD_SWISH: return x <= -3 ? 0 : x < 3 ? x / 3 + 0.5f : 1;
    default: return 1;
  }
}

#if defined(CONVOLUTION) || defined(FILTER_GRADIENT)
// What the prologue makes of a convolution's input x in channel c.
#if PROLOGUE == 2
#define ON_LOAD(x, c) activate(scale[c] * (x) + shift[c], ACTIVATION, parameter)
#elif PROLOGUE == 1
#define ON_LOAD(x, c) activate(x, ACTIVATION, parameter)
#else
#define ON_LOAD(x, c) (x)
#endif
#endif

#if defined(COMMON)
#elif defined(CONVOLUTION)

// MARK: - Convolution

// An implicit matrix product: PIXELS output pixels x VW output channels per work-item, all in registers.
//
// Also the input gradient, as the convolution of the output gradient with the transposed and flipped filter: there a
// tap meets an input pixel only where the position is divisible by the forward stride (DIVISOR). Pixels are numbered
// so that those of a work-item mostly have the same remainder, and a tap that meets none of them is skipped.
//
// Tap t, input channel c, output channel k of the filter is at k / VW * blockStride + (t * C + c) * rowStride + k % VW.
// A pixel outside the image is read from `zeros`, C of them.
kernel void convolution(
    global const float *input, global const float *filter, global const float *zeros, global const float *scale,
    global const float *shift, float parameter, global const float *bias, global const float *residual,
    global float *output, int pixels, int C, int K, int H, int W, int outputHeight, int outputWidth,
    int kernelHeight, int kernelWidth, int padY, int padX, int stride, int dilation, int rowStride, int blockStride) {
  const int block = get_global_id(0), k0 = block * VW;
  const int first = get_global_id(1) * PIXELS;
  if (k0 >= K || first >= pixels) return;

  int image[PIXELS], y0[PIXELS], x0[PIXELS], place[PIXELS];
  vector sum[PIXELS];
#pragma unroll
  for (int p = 0; p < PIXELS; p++) {
    int rest = first + p;
    int inside = rest < pixels;
#if DIVISOR == 1
    const int x = rest % outputWidth;
    rest /= outputWidth;
#else
    const int columns = (outputWidth + DIVISOR - 1) / DIVISOR;
    int x = rest % columns * DIVISOR;
    rest /= columns;
    x += rest % DIVISOR;
    rest /= DIVISOR;
    inside &= x < outputWidth;
#endif
    const int y = rest % outputHeight, n = rest / outputHeight;
    image[p] = n * H * W;
    y0[p] = inside ? y * stride - padY : -(1 << 29);
    x0[p] = x * stride - padX;
    place[p] = inside ? (n * outputHeight + y) * outputWidth + x : -1;
    sum[p] = 0;
  }

  for (int r = 0; r < kernelHeight; r++) {
    for (int s = 0; s < kernelWidth; s++) {
      global const float *source[PIXELS];
      int any = 0;
#if PROLOGUE
      int inside[PIXELS];
#endif
#pragma unroll
      for (int p = 0; p < PIXELS; p++) {
        int y = y0[p] + r * dilation, x = x0[p] + s * dilation;
#if DIVISOR == 1
        const int met = y >= 0 && x >= 0 && y < H && x < W;
#else
        int met = y >= 0 && x >= 0 && y % DIVISOR == 0 && x % DIVISOR == 0;
        y /= DIVISOR;
        x /= DIVISOR;
        met = met && y < H && x < W;
#endif
        source[p] = met ? input + (size_t)(image[p] + y * W + x) * C : zeros;
        any |= met;
#if PROLOGUE
        inside[p] = met;
#endif
      }
      if (!any) continue;
      global const float *weights =
          filter + (size_t)block * blockStride + (size_t)((r * kernelWidth + s) * C) * rowStride;
      for (int c = 0; c < C; c += UNROLL) {
#if UNROLL == 4
        const vector w0 = LOAD(weights), w1 = LOAD(weights + rowStride), w2 = LOAD(weights + 2 * rowStride),
                     w3 = LOAD(weights + 3 * rowStride);
        weights += 4 * rowStride;
#pragma unroll
        for (int p = 0; p < PIXELS; p++) {
          float4 x = *(global const float4 *)(source[p] + c);
#if PROLOGUE
          x = inside[p] ? (float4)(ON_LOAD(x.s0, c), ON_LOAD(x.s1, c + 1), ON_LOAD(x.s2, c + 2),
                                   ON_LOAD(x.s3, c + 3))
                        : (float4)0;
#endif
          sum[p] += x.s0 * w0;
          sum[p] += x.s1 * w1;
          sum[p] += x.s2 * w2;
          sum[p] += x.s3 * w3;
        }
#else
        const vector w = LOAD(weights);
        weights += rowStride;
#pragma unroll
        for (int p = 0; p < PIXELS; p++) {
          float x = source[p][c];
#if PROLOGUE
          x = inside[p] ? ON_LOAD(x, c) : 0;
#endif
          sum[p] += x * w;
        }
#endif
      }
    }
  }

  if (K % VW == 0) {
    const vector addend = bias ? LOAD(bias + k0) : (vector)0;
#pragma unroll
    for (int p = 0; p < PIXELS; p++) {
      if (place[p] < 0) continue;
      const size_t at = (size_t)place[p] * K + k0;
      vector result = sum[p] + addend;
      if (residual) result += LOAD(residual + at);
      STORE(result, output + at);
    }
  } else {
#pragma unroll
    for (int p = 0; p < PIXELS; p++) {
      if (place[p] < 0) continue;
      float lanes[VW];
      STORE_LANES(sum[p], lanes);
      const size_t at = (size_t)place[p] * K + k0;
      for (int lane = 0; lane < VW && k0 + lane < K; lane++) {
        float result = lanes[lane];
        if (bias) result += bias[k0 + lane];
        if (residual) result += residual[at + lane];
        output[at + lane] = result;
      }
    }
  }
}

#elif defined(FILTER_GRADIENT)

// MARK: - Filter gradient

// CHANNELS input channels x VW output channels (a divisor of K) of one tap per work-item, summed over the image rows
// of one part: `output` is (part, tap, c, k).
kernel void filter_gradient(
    global const float *input, global const float *outputGradient, global const float *scale,
    global const float *shift, float parameter, global float *output, int C, int K, int H, int W, int outputHeight,
    int outputWidth, int rows, int rowsPerPart, int taps, int kernelWidth, int stride, int padding, int dilation) {
  const int k0 = get_global_id(0) * VW, c0 = get_global_id(1) * CHANNELS;
  const int part = get_global_id(2) / taps, tap = get_global_id(2) % taps;
  if (k0 >= K || c0 >= C) return;

  const int dy = tap / kernelWidth * dilation - padding, dx = tap % kernelWidth * dilation - padding;
  const int low = dx >= 0 ? 0 : (stride - 1 - dx) / stride;
  const int high = W > dx ? min(outputWidth, (W - 1 - dx) / stride + 1) : 0;
  const int end = min(rows, (part + 1) * rowsPerPart);
  vector sum[CHANNELS];
#pragma unroll
  for (int j = 0; j < CHANNELS; j++) sum[j] = 0;

  for (int row = part * rowsPerPart; row < end; row++) {
    const int y = row % outputHeight * stride + dy;
    if (y < 0 || y >= H || low >= high) continue;
    global const float *source =
        input + (size_t)((row / outputHeight * H + y) * W + low * stride + dx) * C + c0;
    global const float *gradient = outputGradient + (size_t)(row * outputWidth + low) * K + k0;
    for (int x = low; x < high; x++) {
      const vector g = LOAD(gradient);
#if CHANNELS % 4 == 0
#pragma unroll
      for (int j = 0; j < CHANNELS; j += 4) {
        const float4 v = *(global const float4 *)(source + j);
        sum[j] += ON_LOAD(v.s0, c0 + j) * g;
        sum[j + 1] += ON_LOAD(v.s1, c0 + j + 1) * g;
        sum[j + 2] += ON_LOAD(v.s2, c0 + j + 2) * g;
        sum[j + 3] += ON_LOAD(v.s3, c0 + j + 3) * g;
      }
#else
#pragma unroll
      for (int j = 0; j < CHANNELS; j++) sum[j] += ON_LOAD(source[j], c0 + j) * g;
#endif
      source += stride * C;
      gradient += K;
    }
  }

  global float *result = output + (size_t)((part * taps + tap) * C + c0) * K + k0;
#pragma unroll
  for (int j = 0; j < CHANNELS; j++) STORE(sum[j], result + (size_t)j * K);
}

#elif defined(PER_CHANNEL)

// MARK: - Affine maps, activations and their gradients

// ACTIVATION is the function; PROLOGUE is 2 where there is an affine map, else 1.
#if PROLOGUE == 2
#define AFFINE(x, c) (scale[c] * (x) + shift[c])
#define SCALE(c) scale[c]
#else
#define AFFINE(x, c) (x)
#define SCALE(c) 1
#endif

kernel void affine_activation(
    global const float *input, global const float *scale, global const float *shift, float parameter,
    global float *output, int C, int pixels) {
  const int c = get_global_id(0), p = get_global_id(1);
  if (c >= C || p >= pixels) return;
  const size_t at = (size_t)p * C + c;
  output[at] = activate(AFFINE(input[at], c), ACTIVATION, parameter);
}

kernel void affine_activation_gradient(
    global const float *outputGradient, global const float *input, global const float *scale,
    global const float *shift, float parameter, global float *inputGradient, int C, int pixels, int accumulate) {
  const int c = get_global_id(0), p = get_global_id(1);
  if (c >= C || p >= pixels) return;
  const size_t at = (size_t)p * C + c;
  const float result = outputGradient[at] * activation_slope(AFFINE(input[at], c), ACTIVATION, parameter) * SCALE(c);
  inputGradient[at] = accumulate ? inputGradient[at] + result : result;
}

// partial is (part, 2, C): the sums of dz * xhat and of dz over `chunk` pixels. A work-item takes VW channels.
kernel void batch_norm_parameter_parts(
    global const float *outputGradient, global const float *input, global const float *scale,
    global const float *shift, float parameter, global const float *mean, global const float *inverse,
    global float *partial, int C, int pixels, int chunk) {
  const int c0 = get_global_id(0) * VW, part = get_global_id(1);
  if (c0 >= C || part * chunk >= pixels) return;
  const int begin = part * chunk, end = min(pixels, begin + chunk);
  float gamma[VW], beta[VW];
  for (int lane = 0; lane < VW; lane++) gamma[lane] = beta[lane] = 0;

#define ADD_LANE                                                                                  \
  const int c = c0 + lane;                                                                        \
  const float x = input[at + lane];                                                               \
  const float dz = outputGradient[at + lane] * activation_slope(AFFINE(x, c), ACTIVATION, parameter); \
  gamma[lane] += dz * ((x - mean[c]) * inverse[c]);                                               \
  beta[lane] += dz;

  for (int p = begin; p < end; p++) {
    const size_t at = (size_t)p * C + c0;
    if (c0 + VW <= C) {
#pragma unroll
      for (int lane = 0; lane < VW; lane++) { ADD_LANE }
    } else {
      for (int lane = 0; lane < C - c0; lane++) { ADD_LANE }
    }
  }
  for (int lane = 0; lane < min(VW, C - c0); lane++) {
    partial[(size_t)part * 2 * C + c0 + lane] = gamma[lane];
    partial[(size_t)(part * 2 + 1) * C + c0 + lane] = beta[lane];
  }
}

kernel void batch_norm_input_gradient(
    global const float *outputGradient, global const float *input, global const float *scale,
    global const float *shift, float parameter, global const float *mean, global const float *inverse,
    global const float *gammaGradient, global const float *betaGradient, global float *inputGradient, int C,
    int pixels, int accumulate) {
  const int c = get_global_id(0), p = get_global_id(1);
  if (c >= C || p >= pixels) return;
  const size_t at = (size_t)p * C + c;
  const float x = input[at];
  const float dz = outputGradient[at] * activation_slope(AFFINE(x, c), ACTIVATION, parameter);
  const float normalised = (x - mean[c]) * inverse[c];
  const float result = SCALE(c) * (dz - (betaGradient[c] + normalised * gammaGradient[c]) / pixels);
  inputGradient[at] = accumulate ? inputGradient[at] + result : result;
}

#else

// MARK: - Random numbers

// Philox4x32-10 (Salmon et al., SC 2011), as in Philox.swift: random numbers are a function of their place.
uint4 philox(uint4 c, uint2 key) {
  for (int round = 0; round < 10; round++) {
    const uint a = mul_hi(c.x, 0xD2511F53u), b = mul_hi(c.z, 0xCD9E8D57u);
    c = (uint4)(b ^ c.y ^ key.x, c.z * 0xCD9E8D57u, a ^ c.w ^ key.y, c.x * 0xD2511F53u);
    key += (uint2)(0x9E3779B9u, 0xBB67AE85u);
  }
  return c;
}

// Words as numbers in [0, 1): their upper 24 bits, which a float holds exactly.
float4 uniform4(uint4 words) { return convert_float4(words >> 8) * 0x1p-24f; }

// MARK: - Filters in other orders

// The order that `convolution` reads: out(t, row, column) = in(t, row, column), with the columns filled up by zeros
// to full vectors; transposed: in(taps - 1 - t, column, row).
kernel void pack_filter(
    global const float *input, global float *output, int taps, int rows, int columns, int paddedColumns,
    int rowStride, int blockStride, int width, int transpose) {
  const int column = get_global_id(0), row = get_global_id(1);
  if (column >= paddedColumns || row >= taps * rows) return;
  const int tap = row / rows, inner = row % rows;
  float value = 0;
  if (column < columns) {
    value = transpose ? input[((size_t)(taps - 1 - tap) * columns + column) * rows + inner]
                      : input[(size_t)row * columns + column];
  }
  output[(size_t)(column / width) * blockStride + (size_t)row * rowStride + column % width] = value;
}

// MARK: - Grouped convolution

// One output element per work-item; C and K are those of all groups.
kernel void grouped_convolution(
    global const float *input, global const float *filter, global const float *scale, global const float *shift,
    int activation, float parameter, global const float *bias, global const float *residual, global float *output,
    int pixels, int C, int K, int H, int W, int outputHeight, int outputWidth, int kernelHeight, int kernelWidth,
    int stride, int padding, int dilation, int groups) {
  const int k = get_global_id(0), pixel = get_global_id(1);
  if (k >= K || pixel >= pixels) return;
  const int x0 = pixel % outputWidth * stride - padding;
  const int y0 = pixel / outputWidth % outputHeight * stride - padding;
  const int n = pixel / outputWidth / outputHeight;
  const int depth = C / groups, c0 = k / (K / groups) * depth;
  float sum = 0;
  for (int r = 0; r < kernelHeight; r++) {
    const int y = y0 + r * dilation;
    if (y < 0 || y >= H) continue;
    for (int s = 0; s < kernelWidth; s++) {
      const int x = x0 + s * dilation;
      if (x < 0 || x >= W) continue;
      global const float *source = input + (size_t)((n * H + y) * W + x) * C + c0;
      global const float *weights = filter + (size_t)(r * kernelWidth + s) * depth * K + k;
      for (int c = 0; c < depth; c++) {
        float value = source[c];
        if (scale) value = scale[c0 + c] * value + shift[c0 + c];
        sum += activate(value, activation, parameter) * weights[(size_t)c * K];
      }
    }
  }
  const size_t at = (size_t)pixel * K + k;
  if (bias) sum += bias[k];
  if (residual) sum += residual[at];
  output[at] = sum;
}

kernel void grouped_input_gradient(
    global const float *outputGradient, global const float *filter, global float *inputGradient, int pixels, int C,
    int K, int H, int W, int outputHeight, int outputWidth, int kernelHeight, int kernelWidth, int stride,
    int padding, int dilation, int groups, int accumulate) {
  const int c = get_global_id(0), pixel = get_global_id(1);
  if (c >= C || pixel >= pixels) return;
  const int x0 = pixel % W + padding, y0 = pixel / W % H + padding, n = pixel / W / H;
  const int depth = C / groups, width = K / groups, k0 = c / depth * width;
  float sum = 0;
  for (int r = 0; r < kernelHeight; r++) {
    const int y = y0 - r * dilation;
    if (y < 0 || y % stride || y / stride >= outputHeight) continue;
    for (int s = 0; s < kernelWidth; s++) {
      const int x = x0 - s * dilation;
      if (x < 0 || x % stride || x / stride >= outputWidth) continue;
      global const float *gradient =
          outputGradient + (size_t)((n * outputHeight + y / stride) * outputWidth + x / stride) * K + k0;
      global const float *weights = filter + ((size_t)(r * kernelWidth + s) * depth + c % depth) * K + k0;
      for (int k = 0; k < width; k++) sum += gradient[k] * weights[k];
    }
  }
  const size_t at = (size_t)pixel * C + c;
  inputGradient[at] = accumulate ? inputGradient[at] + sum : sum;
}

// `output` is (part, tap, c within group, k), as in `filter_gradient`.
kernel void grouped_filter_gradient(
    global const float *input, global const float *outputGradient, global const float *scale,
    global const float *shift, int activation, float parameter, global float *output, int C, int K, int H, int W,
    int outputHeight, int outputWidth, int rows, int rowsPerPart, int taps, int kernelWidth, int stride, int padding,
    int dilation, int groups) {
  const int k = get_global_id(0), row0 = get_global_id(2) * rowsPerPart;
  const int depth = C / groups, tap = get_global_id(1) / depth;
  if (k >= K || tap >= taps) return;
  const int c = k / (K / groups) * depth + get_global_id(1) % depth;
  const int dy = tap / kernelWidth * dilation - padding, dx = tap % kernelWidth * dilation - padding;
  const int end = min(rows, row0 + rowsPerPart);
  float sum = 0;
  for (int row = row0; row < end; row++) {
    const int y = row % outputHeight * stride + dy;
    if (y < 0 || y >= H) continue;
    for (int column = 0; column < outputWidth; column++) {
      const int x = column * stride + dx;
      if (x < 0 || x >= W) continue;
      float value = input[(size_t)((row / outputHeight * H + y) * W + x) * C + c];
      if (scale) value = scale[c] * value + shift[c];
      sum += activate(value, activation, parameter) * outputGradient[(size_t)(row * outputWidth + column) * K + k];
    }
  }
  output[((size_t)get_global_id(2) * taps * depth + get_global_id(1)) * K + k] = sum;
}

// MARK: - Sums of parts

// output(i) (+)= sum over parts of partial(part, i) + bias(i % biasCount)
kernel void sum_parts(
    global const float *partial, global const float *bias, global const float *residual, global float *output,
    int count, int parts, int biasCount) {
  const int i = get_global_id(0);
  if (i >= count) return;
  float sum = 0;
  for (int part = 0; part < parts; part++) sum += partial[(size_t)part * count + i];
  if (bias) sum += bias[i % biasCount];
  output[i] = residual ? residual[i] + sum : sum;
}

// output(i) = sum of every outputs-th element from i on
kernel void sum_strided(global const float *input, global float *output, int count, int outputs) {
  const int i = get_global_id(0);
  if (i >= outputs) return;
  float sum = 0;
  for (int j = i; j < count; j += outputs) sum += input[j];
  output[i] = sum;
}

// Sums per channel. A work-item takes VW channels of `chunk` pixels; VW > 1 only helps CPUs. The last channels are
// taken one by one when they fill no vector.
#define PER_CHANNEL_PART                                                                          \
  const int c0 = get_global_id(0) * VW, part = get_global_id(1);                                  \
  if (c0 >= C || part * chunk >= pixels) return;                                                  \
  const int begin = part * chunk, end = min(pixels, begin + chunk);

kernel void channel_sum(global const float *input, global float *partial, int C, int pixels, int chunk) {
  PER_CHANNEL_PART
  if (C % VW == 0) {
    vector sum = 0;
    for (int p = begin; p < end; p++) sum += LOAD(input + (size_t)p * C + c0);
    STORE(sum, partial + (size_t)part * C + c0);
    return;
  }
  for (int c = c0; c < min(C, c0 + VW); c++) {
    float sum = 0;
    for (int p = begin; p < end; p++) sum += input[(size_t)p * C + c];
    partial[(size_t)part * C + c] = sum;
  }
}

// MARK: - Batch norm

// The mean, and the sum of squared deviations from it, of each channel in each chunk: partial is (part, 2, C). The
// first pixel is taken off before squares are summed, since the mean may be large against the deviation.
kernel void batch_norm_parts(global const float *input, global float *partial, int C, int pixels, int chunk) {
  PER_CHANNEL_PART
  const float count = end - begin;
  global float *mean = partial + (size_t)part * 2 * C, *squares = mean + C;
  if (C % VW == 0) {
    const vector pivot = LOAD(input + (size_t)begin * C + c0);
    vector sum = 0, sumOfSquares = 0;
    for (int p = begin; p < end; p++) {
      const vector d = LOAD(input + (size_t)p * C + c0) - pivot;
      sum += d;
      sumOfSquares += d * d;
    }
    STORE(pivot + sum / count, mean + c0);
    STORE(sumOfSquares - sum * (sum / count), squares + c0);
    return;
  }
  for (int c = c0; c < min(C, c0 + VW); c++) {
    const float pivot = input[(size_t)begin * C + c];
    float sum = 0, sumOfSquares = 0;
    for (int p = begin; p < end; p++) {
      const float d = input[(size_t)p * C + c] - pivot;
      sum += d;
      sumOfSquares += d * d;
    }
    mean[c] = pivot + sum / count;
    squares[c] = sumOfSquares - sum * (sum / count);
  }
}

// The sum of `value` over the work-items of a channel: a work-group is channels by MERGE_LANES, and `sums` has a place for
// each of its work-items.
float sum_of_lanes(float value, local float *sums) {
#if MERGE_LANES == 1
  return value;
#else
  const int across = get_local_size(0), x = get_local_id(0), lane = get_local_id(1);
  sums[lane * across + x] = value;
  for (int step = MERGE_LANES / 2; step > 0; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < step) sums[lane * across + x] += sums[(lane + step) * across + x];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  const float sum = sums[x];
  barrier(CLK_LOCAL_MEM_FENCE);
  return sum;
#endif
}

// So that a compiler keeps to what the launches need.
#if MERGE_LANES > 1
#define MERGE_GROUP __attribute__((reqd_work_group_size(MERGE_CHANNELS, MERGE_LANES, 1)))
#else
#define MERGE_GROUP
#endif

// Merges the chunks (Chan, Golub and LeVeque, 1979) and updates the running statistics.
MERGE_GROUP
kernel void batch_norm_merge(
    global const float *partial, global const float *gamma, global const float *beta, global float *runningMean,
    global float *runningVariance, global float *meanOut, global float *inverseOut, global float *scale,
    global float *shift, int C, int pixels, int chunk, float momentum, float epsilon) {
  local float sums[MERGE_CHANNELS * MERGE_LANES];
  const int own = get_global_id(0), lane = get_local_id(1);
  // Every work-item comes to the barriers.
  const int c = min(own, C - 1);
  const int parts = (pixels + chunk - 1) / chunk;
  const float pivot = partial[c];
  float sum = 0;
  for (int part = lane; part < parts; part += MERGE_LANES) {
    sum += (min(chunk, pixels - part * chunk)) * (partial[(size_t)part * 2 * C + c] - pivot);
  }
  const float mean = pivot + sum_of_lanes(sum, sums) / pixels;
  float squares = 0;
  for (int part = lane; part < parts; part += MERGE_LANES) {
    const float d = partial[(size_t)part * 2 * C + c] - mean;
    squares += partial[(size_t)(part * 2 + 1) * C + c] + (min(chunk, pixels - part * chunk)) * d * d;
  }
  squares = fmax(sum_of_lanes(squares, sums), 0.0f);
  if (own >= C || lane > 0) return;
  const float inverse = 1 / sqrt(squares / pixels + epsilon);
  meanOut[c] = mean;
  inverseOut[c] = inverse;
  scale[c] = gamma[c] * inverse;
  shift[c] = beta[c] - mean * (gamma[c] * inverse);
  // Not even a mean that has overflowed may change what is to stay.
  if (momentum == 0) return;
  runningMean[c] = (1 - momentum) * runningMean[c] + momentum * mean;
  runningVariance[c] = (1 - momentum) * runningVariance[c] + momentum * (squares / max(pixels - 1, 1));
}

kernel void batch_norm_fold(
    global const float *gamma, global const float *beta, global const float *mean, global const float *variance,
    global float *scale, global float *shift, global float *inverseOut, int C, float epsilon) {
  const int c = get_global_id(0);
  if (c >= C) return;
  const float inverse = 1 / sqrt(variance[c] + epsilon);
  scale[c] = gamma[c] * inverse;
  shift[c] = beta[c] - mean[c] * (gamma[c] * inverse);
  if (inverseOut) inverseOut[c] = inverse;
}

MERGE_GROUP
kernel void batch_norm_parameter_merge(
    global const float *partial, global float *gammaGradient, global float *betaGradient, int C, int parts) {
  local float sums[MERGE_CHANNELS * MERGE_LANES];
  const int own = get_global_id(0), lane = get_local_id(1);
  const int c = min(own, C - 1);
  float gamma = 0, beta = 0;
  for (int part = lane; part < parts; part += MERGE_LANES) {
    gamma += partial[(size_t)part * 2 * C + c];
    beta += partial[(size_t)(part * 2 + 1) * C + c];
  }
  gamma = sum_of_lanes(gamma, sums);
  beta = sum_of_lanes(beta, sums);
  if (own >= C || lane > 0) return;
  gammaGradient[c] = gamma;
  betaGradient[c] = beta;
}

// MARK: - Pooling

// `maximum`: 1 for the maximum, 0 for the average, which counts the padding's zeros.
kernel void pool(
    global const float *input, global float *output, int pixels, int C, int H, int W, int outputHeight,
    int outputWidth, int kernelHeight, int kernelWidth, int stride, int padding, int maximum) {
  const int c = get_global_id(0), pixel = get_global_id(1);
  if (c >= C || pixel >= pixels) return;
  const int x0 = pixel % outputWidth * stride - padding;
  const int y0 = pixel / outputWidth % outputHeight * stride - padding;
  global const float *source = input + (size_t)(pixel / outputWidth / outputHeight) * H * W * C + c;
  float largest = -INFINITY, sum = 0;
  for (int y = max(y0, 0); y < min(y0 + kernelHeight, H); y++) {
    for (int x = max(x0, 0); x < min(x0 + kernelWidth, W); x++) {
      const float value = source[(size_t)(y * W + x) * C];
      largest = largest >= value || isnan(largest) ? largest : value; // What is no number stays.
      sum += value;
    }
  }
  output[(size_t)pixel * C + c] = maximum ? largest : sum / (kernelHeight * kernelWidth);
}

// Every input element looks at the windows that hold it; the maximum's gradient is its own when no element before it
// in the window is as large, and none after it is larger.
kernel void pool_gradient(
    global const float *outputGradient, global const float *input, global float *inputGradient, int pixels, int C,
    int H, int W, int outputHeight, int outputWidth, int kernelHeight, int kernelWidth, int stride, int padding,
    int maximum, int accumulate) {
  const int c = get_global_id(0), pixel = get_global_id(1);
  if (c >= C || pixel >= pixels) return;
  const int x = pixel % W, y = pixel / W % H, n = pixel / W / H;
  const int firstRow = max(0, (y + padding - kernelHeight + stride) / stride);
  const int lastRow = min(outputHeight - 1, (y + padding) / stride);
  const int firstColumn = max(0, (x + padding - kernelWidth + stride) / stride);
  const int lastColumn = min(outputWidth - 1, (x + padding) / stride);
  const size_t at = (size_t)pixel * C + c;
  const float own = maximum ? input[at] : 0;
  float sum = 0;
  for (int row = firstRow; row <= lastRow; row++) {
    for (int column = firstColumn; column <= lastColumn; column++) {
      int wins = 1;
      if (maximum) {
        const int y0 = row * stride - padding, x0 = column * stride - padding;
        for (int i = max(y0, 0); i < min(y0 + kernelHeight, H) && wins; i++) {
          for (int j = max(x0, 0); j < min(x0 + kernelWidth, W); j++) {
            const float other = input[(size_t)((n * H + i) * W + j) * C + c];
            const int before = i < y || (i == y && j < x);
            // What is no number is the largest, as above.
            const int beats = isnan(own) ? before && isnan(other) : before ? !(other < own) : !(other <= own);
            if (beats) wins = 0;
          }
        }
      }
      if (wins) sum += outputGradient[(size_t)((n * outputHeight + row) * outputWidth + column) * C + c];
    }
  }
  if (!maximum) sum /= kernelHeight * kernelWidth;
  inputGradient[at] = accumulate ? inputGradient[at] + sum : sum;
}

// MARK: - Resampling

// The source of output position i as a whole number and a fraction, exactly: (2i + 1) * in / (2 out) - 1/2, or
// i * (in - 1) / (out - 1) with aligned corners.
int source_of(int i, int in, int out, int alignCorners, int clampBelow, float *fraction) {
  int numerator, denominator;
  if (alignCorners) {
    numerator = i * (in - 1);
    denominator = max(out - 1, 1);
  } else {
    numerator = (2 * i + 1) * in - out;
    denominator = 2 * out;
    if (clampBelow) numerator = max(numerator, 0);
  }
  int whole = numerator / denominator, rest = numerator % denominator;
  if (rest < 0) {
    rest += denominator;
    whole--;
  }
  *fraction = (float)rest / denominator;
  return whole;
}

// The weights of Keys' kernel with a = -0.75 for the four elements around a fraction.
float4 cubic_weights(float t) {
  const float a = -0.75f, u = 1 - t;
  return (float4)(((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a, ((a + 2) * t - (a + 3)) * t * t + 1,
                  ((a + 2) * u - (a + 3)) * u * u + 1, ((a * (u + 1) - 5 * a) * (u + 1) + 8 * a) * (u + 1) - 4 * a);
}

kernel void resize(
    global const float *input, global float *output, int pixels, int C, int H, int W, int outputHeight,
    int outputWidth, int alignCorners, int cubic) {
  const int c = get_global_id(0), pixel = get_global_id(1);
  if (c >= C || pixel >= pixels) return;
  float fx, fy;
  const int x = source_of(pixel % outputWidth, W, outputWidth, alignCorners, !cubic, &fx);
  const int y = source_of(pixel / outputWidth % outputHeight, H, outputHeight, alignCorners, !cubic, &fy);
  global const float *source = input + (size_t)(pixel / outputWidth / outputHeight) * H * W * C + c;
  float weightsX[4], weightsY[4];
  vstore4(cubic ? cubic_weights(fx) : (float4)(0, 1 - fx, fx, 0), 0, weightsX);
  vstore4(cubic ? cubic_weights(fy) : (float4)(0, 1 - fy, fy, 0), 0, weightsY);
  const int low = cubic ? 0 : 1, high = cubic ? 4 : 3;
  float sum = 0;
  for (int i = low; i < high; i++) {
    const int row = clamp(y - 1 + i, 0, H - 1);
    float line = 0;
    for (int j = low; j < high; j++) {
      line += weightsX[j] * source[(size_t)(row * W + clamp(x - 1 + j, 0, W - 1)) * C];
    }
    sum += weightsY[i] * line;
  }
  output[(size_t)pixel * C + c] = sum;
}

// The weight of input position i in output position o of a bilinear resize.
float bilinear_weight(int i, int o, int in, int out, int alignCorners) {
  float fraction;
  const int whole = source_of(o, in, out, alignCorners, 1, &fraction);
  return (whole == i ? 1 - fraction : 0) + (min(whole + 1, in - 1) == i ? fraction : 0);
}

// Every input element gathers from the output elements that read it. Their range is found generously; elements that
// don't read it have weight zero.
kernel void resize_gradient(
    global const float *outputGradient, global float *inputGradient, int pixels, int C, int H, int W,
    int outputHeight, int outputWidth, int alignCorners) {
  const int c = get_global_id(0), pixel = get_global_id(1);
  if (c >= C || pixel >= pixels) return;
  const int x = pixel % W, y = pixel / W % H, n = pixel / W / H;
  const float perRow = alignCorners ? (outputHeight - 1) / max(H - 1.0f, 1.0f) : (float)outputHeight / H;
  const float perColumn = alignCorners ? (outputWidth - 1) / max(W - 1.0f, 1.0f) : (float)outputWidth / W;
  const int firstRow = max(0, (int)((y - 1) * perRow) - 2);
  const int lastRow = y == H - 1 ? outputHeight - 1 : min(outputHeight - 1, (int)((y + 2) * perRow) + 2);
  const int firstColumn = max(0, (int)((x - 1) * perColumn) - 2);
  const int lastColumn = x == W - 1 ? outputWidth - 1 : min(outputWidth - 1, (int)((x + 2) * perColumn) + 2);
  float sum = 0;
  for (int row = firstRow; row <= lastRow; row++) {
    const float weightY = bilinear_weight(y, row, H, outputHeight, alignCorners);
    if (weightY == 0) continue;
    float line = 0;
    for (int column = firstColumn; column <= lastColumn; column++) {
      const float weightX = bilinear_weight(x, column, W, outputWidth, alignCorners);
      if (weightX == 0) continue;
      line += weightX * outputGradient[(size_t)((n * outputHeight + row) * outputWidth + column) * C + c];
    }
    sum += weightY * line;
  }
  inputGradient[(size_t)pixel * C + c] = sum;
}

// The four pixels around a point with their weights, zero for those outside [top, bottom) x [left, right).
typedef struct {
  int at[4];  // y * W + x
  float weight[4];
} corners;

corners bilinear_corners(float y, float x, int top, int bottom, int left, int right, int W) {
  corners result;
  // Written so that a NaN is outside.
  const int near = y > top - 1 && y < bottom && x > left - 1 && x < right;
  const float rowBelow = near ? floor(y) : 0, columnLeft = near ? floor(x) : 0;
  const float fy = y - rowBelow, fx = x - columnLeft;
  for (int i = 0; i < 4; i++) {
    const int row = (int)rowBelow + i / 2, column = (int)columnLeft + i % 2;
    const int inside = near && row >= top && row < bottom && column >= left && column < right;
    result.at[i] = inside ? row * W + column : 0;
    result.weight[i] = inside ? (i / 2 ? fy : 1 - fy) * (i % 2 ? fx : 1 - fx) : 0;
  }
  return result;
}

kernel void grid_sample(
    global const float *input, global const float *field, global const int *flags, global float *output, int samples,
    int C, int H, int W, int outputPixels, int fieldStride) {
  const int pixel = get_global_id(0), n = get_global_id(1);
  if (pixel >= outputPixels || n >= samples) return;
  global const float *source = input + (size_t)n * H * W * C;
  global float *result = output + ((size_t)n * outputPixels + pixel) * C;
  if (flags && !flags[n]) {
    for (int c = 0; c < C; c++) result[c] = source[(size_t)pixel * C + c];
    return;
  }
  global const float *point = field + (size_t)n * fieldStride + (size_t)pixel * 2;
  const corners q = bilinear_corners(
      (point[1] + 1) * 0.5f * (H - 1), (point[0] + 1) * 0.5f * (W - 1), 0, H, 0, W, W);
  for (int c = 0; c < C; c++) {
    float sum = 0;
    for (int i = 0; i < 4; i++) {
      if (q.weight[i] != 0) sum += q.weight[i] * source[(size_t)q.at[i] * C + c];
    }
    result[c] = sum;
  }
}

// MARK: - Elementwise

kernel void add(global const float *a, global const float *b, global float *output, int count) {
  const int i = get_global_id(0);
  if (i < count) output[i] = a[i] + b[i];
}

kernel void multiply(global const float *a, global const float *b, global float *output, int count) {
  const int i = get_global_id(0);
  if (i < count) output[i] = a[i] * b[i];
}

// `value` is the element's bits.
kernel void fill(global uint *output, uint value, int count) {
  const int i = get_global_id(0);
  if (i < count) output[i] = value;
}

kernel void copy_words(global const uint *input, global uint *output, int count) {
  const int i = get_global_id(0);
  if (i < count) output[i] = input[i];
}

kernel void copy_bytes(global const uchar *input, global uchar *output, int count) {
  const int i = get_global_id(0);
  if (i < count) output[i] = input[i];
}

// The place of element e (in logical CHW order) of sample n.
size_t logical_place(int n, int e, int C, int area) {
  return ((size_t)n * area + e % area) * C + e / area;
}

// Four elements per work-item: those of one draw.
kernel void dropout(
    global const float *input, global const int *samples, global float *output, int count, int C, int area,
    float rate, uint2 seed, uint purpose, uint epoch) {
  const int block = get_global_id(0), n = get_global_id(1), perSample = C * area;
  if (block >= (perSample + 3) / 4 || n >= count) return;
  float u[4];
  vstore4(uniform4(philox((uint4)(block, (uint)samples[n], epoch, purpose), seed)), 0, u);
  for (int i = 0; i < min(4, perSample - block * 4); i++) {
    const size_t at = logical_place(n, block * 4 + i, C, area);
    output[at] = u[i] >= rate ? input[at] / (1 - rate) : 0;
  }
}

kernel void random_uniform(
    global const int *samples, global float *output, int count, int C, int area, float low, float high, uint2 seed,
    uint purpose, uint epoch) {
  const int block = get_global_id(0), n = get_global_id(1), perSample = C * area;
  if (block >= (perSample + 3) / 4 || n >= count) return;
  float u[4];
  vstore4(uniform4(philox((uint4)(block, (uint)samples[n], epoch, purpose), seed)), 0, u);
  for (int i = 0; i < min(4, perSample - block * 4); i++) {
    output[logical_place(n, block * 4 + i, C, area)] = low + (high - low) * u[i];
  }
}

// MARK: - Loss and scores

// perRow is (2, rows): each row's loss, and 1 where its first largest logit is the label's. The target gives
// `smoothing` to all classes alike, and the rest to the label.
kernel void softmax_cross_entropy(
    global const float *logits, global const int *labels, global float *gradient, global float *perRow, int rows,
    int classes, float gradientScale, float smoothing) {
  const int row = get_global_id(0);
  if (row >= rows) return;
  global const float *l = logits + (size_t)row * classes;
  const int label = clamp(labels[row], 0, classes - 1);
  int best = 0;
  for (int k = 1; k < classes; k++) best = l[k] > l[best] ? k : best;
  const float largest = l[best];
  float sum = 0;
  for (int k = 0; k < classes; k++) sum += exp(l[k] - largest);
  float lag = largest - l[label];
  if (smoothing > 0) {
    float lags = 0;
    for (int k = 0; k < classes; k++) lags += largest - l[k];
    lag += smoothing * (lags / classes - lag);
  }
  perRow[row] = log(sum) + lag;
  perRow[rows + row] = best == label ? 1 : 0;
  if (gradient) {
    const float other = smoothing / classes, right = 1 - smoothing + other;
    for (int k = 0; k < classes; k++) {
      gradient[(size_t)row * classes + k] =
          gradientScale * (exp(l[k] - largest) / sum - (k == label ? right : other));
    }
  }
}

// perRow as above. A row's loss is labelShare of the label's, and the rest of temperature squared times the
// Kullback-Leibler divergence of the student's softened answer from the teacher's.
kernel void distillation(
    global const float *logits, global const float *teacher, global const int *labels, global float *gradient,
    global float *perRow, int rows, int classes, float gradientScale, float temperature, float labelShare) {
  const int row = get_global_id(0);
  if (row >= rows) return;
  global const float *l = logits + (size_t)row * classes, *t = teacher + (size_t)row * classes;
  const int label = clamp(labels[row], 0, classes - 1);
  int best = 0, teachers = 0;
  for (int k = 1; k < classes; k++) {
    best = l[k] > l[best] ? k : best;
    teachers = t[k] > t[teachers] ? k : teachers;
  }
  const float largest = l[best], largestTaught = t[teachers];
  float hard = 0, soft = 0, taught = 0;
  for (int k = 0; k < classes; k++) {
    hard += exp(l[k] - largest);
    soft += exp((l[k] - largest) / temperature);
    taught += exp((t[k] - largestTaught) / temperature);
  }
  const float teaching = (1 - labelShare) * temperature;
  float divergence = 0;
  for (int k = 0; k < classes; k++) {
    const float lead = (l[k] - largest) / temperature, target = (t[k] - largestTaught) / temperature;
    const float q = exp(target) / taught;
    divergence += q * (target - lead);
    gradient[(size_t)row * classes + k] =
        gradientScale * (teaching * (exp(lead) / soft - q) +
                         labelShare * (exp(l[k] - largest) / hard - (k == label ? 1 : 0)));
  }
  divergence += log(soft) - log(taught);
  perRow[row] = teaching * temperature * divergence + labelShare * (log(hard) + largest - l[label]);
  perRow[rows + row] = best == label ? 1 : 0;
}

kernel void add_totals(global const float *perRow, global float *totals, int rows) {
  const int which = get_global_id(0);
  if (which >= 2) return;
  float sum = 0;
  for (int row = 0; row < rows; row++) sum += perRow[which * rows + row];
  totals[which] += sum;
}

kernel void arg_max(global const float *input, global int *output, int rows, int classes) {
  const int row = get_global_id(0);
  if (row >= rows) return;
  global const float *l = input + (size_t)row * classes;
  int best = 0;
  for (int k = 1; k < classes; k++) best = l[k] > l[best] ? k : best;
  output[row] = best;
}

// Each row is divided by its largest magnitude first: squares of small logits would vanish.
kernel void agreement(
    global const float *a, global const float *b, global float *output, int rows, int classes) {
  const int row = get_global_id(0);
  if (row >= rows) return;
  global const float *u = a + (size_t)row * classes, *v = b + (size_t)row * classes;
  float largestU = 0, largestV = 0;
  for (int k = 0; k < classes; k++) {
    largestU = fmax(largestU, fabs(u[k]));
    largestV = fmax(largestV, fabs(v[k]));
  }
  float product = 0, squareU = 0, squareV = 0;
  if (largestU > 0 && largestV > 0) {
    for (int k = 0; k < classes; k++) {
      const float p = u[k] / largestU, q = v[k] / largestV;
      product += p * q;
      squareU += p * p;
      squareV += q * q;
    }
  }
  // Rows with infinite numbers have no direction, and are left with squares that are no numbers.
  output[row] = squareU > 0 && squareV > 0
                    ? 0.5f + 0.5f * clamp(product / (sqrt(squareU) * sqrt(squareV)), -1.0f, 1.0f)
                    : 0;
}

// MARK: - Optimizers and attacks

kernel void sgd(
    global float *parameters, global const float *gradients, global float *velocity, int count, float momentum,
    float weightDecay, int nesterov, float learningRate) {
  const int i = get_global_id(0);
  if (i >= count) return;
  const float p = parameters[i], g = gradients[i] + weightDecay * p;
  const float v = momentum * velocity[i] + g;
  velocity[i] = v;
  parameters[i] = p - learningRate * (nesterov ? g + momentum * v : v);
}

// A moment that has decayed below the smallest normal number is nothing next to epsilon, and slow where denormal numbers are.
float normal_or_zero(float x) { return fabs(x) < FLT_MIN ? 0 : x; }

// rate = learningRate / (1 - beta1^step), correction = sqrt(1 - beta2^step)
kernel void adam(
    global float *parameters, global const float *gradients, global float *firstMoment, global float *secondMoment,
    int count, float beta1, float beta2, float epsilon, float weightDecay, float rate, float correction) {
  const int i = get_global_id(0);
  if (i >= count) return;
  const float p = parameters[i], g = gradients[i] + weightDecay * p;
  const float m = normal_or_zero(beta1 * firstMoment[i] + (1 - beta1) * g);
  const float v = normal_or_zero(beta2 * secondMoment[i] + (1 - beta2) * g * g);
  firstMoment[i] = m;
  secondMoment[i] = v;
  parameters[i] = p - rate * m / (sqrt(v) / correction + epsilon);
}

// partial(i) = the sum of (t g)^2 of every outputs-th element from i on, where t is |p| when adaptive, else 1
kernel void gradient_squares(
    global const float *parameters, global const float *gradients, global float *partial, int count, int outputs,
    int adaptive) {
  const int i = get_global_id(0);
  if (i >= outputs) return;
  float sum = 0;
  for (int j = i; j < count; j += outputs) {
    const float v = adaptive ? parameters[j] * gradients[j] : gradients[j];
    sum += v * v;
  }
  partial[i] = sum;
}

// squares is the sum of all (t g)^2
kernel void perturb_weights(
    global float *parameters, global const float *gradients, global float *saved, global const float *squares,
    int count, float radius, int adaptive) {
  const int i = get_global_id(0);
  if (i >= count) return;
  const float p = parameters[i], t = adaptive ? p : 1;
  saved[i] = p;
  parameters[i] = p + radius / (sqrt(squares[0]) + 1e-12f) * t * t * gradients[i];
}

// squares is the sum of all g^2. Where that is infinite the gradients stay as they are, which shows that the training
// diverged.
kernel void clip_gradients(global float *gradients, global const float *squares, int count, float length) {
  const int i = get_global_id(0);
  if (i >= count) return;
  const float norm = sqrt(squares[0]);
  if (norm > length && norm < INFINITY) gradients[i] *= length / norm;
}

// clamp leaves open what becomes of what is no number; here it stays.
float limited(float x, float least, float most) { return x < least ? least : x > most ? most : x; }

kernel void pgd_step(
    global float *adversarial, global const float *origin, global const float *gradient, int count, float stepSize,
    float epsilon, int clip) {
  const int i = get_global_id(0);
  if (i >= count) return;
  const float centre = origin[i];
  const float z = adversarial[i] + stepSize * sign(gradient[i]);
  const float inBall = limited(z, centre - epsilon, centre + epsilon);
  adversarial[i] = clip ? limited(inBall, 0, 1) : inBall;
}

// Gradients are divided by their largest magnitude first: squares of small ones would vanish.
kernel void pgd_step_l2(
    global float *adversarial, global const float *origin, global const float *gradient, int samples, int perSample,
    float stepSize, float epsilon, int clip) {
  const int n = get_global_id(0);
  if (n >= samples) return;
  const size_t first = (size_t)n * perSample;
  global float *z = adversarial + first;
  global const float *x = origin + first, *g = gradient + first;
  float largest = 0, squares = 0, moved = 0;
  for (int i = 0; i < perSample; i++) largest = fmax(largest, fabs(g[i]));
  for (int i = 0; i < perSample; i++) {
    const float v = largest > 0 ? g[i] / largest : 0;
    squares += v * v;
  }
  const float rate = largest > 0 ? stepSize / sqrt(squares) : 0, divisor = largest > 0 ? largest : 1;
  for (int i = 0; i < perSample; i++) {
    const float d = z[i] - x[i] + rate * (g[i] / divisor);
    moved += d * d;
  }
  const float shrink = moved > epsilon * epsilon ? epsilon / sqrt(moved) : 1;
  for (int i = 0; i < perSample; i++) {
    const float v = x[i] + shrink * (z[i] - x[i] + rate * (g[i] / divisor));
    z[i] = clip ? limited(v, 0, 1) : v;
  }
}

// MARK: - Triggers

// Patterns and masks are (patterns, area, C) and (patterns, area, C or 1). A sample takes pattern
// (n - (flag - 1)) mod patterns.
int pattern_of(global const int *flags, int n, int patterns) {
  const int shifted = (n - (flags ? flags[n] - 1 : 0)) % patterns;
  return shifted < 0 ? shifted + patterns : shifted;
}

kernel void apply_trigger(
    global const float *input, global const float *pattern, global const float *mask, global const int *flags,
    global float *output, int samples, int perSample, int patterns, int channelsPerMask, int additive, int clip) {
  const int e = get_global_id(0), n = get_global_id(1);
  if (e >= perSample || n >= samples) return;
  const size_t at = (size_t)n * perSample + e;
  float x = input[at];
  if (!flags || flags[n]) {
    const size_t which = pattern_of(flags, n, patterns);
    const float p = pattern[which * perSample + e], m = mask[(which * perSample + e) / channelsPerMask];
    x += m * (additive ? p : p - x);
    if (clip) x = limited(x, 0, 1);
  }
  output[at] = x;
}

kernel void apply_trigger_gradient(
    global const float *outputGradient, global const float *mask, global const int *flags,
    global float *patternGradient, int samples, int perSample, int patterns, int channelsPerMask, int accumulate) {
  const int e = get_global_id(0), which = get_global_id(1);
  if (e >= perSample || which >= patterns) return;
  const size_t at = (size_t)which * perSample + e;
  float sum = 0;
  for (int n = 0; n < samples; n++) {
    if ((!flags || flags[n]) && pattern_of(flags, n, patterns) == which) {
      sum += outputGradient[(size_t)n * perSample + e];
    }
  }
  sum *= mask[at / channelsPerMask];
  patternGradient[at] = accumulate ? patternGradient[at] + sum : sum;
}

// The sum of every `parts`-th squared difference; partial is (samples, parts).
kernel void neighbour_parts(global const float *input, global float *partial, int samples, int perSample, int parts) {
  const int part = get_global_id(0), n = get_global_id(1);
  if (part >= parts || n >= samples) return;
  global const float *a = input + (size_t)n * perSample, *b = input + (size_t)((n + 1) % samples) * perSample;
  float sum = 0;
  for (int e = part; e < perSample; e += parts) sum += (a[e] - b[e]) * (a[e] - b[e]);
  partial[n * parts + part] = sum;
}

kernel void neighbour_distance(
    global const float *partial, global float *output, int samples, int perSample, int parts) {
  const int n = get_global_id(0);
  if (n >= samples) return;
  float sum = 0;
  for (int part = 0; part < parts; part++) sum += partial[n * parts + part];
  output[n] = sqrt(sum / perSample);
}

kernel void diversity_total(
    global const float *inputDistances, global const float *outputDistances, global float *total, int samples) {
  if (get_global_id(0) > 0) return;
  float sum = 0;
  for (int n = 0; n < samples; n++) sum += inputDistances[n] / (outputDistances[n] + 1e-7f);
  total[0] += sum / samples;
}

// The gradient of one pair's term by the distance, over the distance.
float diversity_slope(
    global const float *inputDistances, global const float *outputDistances, int n, float scale) {
  const float d = outputDistances[n], padded = d + 1e-7f;
  return d > 0 ? -scale * inputDistances[n] / (padded * padded * d) : 0;
}

kernel void diversity_gradient(
    global const float *inputDistances, global const float *outputDistances, global const float *outputs,
    global float *gradient, int samples, int perSample, float gradientScale) {
  const int e = get_global_id(0), n = get_global_id(1);
  if (e >= perSample || n >= samples) return;
  const int next = (n + 1) % samples, previous = (n + samples - 1) % samples;
  const float scale = gradientScale / samples / perSample, y = outputs[(size_t)n * perSample + e];
  gradient[(size_t)n * perSample + e] =
      diversity_slope(inputDistances, outputDistances, n, scale) * (y - outputs[(size_t)next * perSample + e])
      + diversity_slope(inputDistances, outputDistances, previous, scale)
            * (y - outputs[(size_t)previous * perSample + e]);
}

// MARK: - Data

kernel void slice_rows(global const int *rows, global int *output, int total, int count, int rowOffset) {
  const int i = get_global_id(0);
  if (i < count) output[i] = rows[clamp(rowOffset + i, 0, total - 1)];
}

kernel void gather_images(
    global const uchar *images, global const int *rows, global float *output, int total, int count, int perSample) {
  const int e = get_global_id(0), n = get_global_id(1);
  if (e >= perSample || n >= count) return;
  const size_t row = clamp(rows[n], 0, total - 1);
  output[(size_t)n * perSample + e] = images[row * perSample + e] / 255.0f;
}

kernel void gather_integers(
    global const int *table, global const int *rows, global int *output, int total, int count) {
  const int i = get_global_id(0);
  if (i < count) output[i] = table[clamp(rows[i], 0, total - 1)];
}

kernel void store_rows(
    global const uint *input, global uint *table, int total, int count, int columns, int rowOffset) {
  const int column = get_global_id(0), i = get_global_id(1);
  if (column >= columns || i >= count || rowOffset < 0 || i >= total - rowOffset) return;
  table[(size_t)(rowOffset + i) * columns + column] = input[(size_t)i * columns + column];
}

kernel void augment(
    global const float *input, global const int *samples, global float *output, int count, int C, int H, int W,
    int padding, float cropProbability, float degrees, float rotationProbability, float sampleRotationProbability,
    float flipProbability, uint2 seed, uint purpose, uint epoch, uint step) {
  const int pixel = get_global_id(0), n = get_global_id(1);
  if (pixel >= H * W || n >= count) return;
  const float4 g = uniform4(philox((uint4)(step, 0, epoch, purpose), seed));
  const float4 a = uniform4(philox((uint4)(0, (uint)samples[n], epoch, purpose + 1), seed));
  const float4 b = uniform4(philox((uint4)(1, (uint)samples[n], epoch, purpose + 1), seed));
  const int cropped = g.s0 < cropProbability;
  const int dy = cropped ? (int)floor(a.s0 * (2 * padding + 1)) - padding : 0;
  const int dx = cropped ? (int)floor(a.s1 * (2 * padding + 1)) - padding : 0;
  const int rotated = g.s1 < rotationProbability && b.s0 < sampleRotationProbability;
  const int i = pixel / W, j = a.s2 < flipProbability ? W - 1 - pixel % W : pixel % W;
  global const float *source = input + (size_t)n * H * W * C;
  global float *result = output + ((size_t)n * H * W + pixel) * C;

  if (!rotated) {
    const int y = i + dy, x = j + dx, inside = y >= 0 && y < H && x >= 0 && x < W;
    for (int c = 0; c < C; c++) result[c] = inside ? source[(size_t)(y * W + x) * C + c] : 0;
    return;
  }
  const float angle = degrees * (2 * a.s3 - 1) * 0.017453292519943295f;
  const float cosine = cos(angle), sine = sin(angle);
  const float centreX = (W - 1) * 0.5f, centreY = (H - 1) * 0.5f, u = j - centreX, v = i - centreY;
  // Around the point in the shifted image, whose pixel (i, j) is (i + dy, j + dx) of the input: a pixel counts when it
  // lies in both frames.
  const float y = centreY + sine * u + cosine * v, x = centreX + cosine * u - sine * v;
  const corners q = bilinear_corners(y, x, max(0, -dy), min(H, H - dy), max(0, -dx), min(W, W - dx), W);
  for (int c = 0; c < C; c++) {
    float sum = 0;
    for (int k = 0; k < 4; k++) {
      if (q.weight[k] != 0) sum += q.weight[k] * source[(size_t)(q.at[k] + dy * W + dx) * C + c];
    }
    result[c] = sum;
  }
}

#endif
