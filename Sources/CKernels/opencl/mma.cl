// Matrix products on NVIDIA's tensor cores: convolutions, their input gradients, matrix products and filter gradients,
// with inputs rounded to TF32 or bfloat16 and sums in float32. Follows the text of kernels.cl, for `activate`.
//
// Memory holds float32 in the layouts of kernels.cl. A work-group computes a tile of TILE_M x TILE_N results. It
// brings TILE_K terms at a time into local memory, rounding them on the way, and its warps, of 32 work-items each,
// multiply from there. In local memory everything is a 32-bit word: one TF32 number, or two bfloat16 numbers that are
// neighbours in K. With that, both types have the same fragments: PTX ISA, "Matrix Fragments for mma.m16n8k8" (TF32)
// and "mma.m16n8k16" (bfloat16).
//
// MMA_EMULATED replaces each instruction by plain OpenCL C that exchanges the fragments through local memory, as the
// PTX ISA documents them: slow, and meant to check all indices on devices without tensor cores.
//
// The variants: MMA_CONVOLUTION the kernel `mma_convolution`, MMA_FILTER_GRADIENT the kernel `mma_filter_gradient`,
// MMA_PROBE the kernel `mma_probe`.

// MARK: - Tunables

#ifndef BF16
#define BF16 0  // 0: inputs are rounded to TF32; 1: to bfloat16
#endif
#ifndef TILE_M
#define TILE_M 64  // rows of a work-group's tile: pixels, or input channels of all taps
#endif
#ifndef TILE_N
#define TILE_N 64  // columns of a work-group's tile: output channels
#endif
#ifndef TILE_K
#define TILE_K 16  // words (one TF32 or two bfloat16 numbers) along K per round through local memory: a multiple of 8
#endif
#ifndef WARP_M
#define WARP_M 32  // rows of a warp's part of the tile: a multiple of 16
#endif
#ifndef WARP_N
#define WARP_N 32  // columns of a warp's part of the tile: a multiple of 8, with LDMATRIX of 16
#endif
#ifndef BUFFERS
#define BUFFERS 2  // 2: the next round is written while this one is read; 1: half the local memory, one more barrier
#endif
#ifndef LDMATRIX
#define LDMATRIX 0  // 1: a warp reads fragments that are contiguous in K with the instruction `ldmatrix`
#endif
#ifndef FILTER_TRANSPOSED
#define FILTER_TRANSPOSED 0  // `mma_convolution`: 1: the filter is (taps, K, C) and its taps are flipped
#endif

// MARK: - Sizes

#define WARP 32
#define PER_WORD (1 + BF16)
#define TERMS (TILE_K * PER_WORD)   // terms of the sums per round
#define STEP 8                      // words along K that one instruction takes
#define PARTS_M (WARP_M / 16)       // instructions that cover a warp's rows
#define PARTS_N (WARP_N / 8)        // and its columns
#define WARPS_N (TILE_N / WARP_N)
#define WARPS (TILE_M / WARP_M * WARPS_N)
#define GROUP (WARP * WARPS)

// A tile lies in local memory with K or with its rows (columns) as the fast index, as it comes from memory. The
// padding makes the 32 addresses of a fragment fall into 32 banks.
#define K_FAST (TILE_K + 4)
#define OUTER_FAST(extent) ((extent) + 8)
#if defined(MMA_FILTER_GRADIENT)
#define A_K_FAST 0
#define B_K_FAST 0
#else
#define A_K_FAST 1
#define B_K_FAST FILTER_TRANSPOSED
#endif
#if A_K_FAST
#define A_AT(row, word) ((row) * K_FAST + (word))
#define A_SIZE (TILE_M * K_FAST)
#else
#define A_AT(row, word) ((word) * OUTER_FAST(TILE_M) + (row))
#define A_SIZE (TILE_K * OUTER_FAST(TILE_M))
#endif
#if B_K_FAST
#define B_AT(word, column) ((column) * K_FAST + (word))
#define B_SIZE (TILE_N * K_FAST)
#else
#define B_AT(word, column) ((word) * OUTER_FAST(TILE_N) + (column))
#define B_SIZE (TILE_K * OUTER_FAST(TILE_N))
#endif

// Each round, a work-item brings so many vectors of four words; the last may be beyond the tile.
#define A_TOTAL (TILE_M * TILE_K / 4)
#define B_TOTAL (TILE_N * TILE_K / 4)
#define A_VECTORS ((A_TOTAL + GROUP - 1) / GROUP)
#define B_VECTORS ((B_TOTAL + GROUP - 1) / GROUP)
#define A_THERE(i) (A_TOTAL % GROUP == 0 || (i) * GROUP + lid < A_TOTAL)
#define B_THERE(i) (B_TOTAL % GROUP == 0 || (i) * GROUP + lid < B_TOTAL)

#ifdef MMA_EMULATED
#define UNROLL_LOOP
#define EXCHANGE (WARPS * 24 * STEP * PER_WORD)
#define DECLARE_EXCHANGE local uint exchange[EXCHANGE];
#define MY_EXCHANGE (exchange + get_local_id(0) / WARP * (24 * STEP * PER_WORD))
#else
#define UNROLL_LOOP _Pragma("unroll")
#define DECLARE_EXCHANGE
#define MY_EXCHANGE 0
#endif

// A function whose arrays must become registers.
#define INLINED static inline __attribute__((always_inline))

// MARK: - Rounding

#if BF16

// Two neighbours in K, the first in the low half; to nearest, ties to even.
INLINED uint round_pair(float first, float second) {
#ifdef MMA_EMULATED
  const uint2 bits = (uint2)(as_uint(first), as_uint(second));
  uint2 rounded = (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
  if (isnan(first)) rounded.x = 0x7FFF;
  if (isnan(second)) rounded.y = 0x7FFF;
  return rounded.x | rounded.y << 16;
#else
  uint word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
  return word;
#endif
}

#else

// To nearest, ties away from zero.
INLINED uint round_one(float x) {
#ifdef MMA_EMULATED
  return isnan(x) ? 0x7FFFFFFFu : (as_uint(x) + 0x1000u) & 0xFFFFE000u;
#else
  uint word;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(x));
  return word;
#endif
}

#endif

// Four words of a tile whose fast index is K: `v` are 4 * PER_WORD numbers along K.
INLINED uint4 words_along(const float4 *v) {
#if BF16
  return (uint4)(round_pair(v[0].x, v[0].y), round_pair(v[0].z, v[0].w), round_pair(v[1].x, v[1].y),
                 round_pair(v[1].z, v[1].w));
#else
  return (uint4)(round_one(v[0].x), round_one(v[0].y), round_one(v[0].z), round_one(v[0].w));
#endif
}

// Four words of a tile whose fast index is not K: `v` are PER_WORD vectors that are neighbours in K.
INLINED uint4 words_across(const float4 *v) {
#if BF16
  return (uint4)(round_pair(v[0].x, v[1].x), round_pair(v[0].y, v[1].y), round_pair(v[0].z, v[1].z),
                 round_pair(v[0].w, v[1].w));
#else
  return words_along(v);
#endif
}

// MARK: - The instructions

// sum += a * b for one tile of 16 x 8 results per warp: `a` are 16 x 8 words, `b` 8 x 8, as fragments.
INLINED void mma_tile(float *sum, const uint *a, const uint *b, local uint *exchange) {
#ifdef MMA_EMULATED
  const int lane = get_local_id(0) % WARP, group = lane >> 2, member = lane % 4, depth = STEP * PER_WORD;
  local float *left = (local float *)exchange, *right = left + 16 * depth;
  barrier(CLK_LOCAL_MEM_FENCE);
#if BF16
  for (int i = 0; i < 8; i++) {
    const int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
    const int column = i < 4 ? member * 2 + (i & 1) : member * 2 + (i & 1) + 8;
    left[row * depth + column] = as_float(i & 1 ? a[i / 2] & 0xFFFF0000u : a[i / 2] << 16);
  }
  for (int i = 0; i < 4; i++) {
    const int row = i < 2 ? member * 2 + (i & 1) : member * 2 + (i & 1) + 8;
    right[row * 8 + group] = as_float(i & 1 ? b[i / 2] & 0xFFFF0000u : b[i / 2] << 16);
  }
#else
  for (int i = 0; i < 4; i++) {
    const int row = i == 0 || i == 2 ? group : group + 8;
    const int column = i < 2 ? member : member + 4;
    left[row * depth + column] = as_float(a[i] & 0xFFFFE000u);
  }
  for (int i = 0; i < 2; i++) {
    const int row = i == 0 ? member : member + 4;
    right[row * 8 + group] = as_float(b[i] & 0xFFFFE000u);
  }
#endif
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int i = 0; i < 4; i++) {
    const int row = i < 2 ? group : group + 8, column = member * 2 + (i & 1);
    for (int k = 0; k < depth; k++) sum[i] += left[row * depth + k] * right[k * 8 + column];
  }
#elif BF16
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// Four matrices of 8 rows x 4 words: lane 8 * j + i gives the address of row i of matrix j, and gets of each matrix the
// word (lane % 4) of the row (lane / 4).
INLINED void load_matrices(uint *words, local const uint *row, local uint *exchange) {
#ifdef MMA_EMULATED
  const int lane = get_local_id(0) % WARP;
  // An address as its distance from this lane's exchange, which all lanes of a warp have in common.
  barrier(CLK_LOCAL_MEM_FENCE);
  exchange[lane] = (uint)(int)(row - (local const uint *)exchange);
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int j = 0; j < 4; j++) words[j] = exchange[(int)exchange[8 * j + lane / 4] + lane % 4];
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"((uint)(size_t)row)
               : "memory");
#endif
}

// MARK: - From local memory to sums

// Adds the product of a round to the warp's sums, `sum` (PARTS_M, PARTS_N, 4). `row` and `column` are the warp's first.
INLINED void multiply_round(
    float *sum, local const uint *a, local const uint *b, int row, int column, local uint *exchange) {
  const int lane = get_local_id(0) % WARP, group = lane / 4, member = lane % 4;
  UNROLL_LOOP
  for (int word = 0; word < TILE_K; word += STEP) {
    uint left[PARTS_M][4], right[PARTS_N][2];
    UNROLL_LOOP
    for (int i = 0; i < PARTS_M; i++) {
#if LDMATRIX && A_K_FAST
      load_matrices(left[i], a + A_AT(row + 16 * i + lane % 16, word + lane / 16 * 4), exchange);
#else
      left[i][0] = a[A_AT(row + 16 * i + group, word + member)];
      left[i][1] = a[A_AT(row + 16 * i + group + 8, word + member)];
      left[i][2] = a[A_AT(row + 16 * i + group, word + member + 4)];
      left[i][3] = a[A_AT(row + 16 * i + group + 8, word + member + 4)];
#endif
    }
#if LDMATRIX && B_K_FAST
    UNROLL_LOOP
    for (int j = 0; j < PARTS_N; j += 2) {
      load_matrices(
          right[j], b + B_AT(word + lane / 8 % 2 * 4, column + 8 * j + lane / 16 * 8 + lane % 8), exchange);
    }
#else
    UNROLL_LOOP
    for (int j = 0; j < PARTS_N; j++) {
      right[j][0] = b[B_AT(word + member, column + 8 * j + group)];
      right[j][1] = b[B_AT(word + member + 4, column + 8 * j + group)];
    }
#endif
    UNROLL_LOOP
    for (int i = 0; i < PARTS_M; i++) {
      UNROLL_LOOP
      for (int j = 0; j < PARTS_N; j++) mma_tile(sum + (i * PARTS_N + j) * 4, left[i], right[j], exchange);
    }
  }
}

// MARK: - Prologue

INLINED float4 on_load(float4 x, global const float *scale, global const float *shift, int c, float parameter) {
#if PROLOGUE == 2
  x = *(global const float4 *)(scale + c) * x + *(global const float4 *)(shift + c);
#endif
#if PROLOGUE
  x = (float4)(activate(x.x, ACTIVATION, parameter), activate(x.y, ACTIVATION, parameter),
               activate(x.z, ACTIVATION, parameter), activate(x.w, ACTIVATION, parameter));
#endif
  return x;
}

#if defined(MMA_CONVOLUTION)

// MARK: - Convolution

// Which taps of `count` meet the pixels of a class: those with offset + tap * dilation divisible by DIVISOR. Their
// first one, their distance and their number.
INLINED int3 meeting_taps(int count, int offset, int dilation) {
#if DIVISOR == 1
  return (int3)(0, 1, count);
#else
  int first = 0, distance = 1, number = 0;
  for (int tap = count - 1; tap >= 0; tap--) {
    if ((offset + tap * dilation) % DIVISOR != 0) continue;
    distance = number ? first - tap : 1;
    first = tap;
    number++;
  }
  return (int3)(first, distance, number);
#endif
}

// The operator of kernels.cl's `convolution`; C and K must be multiples of 4. Where it is an input gradient, DIVISOR is
// the forward stride: the output's pixels fall into DIVISOR^2 classes, by their remainders, that meet different taps,
// and a work-group takes pixels of one class.
//
// The first dimension runs over tiles, output channels first; the second over classes; the third over parts of the
// sum (`rounds` rounds each), which write one `output` after the other.
__attribute__((reqd_work_group_size(GROUP, 1, 1)))
kernel void mma_convolution(
    global const float *input, global const float *filter, global const float *scale, global const float *shift,
    float parameter, global const float *bias, global const float *residual, global float *output, int images, int C,
    int K, int H, int W, int outputHeight, int outputWidth, int kernelHeight, int kernelWidth, int padY, int padX,
    int stride, int dilation, int rounds) {
  local uint a[BUFFERS * A_SIZE] __attribute__((aligned(16)));
  local uint b[BUFFERS * B_SIZE] __attribute__((aligned(16)));
  DECLARE_EXCHANGE
  const int lid = get_local_id(0), lane = lid % WARP, warp = lid / WARP;
  const int warpRow = warp / WARPS_N * WARP_M, warpColumn = warp % WARPS_N * WARP_N;
  const int tilesN = (K + TILE_N - 1) / TILE_N;
  const int firstPixel = get_group_id(0) / tilesN * TILE_M, firstChannel = get_group_id(0) % tilesN * TILE_N;
  const int classY = get_group_id(1) / DIVISOR, classX = get_group_id(1) % DIVISOR;
  const int rows = (outputHeight - classY + DIVISOR - 1) / DIVISOR;
  const int columns = (outputWidth - classX + DIVISOR - 1) / DIVISOR;
  const int pixels = images * rows * columns;
  if (firstPixel >= pixels) return;

  // What each vector of the input's tile is, but for the tap and the first channel.
  int y0[A_VECTORS], x0[A_VECTORS], image[A_VECTORS];
  UNROLL_LOOP
  for (int i = 0; i < A_VECTORS; i++) {
    const int p = firstPixel + (i * GROUP + lid) / (TILE_K / 4);
    const int x = p % columns * DIVISOR + classX, y = p / columns % rows * DIVISOR + classY;
    image[i] = p / columns / rows * H * W;
    y0[i] = p < pixels ? y * stride - padY : -(1 << 29);
    x0[i] = x * stride - padX;
  }
  const int3 tapsY = meeting_taps(kernelHeight, classY - padY, dilation);
  const int3 tapsX = meeting_taps(kernelWidth, classX - padX, dilation);
  const int chunks = (C + TERMS - 1) / TERMS;
  const int begin = get_group_id(2) * rounds, end = min(begin + rounds, tapsY.z * tapsX.z * chunks);

  float4 nextA[A_VECTORS][PER_WORD], nextB[B_VECTORS][PER_WORD];
  int inside[A_VECTORS];
  int channel = 0;
  float sum[PARTS_M * PARTS_N * 4];
  UNROLL_LOOP
  for (int i = 0; i < PARTS_M * PARTS_N * 4; i++) sum[i] = 0;

  // While a round is multiplied, the next one is on its way from memory to registers.
  int buffer = 0;
  for (int now = begin - 1; now < end; now++) {
    const int next = now + 1;
    if (next < end) {
      const int tap = next / chunks;
      const int r = tapsY.x + tap / tapsX.z * tapsY.y, s = tapsX.x + tap % tapsX.z * tapsX.y;
      channel = next % chunks * TERMS;
      UNROLL_LOOP
      for (int i = 0; i < A_VECTORS; i++) {
        const int c = channel + (i * GROUP + lid) % (TILE_K / 4) * (4 * PER_WORD);
        const int y = y0[i] + r * dilation, x = x0[i] + s * dilation;
        inside[i] = A_THERE(i) && y >= 0 && x >= 0 && y / DIVISOR < H && x / DIVISOR < W;
        global const float *source = input + (size_t)(image[i] + y / DIVISOR * W + x / DIVISOR) * C + c;
        UNROLL_LOOP
        for (int j = 0; j < PER_WORD; j++) {
          nextA[i][j] = inside[i] && c + 4 * j < C ? *(global const float4 *)(source + 4 * j) : (float4)0;
        }
      }
      UNROLL_LOOP
      for (int i = 0; i < B_VECTORS; i++) {
#if FILTER_TRANSPOSED
        const int c = channel + (i * GROUP + lid) % (TILE_K / 4) * (4 * PER_WORD);
        const int k = firstChannel + (i * GROUP + lid) / (TILE_K / 4);
        const int flipped = (kernelHeight - 1 - r) * kernelWidth + kernelWidth - 1 - s;
        global const float *source = filter + (size_t)(flipped * K + k) * C + c;
        const int distance = 4, distanceInC = 4;
#else
        const int c = channel + (i * GROUP + lid) / (TILE_N / 4) * PER_WORD;
        const int k = firstChannel + (i * GROUP + lid) % (TILE_N / 4) * 4;
        global const float *source = filter + (size_t)((r * kernelWidth + s) * C + c) * K + k;
        const int distance = K, distanceInC = 1;
#endif
        UNROLL_LOOP
        for (int j = 0; j < PER_WORD; j++) {
          const int there = B_THERE(i) && k < K && c + j * distanceInC < C;
          nextB[i][j] = there ? *(global const float4 *)(source + (size_t)j * distance) : (float4)0;
        }
      }
    }

    if (now >= begin) {
      multiply_round(sum, a + buffer * A_SIZE, b + buffer * B_SIZE, warpRow, warpColumn, MY_EXCHANGE);
    }
#if BUFFERS == 1
    barrier(CLK_LOCAL_MEM_FENCE);
#else
    buffer ^= 1;
#endif

    if (next < end) {
      UNROLL_LOOP
      for (int i = 0; i < A_VECTORS; i++) {
        const int row = (i * GROUP + lid) / (TILE_K / 4), word = (i * GROUP + lid) % (TILE_K / 4) * 4;
        UNROLL_LOOP
        for (int j = 0; j < PER_WORD; j++) {
          const int c = channel + word * PER_WORD + 4 * j;
          if (inside[i] && c < C) nextA[i][j] = on_load(nextA[i][j], scale, shift, c, parameter);
        }
        if (A_THERE(i)) *(local uint4 *)(a + buffer * A_SIZE + A_AT(row, word)) = words_along(nextA[i]);
      }
      UNROLL_LOOP
      for (int i = 0; i < B_VECTORS; i++) {
#if FILTER_TRANSPOSED
        const int column = (i * GROUP + lid) / (TILE_K / 4), word = (i * GROUP + lid) % (TILE_K / 4) * 4;
        if (B_THERE(i)) *(local uint4 *)(b + buffer * B_SIZE + B_AT(word, column)) = words_along(nextB[i]);
#else
        const int word = (i * GROUP + lid) / (TILE_N / 4), column = (i * GROUP + lid) % (TILE_N / 4) * 4;
        if (B_THERE(i)) *(local uint4 *)(b + buffer * B_SIZE + B_AT(word, column)) = words_across(nextB[i]);
#endif
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }

  // The first part brings what is to be added.
  const int isFirst = get_group_id(2) == 0;
  output += (size_t)get_group_id(2) * images * outputHeight * outputWidth * K;
  UNROLL_LOOP
  for (int i = 0; i < 2 * PARTS_M; i++) {
    const int p = firstPixel + warpRow + 8 * i + lane / 4;
    if (p >= pixels) continue;
#if DIVISOR == 1
    const int place = p;
#else
    const int x = p % columns * DIVISOR + classX, y = p / columns % rows * DIVISOR + classY;
    const int place = (p / columns / rows * outputHeight + y) * outputWidth + x;
#endif
    UNROLL_LOOP
    for (int j = 0; j < PARTS_N; j++) {
      const int k = firstChannel + warpColumn + 8 * j + lane % 4 * 2;
      if (k >= K) continue;
      const size_t at = (size_t)place * K + k;
      const int first = (i / 2 * PARTS_N + j) * 4 + i % 2 * 2;
      float2 result = (float2)(sum[first], sum[first + 1]);
      if (isFirst && bias) result += *(global const float2 *)(bias + k);
      if (isFirst && residual) result += *(global const float2 *)(residual + at);
      *(global float2 *)(output + at) = result;
    }
  }
}

#elif defined(MMA_FILTER_GRADIENT)

// MARK: - Filter gradient

// The operator of kernels.cl's `filter_gradient`; C and K must be multiples of 4. A row of the product is an input
// channel of a tap, a term of its sums an output pixel. `height` and `width` stand for outputHeight and outputWidth.
//
// The first dimension runs over tiles, output channels first; the third over parts of the sum (`rounds` rounds each):
// `output` is (part, tap, c, k).
__attribute__((reqd_work_group_size(GROUP, 1, 1)))
kernel void mma_filter_gradient(
    global const float *input, global const float *outputGradient, global const float *scale,
    global const float *shift, float parameter, global float *output, int C, int K, int H, int W, int outputHeight,
    int outputWidth, uint2 height, uint2 width, int pixels, int taps, int kernelWidth, int stride, int padding,
    int dilation, int rounds) {
  local uint a[BUFFERS * A_SIZE] __attribute__((aligned(16)));
  local uint b[BUFFERS * B_SIZE] __attribute__((aligned(16)));
  DECLARE_EXCHANGE
  const int lid = get_local_id(0), lane = lid % WARP, warp = lid / WARP;
  const int warpRow = warp / WARPS_N * WARP_M, warpColumn = warp % WARPS_N * WARP_N;
  const int tilesN = (K + TILE_N - 1) / TILE_N;
  const int firstRow = get_group_id(0) / tilesN * TILE_M, firstChannel = get_group_id(0) % tilesN * TILE_N;
  const int begin = get_group_id(2) * rounds, end = min(begin + rounds, (pixels + TERMS - 1) / TERMS);

  // The tap and the channel of each vector of the input's tile.
  int dy[A_VECTORS], dx[A_VECTORS], channel[A_VECTORS];
  UNROLL_LOOP
  for (int i = 0; i < A_VECTORS; i++) {
    const int row = firstRow + (i * GROUP + lid) % (TILE_M / 4) * 4, tap = row / C;
    dy[i] = tap < taps ? tap / kernelWidth * dilation - padding : -(1 << 29);
    dx[i] = tap % kernelWidth * dilation - padding;
    channel[i] = row % C;
  }

  float4 nextA[A_VECTORS][PER_WORD], nextB[B_VECTORS][PER_WORD];
  float sum[PARTS_M * PARTS_N * 4];
  UNROLL_LOOP
  for (int i = 0; i < PARTS_M * PARTS_N * 4; i++) sum[i] = 0;
  int inside[A_VECTORS][PER_WORD];

  // While a round is multiplied, the next one is on its way from memory to registers.
  int buffer = 0;
  for (int now = begin - 1; now < end; now++) {
    const int next = now + 1;
    if (next < end) {
      UNROLL_LOOP
      for (int i = 0; i < A_VECTORS; i++) {
        UNROLL_LOOP
        for (int j = 0; j < PER_WORD; j++) {
          const int p = next * TERMS + (i * GROUP + lid) / (TILE_M / 4) * PER_WORD + j;
          const int line = quotient(p, width), n = quotient(line, height);
          const int y = (line - n * outputHeight) * stride + dy[i], x = (p - line * outputWidth) * stride + dx[i];
          inside[i][j] = A_THERE(i) && p < pixels && y >= 0 && x >= 0 && y < H && x < W;
          global const float *source = input + (size_t)((n * H + y) * W + x) * C + channel[i];
          nextA[i][j] = inside[i][j] ? *(global const float4 *)source : (float4)0;
        }
      }
      UNROLL_LOOP
      for (int i = 0; i < B_VECTORS; i++) {
        const int k = firstChannel + (i * GROUP + lid) % (TILE_N / 4) * 4;
        UNROLL_LOOP
        for (int j = 0; j < PER_WORD; j++) {
          const int p = next * TERMS + (i * GROUP + lid) / (TILE_N / 4) * PER_WORD + j;
          global const float *source = outputGradient + (size_t)p * K + k;
          nextB[i][j] = B_THERE(i) && p < pixels && k < K ? *(global const float4 *)source : (float4)0;
        }
      }
    }

    if (now >= begin) {
      multiply_round(sum, a + buffer * A_SIZE, b + buffer * B_SIZE, warpRow, warpColumn, MY_EXCHANGE);
    }
#if BUFFERS == 1
    barrier(CLK_LOCAL_MEM_FENCE);
#else
    buffer ^= 1;
#endif

    if (next < end) {
      UNROLL_LOOP
      for (int i = 0; i < A_VECTORS; i++) {
        const int word = (i * GROUP + lid) / (TILE_M / 4), row = (i * GROUP + lid) % (TILE_M / 4) * 4;
        UNROLL_LOOP
        for (int j = 0; j < PER_WORD; j++) {
          if (inside[i][j]) nextA[i][j] = on_load(nextA[i][j], scale, shift, channel[i], parameter);
        }
        if (A_THERE(i)) *(local uint4 *)(a + buffer * A_SIZE + A_AT(row, word)) = words_across(nextA[i]);
      }
      UNROLL_LOOP
      for (int i = 0; i < B_VECTORS; i++) {
        const int word = (i * GROUP + lid) / (TILE_N / 4), column = (i * GROUP + lid) % (TILE_N / 4) * 4;
        if (B_THERE(i)) *(local uint4 *)(b + buffer * B_SIZE + B_AT(word, column)) = words_across(nextB[i]);
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }

  output += (size_t)get_group_id(2) * taps * C * K;
  UNROLL_LOOP
  for (int i = 0; i < 2 * PARTS_M; i++) {
    const int row = firstRow + warpRow + 8 * i + lane / 4;
    if (row >= taps * C) continue;
    UNROLL_LOOP
    for (int j = 0; j < PARTS_N; j++) {
      const int k = firstChannel + warpColumn + 8 * j + lane % 4 * 2;
      const int first = (i / 2 * PARTS_N + j) * 4 + i % 2 * 2;
      if (k < K) *(global float2 *)(output + (size_t)row * K + k) = (float2)(sum[first], sum[first + 1]);
    }
  }
}

#elif defined(MMA_PROBE)

// MARK: - Probe

// One instruction of each kind that the kernels use: output (16, 8) = a (16, depth) * b (depth, 8), for one warp.
__attribute__((reqd_work_group_size(WARP, 1, 1)))
kernel void mma_probe(global const float *a, global const float *b, global float *output) {
  local uint left[16 * (STEP + 4)] __attribute__((aligned(16)));
  DECLARE_EXCHANGE
  const int lane = get_local_id(0), group = lane / 4, member = lane % 4;
  const int row = lane / 2, word = lane % 2 * 4;
  float4 v[PER_WORD];
  for (int j = 0; j < PER_WORD; j++) {
    v[j] = *(global const float4 *)(a + (row * STEP + word) * PER_WORD + 4 * j);
  }
  *(local uint4 *)(left + row * (STEP + 4) + word) = words_along(v);
  barrier(CLK_LOCAL_MEM_FENCE);
  uint x[4], y[2];
  load_matrices(x, left + lane % 16 * (STEP + 4) + lane / 16 * 4, MY_EXCHANGE);
  for (int i = 0; i < 2; i++) {
    global const float *source = b + (member + 4 * i) * PER_WORD * 8 + group;
    for (int j = 0; j < PER_WORD; j++) v[j] = source[8 * j];
    y[i] = words_across(v).x;
  }
  float sum[4] = {0, 0, 0, 0};
  mma_tile(sum, x, y, MY_EXCHANGE);
  for (int i = 0; i < 4; i++) output[(group + i / 2 * 8) * 8 + member * 2 + i % 2] = sum[i];
}

#endif
