// Products by work-groups that share tiles in local memory: convolutions, their gradients, matrix products, and the
// products inside Winograd's algorithm. Compiled after kernels.cl, whose vectors and activations it uses.
//
//   output(m, n) = sum over d of left(m, d) * right(d, n)
//
//                   m                    d                     n
//   (neither)       output pixel         tap, input channel    output channel
//   FILTER          tap, input channel   output pixel          output channel
//
// The left matrix is an image, read as the convolution would (an implicit im2col); PLAIN: it is a matrix as it lies,
// (m, d), with FILTER (d, m). A work-group takes a tile of the result; its work-items load a slice of both matrices
// into registers, put it into local memory, and load the next slice while they multiply.

// MARK: - Tunables

#ifndef TILE_M
#define TILE_M 64  // rows of a work-group's tile of the result
#endif
#ifndef TILE_N
#define TILE_N 64  // columns of it
#endif
#ifndef TILE_K
#define TILE_K 16  // terms of the sums in local memory at a time
#endif
#ifndef ITEM_M
#define ITEM_M 4  // rows per work-item
#endif
#ifndef ITEM_N
#define ITEM_N 4  // columns per work-item, a multiple of VW
#endif
#ifndef PAD
#define PAD 4  // floats between the rows of the left tile, against bank conflicts; a multiple of VW
#endif
#ifndef BUFFERS
#define BUFFERS 1  // 2: a slice is put down while the last one is still in use
#endif

// What the shape asks for.
#ifndef WIDE_A
#define WIDE_A 0  // 1: loads of the left matrix are vectors (its inner extent is a multiple of VW)
#endif
#ifndef WIDE_B
#define WIDE_B 0  // 1: loads of the right matrix and stores of the result are vectors (K is a multiple of VW)
#endif
#ifndef TAP_STEP
#define TAP_STEP 1  // DIVISOR > 1: taps between two that meet an input pixel
#endif

// MARK: - Sizes that follow

#define GROUP_M (TILE_M / ITEM_M)
#define GROUP_N (TILE_N / ITEM_N)
#define ITEMS (GROUP_M * GROUP_N)
#define COLUMNS (ITEM_N / VW)

#ifdef FILTER
#define ROWS_A TILE_K
#define WIDTH_A TILE_M
#else
#define ROWS_A TILE_M
#define WIDTH_A TILE_K
#endif
#define PITCH_A (WIDTH_A + PAD)
#define SIZE_A (ROWS_A * PITCH_A)
#define SIZE_B (TILE_K * TILE_N)

#if WIDE_A
#define LANES_A VW
typedef vector load_a;
#else
#define LANES_A 1
typedef float load_a;
#endif
#if WIDE_B
#define LANES_B VW
typedef vector load_b;
#else
#define LANES_B 1
typedef float load_b;
#endif
// Loads of a slice, and those of a work-item.
#define COUNT_A (TILE_M * TILE_K / LANES_A)
#define COUNT_B (TILE_N * TILE_K / LANES_B)
#define LOADS_A ((COUNT_A + ITEMS - 1) / ITEMS)
#define LOADS_B ((COUNT_B + ITEMS - 1) / ITEMS)
// Where load i of this work-item belongs in a tile.
#define INDEX(i) (id + (i) * ITEMS)
#define ROW_A(i) (INDEX(i) / (WIDTH_A / LANES_A))
#define COLUMN_A(i) (INDEX(i) % (WIDTH_A / LANES_A) * LANES_A)
#define ROW_B(i) (INDEX(i) / (TILE_N / LANES_B))
#define COLUMN_B(i) (INDEX(i) % (TILE_N / LANES_B) * LANES_B)

// MARK: - Prologue

#if PROLOGUE == 0
#define ON_LOAD(x, c) (x)
#else
#define ACTIVATE(x) activate(x, ACTIVATION, parameter)
#if WIDE_A && VW == 4
#define ACTIVATE_ALL(x) (vector)(ACTIVATE((x).s0), ACTIVATE((x).s1), ACTIVATE((x).s2), ACTIVATE((x).s3))
#elif WIDE_A
#define ACTIVATE_ALL(x) (vector)(ACTIVATE((x).s0), ACTIVATE((x).s1))
#else
#define ACTIVATE_ALL(x) ACTIVATE(x)
#endif
load_a on_load(load_a x, global const float *scale, global const float *shift, float parameter, int c) {
#if PROLOGUE == 2
  x = *(global const load_a *)(scale + c) * x + *(global const load_a *)(shift + c);
#endif
  return ACTIVATE_ALL(x);
}
#define ON_LOAD(x, c) on_load(x, scale, shift, parameter, c)
#endif

// MARK: - The product of two slices

#define LOCAL(p) (*(local const vector *)(p))

void multiply(local const float *a, local const float *b, vector sum[ITEM_M][COLUMNS], int tm, int tn) {
#define RIGHT(k)                                                                                  \
  vector y[COLUMNS];                                                                              \
  _Pragma("unroll") for (int j = 0; j < COLUMNS; j++) y[j] = LOCAL(b + (k) * TILE_N + (j * GROUP_N + tn) * VW);
#ifdef FILTER
#define ADD(lane, s) _Pragma("unroll") for (int j = 0; j < COLUMNS; j++) sum[i * VW + lane][j] += x.s * y[j];
#pragma unroll 4
  for (int k = 0; k < TILE_K; k++) {
    RIGHT(k)
#pragma unroll
    for (int i = 0; i < ITEM_M / VW; i++) {
      const vector x = LOCAL(a + k * PITCH_A + (i * GROUP_M + tm) * VW);
      ADD(0, s0)
      ADD(1, s1)
#if VW == 4
      ADD(2, s2)
      ADD(3, s3)
#endif
    }
  }
#else
#define ADD(lane, s)                                                                              \
  {                                                                                               \
    RIGHT(k + lane)                                                                               \
    _Pragma("unroll") for (int i = 0; i < ITEM_M; i++)                                            \
      _Pragma("unroll") for (int j = 0; j < COLUMNS; j++) sum[i][j] += x[i].s * y[j];             \
  }
  // Two terms at a time: with more the registers don't hold the left tile's elements.
  for (int k = 0; k < TILE_K; k += 2) {
    float2 x[ITEM_M];
#pragma unroll
    for (int i = 0; i < ITEM_M; i++) x[i] = *(local const float2 *)(a + (tm + i * GROUP_M) * PITCH_A + k);
    ADD(0, s0)
    ADD(1, s1)
  }
#endif
}

// MARK: - The kernel

// Tiles lie along dimension 0, those of one row of the result side by side; along dimension 1 there are `batches`
// products at distances batchA, batchB, batchOutput, times the parts that each sum is split into. Part p of batch b is
// written to output + (p * batches + b) * batchOutput; the residual lies likewise.
//
// An input gradient is the convolution of the output gradient with the transposed and flipped filter. With a forward
// stride (DIVISOR), the pixels with the same remainders (a class) meet the same taps, every TAP_STEP-th: each class is
// a convolution of stride 1 with these alone. A work-group belongs to one class.
__attribute__((reqd_work_group_size(ITEMS, 1, 1)))
kernel void tiled_product(
    global const float *left, global const float *right, global const float *scale, global const float *shift,
    float parameter, global const float *bias, global const float *residual, global float *output, int images, int C,
    int K, int H, int W, int outputHeight, int outputWidth, int kernelHeight, int kernelWidth, int padY, int padX,
    int stride, int dilation, uint2 byHeight, uint2 byWidth, int parts, int batches, int batchA, int batchB,
    int batchOutput) {
  local float tileA[BUFFERS * SIZE_A] __attribute__((aligned(16)));
  local float tileB[BUFFERS * SIZE_B] __attribute__((aligned(16)));
  const int id = get_local_id(0), tn = id % GROUP_N, tm = id / GROUP_N;
  const int across = (K + TILE_N - 1) / TILE_N;
  const int n0 = get_group_id(0) % across * TILE_N;
  const int batch = get_group_id(1) / parts, part = get_group_id(1) % parts;
  int tile = get_group_id(0) / across;
  left += (size_t)batch * batchA;
  right += (size_t)batch * batchB;
  output += (size_t)(part * batches + batch) * batchOutput;
  if (residual) residual += (size_t)(part * batches + batch) * batchOutput;

#ifdef FILTER
  const int m0 = tile * TILE_M, rows = kernelHeight * kernelWidth * C;
  const int depth = images * outputHeight * outputWidth;
#else
#if DIVISOR > 1
  const int perClass =
      (images * ((outputHeight + DIVISOR - 1) / DIVISOR) * ((outputWidth + DIVISOR - 1) / DIVISOR) + TILE_M - 1) / TILE_M;
  const int classY = tile / perClass / DIVISOR, classX = tile / perClass % DIVISOR;
  tile %= perClass;
  const int height = (outputHeight - classY + DIVISOR - 1) / DIVISOR;
  const int width = (outputWidth - classX + DIVISOR - 1) / DIVISOR;
  int firstY = 0, firstX = 0;
  while (firstY < TAP_STEP && (classY - padY + firstY * dilation) % DIVISOR != 0) firstY++;
  while (firstX < TAP_STEP && (classX - padX + firstX * dilation) % DIVISOR != 0) firstX++;
  const int tapRows = firstY < TAP_STEP ? max(0, (kernelHeight - firstY + TAP_STEP - 1) / TAP_STEP) : 0;
  const int tapColumns = firstX < TAP_STEP ? max(0, (kernelWidth - firstX + TAP_STEP - 1) / TAP_STEP) : 0;
  const int offsetY = (classY - padY + firstY * dilation) / DIVISOR;
  const int offsetX = (classX - padX + firstX * dilation) / DIVISOR;
  const int spacing = TAP_STEP * dilation / DIVISOR;
#else
  const int height = outputHeight, width = outputWidth, tapRows = kernelHeight, tapColumns = kernelWidth;
  const int offsetY = -padY, offsetX = -padX, spacing = dilation;
#endif
  const int m0 = tile * TILE_M, rows = images * height * width;
  const int depth = tapRows * tapColumns * C;
#endif

  const int slices = (depth + TILE_K - 1) / TILE_K, perPart = (slices + parts - 1) / parts;
  const int begin = min(slices, part * perPart), end = min(slices, begin + perPart);

  // What of the places in the left matrix stays the same from slice to slice.
#ifdef FILTER
  // The input channel of each load's column, and its tap's offset; the channel is -1 beyond the last row.
  int channel[LOADS_A];
#ifndef PLAIN
  int tapY[LOADS_A], tapX[LOADS_A];
#endif
#pragma unroll
  for (int i = 0; i < LOADS_A; i++) {
    const int m = m0 + COLUMN_A(i), tap = m / C;
    channel[i] = m < rows ? m % C : -1;
#ifndef PLAIN
    tapY[i] = tap / kernelWidth * dilation - padY;
    tapX[i] = tap % kernelWidth * dilation - padX;
#endif
  }
#else
  // The first pixel that each load's row meets; the tap and the channel, which all loads share.
  int image[LOADS_A], y0[LOADS_A], x0[LOADS_A];
#pragma unroll
  for (int i = 0; i < LOADS_A; i++) {
    const int m = m0 + ROW_A(i), inside = ROW_A(i) < TILE_M && m < rows;
#ifdef PLAIN
    image[i] = inside ? m : -1;
#else
    // Beyond the last row nothing is met.
    image[i] = inside ? m / width / height * H * W : 0;
    y0[i] = inside ? m / width % height * stride + offsetY : -(1 << 29);
    x0[i] = inside ? m % width * stride + offsetX : 0;
#endif
  }
  int c = begin * TILE_K + COLUMN_A(0);
#ifndef PLAIN
  int r = 0, s = 0;
  if (depth > 0) {
    const int tap = c / C;
    c %= C;
    r = tap / tapColumns;
    s = tap % tapColumns;
  }
#endif
#endif

  vector sum[ITEM_M][COLUMNS];
#pragma unroll
  for (int i = 0; i < ITEM_M; i++) {
#pragma unroll
    for (int j = 0; j < COLUMNS; j++) sum[i][j] = 0;
  }
  load_a nextA[LOADS_A];
  load_b nextB[LOADS_B];

  // One turn more than there are slices: a turn puts down and multiplies what the turn before has loaded.
  for (int slice = begin; slice <= end; slice++) {
    local float *a = tileA + (slice & (BUFFERS - 1)) * SIZE_A, *b = tileB + (slice & (BUFFERS - 1)) * SIZE_B;
    if (slice > begin) {
#if BUFFERS == 1
      barrier(CLK_LOCAL_MEM_FENCE);
#endif
#pragma unroll
      for (int i = 0; i < LOADS_A; i++) {
        if (INDEX(i) < COUNT_A) *(local load_a *)(a + ROW_A(i) * PITCH_A + COLUMN_A(i)) = nextA[i];
      }
#pragma unroll
      for (int i = 0; i < LOADS_B; i++) {
        if (INDEX(i) < COUNT_B) *(local load_b *)(b + ROW_B(i) * TILE_N + COLUMN_B(i)) = nextB[i];
      }
      barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (slice < end) {
#pragma unroll
      for (int i = 0; i < LOADS_A; i++) {
        load_a value = 0;
#ifdef FILTER
        const int d = slice * TILE_K + ROW_A(i);
#ifdef PLAIN
        if (ROW_A(i) < TILE_K && d < depth && channel[i] >= 0) {
          value = ON_LOAD(*(global const load_a *)(left + (size_t)d * C + channel[i]), channel[i]);
        }
#else
        const int line = quotient(d, byWidth), n = quotient(line, byHeight);
        const int y = (line - n * outputHeight) * stride + tapY[i], x = (d - line * outputWidth) * stride + tapX[i];
        if (ROW_A(i) < TILE_K && d < depth && channel[i] >= 0 && y >= 0 && y < H && x >= 0 && x < W) {
          value = ON_LOAD(
              *(global const load_a *)(left + (size_t)((n * H + y) * W + x) * C + channel[i]), channel[i]);
        }
#endif
#elif defined(PLAIN)
        if (image[i] >= 0 && c < C) value = ON_LOAD(*(global const load_a *)(left + (size_t)image[i] * C + c), c);
#else
        const int y = y0[i] + r * spacing, x = x0[i] + s * spacing;
        if (r < tapRows && y >= 0 && y < H && x >= 0 && x < W) {
          value = ON_LOAD(*(global const load_a *)(left + (size_t)(image[i] + y * W + x) * C + c), c);
        }
#endif
        nextA[i] = value;
      }
#pragma unroll
      for (int i = 0; i < LOADS_B; i++) {
        load_b value = 0;
        const int d = slice * TILE_K + ROW_B(i), n = n0 + COLUMN_B(i);
        if (ROW_B(i) < TILE_K && d < depth && n < K) {
#if DIVISOR > 1
          const int tap = d / C;
          const int place =
              (firstY + tap / tapColumns * TAP_STEP) * kernelWidth + firstX + tap % tapColumns * TAP_STEP;
          value = *(global const load_b *)(right + ((size_t)place * C + d % C) * K + n);
#else
          value = *(global const load_b *)(right + (size_t)d * K + n);
#endif
        }
        nextB[i] = value;
      }
#ifndef FILTER
      c += TILE_K;
#ifndef PLAIN
      while (c >= C) {
        c -= C;
        if (++s == tapColumns) {
          s = 0;
          r++;
        }
      }
#endif
#endif
    }
    if (slice > begin) multiply(a, b, sum, tm, tn);
  }

#pragma unroll
  for (int i = 0; i < ITEM_M; i++) {
#ifdef FILTER
    const int m = m0 + (i / VW * GROUP_M + tm) * VW + i % VW;
#else
    const int m = m0 + tm + i * GROUP_M;
#endif
    if (m >= rows) continue;
#if DIVISOR > 1
    const int y = m / width % height * DIVISOR + classY, x = m % width * DIVISOR + classX;
    const size_t place = (size_t)(m / width / height * outputHeight + y) * outputWidth + x;
#else
    const size_t place = m;
#endif
#pragma unroll
    for (int j = 0; j < COLUMNS; j++) {
      const int n = n0 + (j * GROUP_N + tn) * VW;
      const size_t at = place * K + n;
#if WIDE_B
      if (n >= K) continue;
      vector result = sum[i][j];
      if (bias) result += LOAD(bias + n);
      if (residual) result += LOAD(residual + at);
      STORE(result, output + at);
#else
      float lanes[VW];
      STORE_LANES(sum[i][j], lanes);
      for (int lane = 0; lane < VW && n + lane < K; lane++) {
        float result = lanes[lane];
        if (bias) result += bias[n + lane];
        if (residual) result += residual[at + lane];
        output[at + lane] = result;
      }
#endif
    }
  }
}
