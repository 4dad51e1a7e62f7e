// The transforms of Winograd's F(4x4, 3x3): a 4x4 tile of a 3x3 convolution from 36 products instead of 144 (Lavin and
// Gray, "Fast algorithms for convolutional neural networks", CVPR 2016). The points are 0, +-A, +-B and infinity;
// A = 0.625 and B = 1.5 have half the rounding error of the textbook's 1 and 2. The products between the transforms are
// those of tiled.cl. Compiled after kernels.cl, whose vectors and activations it uses.
//
// Transformed images are (36, tile, channel), filters (36, input channel, output channel).

// VW is the number of channels per work-item. WINOGRAD_INPUT compiles the input's transform alone: it has variants.

#define PA 0.625f
#define PB 1.5f
#define A2 (PA * PA)
#define B2 (PB * PB)
#define A3 (PA * PA * PA)
#define B3 (PB * PB * PB)

// Each function transforms one row or column, with steps of `from` and `to` values.

// t = B^T d, six to six.
void input_1d(const vector *d, int from, vector *t, int to) {
  const vector d0 = d[0], d1 = d[from], d2 = d[2 * from], d3 = d[3 * from], d4 = d[4 * from], d5 = d[5 * from];
  const vector e1 = d4 - B2 * d2, o1 = PA * (d3 - B2 * d1);
  const vector e2 = d4 - A2 * d2, o2 = PB * (d3 - A2 * d1);
  t[0] = (A2 * B2) * d0 - (A2 + B2) * d2 + d4;
  t[to] = e1 + o1;
  t[2 * to] = e1 - o1;
  t[3 * to] = e2 + o2;
  t[4 * to] = e2 - o2;
  t[5 * to] = (A2 * B2) * d1 - (A2 + B2) * d3 + d5;
}

// y = A^T m, six to four.
void output_1d(const vector *m, int from, vector *y, int to) {
  const vector s1 = m[from] + m[2 * from], d1 = m[from] - m[2 * from];
  const vector s2 = m[3 * from] + m[4 * from], d2 = m[3 * from] - m[4 * from];
  y[0] = m[0] + s1 + s2;
  y[to] = PA * d1 + PB * d2;
  y[2 * to] = A2 * s1 + B2 * s2;
  y[3 * to] = A3 * d1 + B3 * d2 + m[5 * from];
}

// z = A y, four to six: the transpose of output_1d.
void output_gradient_1d(const vector *y, int from, vector *z, int to) {
  const vector y0 = y[0], y1 = y[from], y2 = y[2 * from], y3 = y[3 * from];
  const vector e1 = y0 + A2 * y2, o1 = PA * y1 + A3 * y3, e2 = y0 + B2 * y2, o2 = PB * y1 + B3 * y3;
  z[0] = y0;
  z[to] = e1 + o1;
  z[2 * to] = e1 - o1;
  z[3 * to] = e2 + o2;
  z[4 * to] = e2 - o2;
  z[5 * to] = y3;
}

#define N0 (1.0f / (A2 * B2))
#define NA (1.0f / (2.0f * A2 * (A2 - B2)))
#define NB (1.0f / (2.0f * B2 * (B2 - A2)))

// u = G g, three to six.
void filter_1d(const vector *g, int from, vector *u, int to) {
  const vector g0 = g[0], g1 = g[from], g2 = g[2 * from];
  const vector ea = g0 + A2 * g2, oa = PA * g1, eb = g0 + B2 * g2, ob = PB * g1;
  u[0] = N0 * g0;
  u[to] = NA * (ea + oa);
  u[2 * to] = NA * (ea - oa);
  u[3 * to] = NB * (eb + ob);
  u[4 * to] = NB * (eb - ob);
  u[5 * to] = g2;
}

// w = G^T s, six to three: the transpose of filter_1d.
void filter_gradient_1d(const vector *s, int from, vector *w, int to) {
  const vector pa = NA * (s[from] + s[2 * from]), ma = NA * (s[from] - s[2 * from]);
  const vector pb = NB * (s[3 * from] + s[4 * from]), mb = NB * (s[3 * from] - s[4 * from]);
  w[0] = N0 * s[0] + pa + pb;
  w[to] = PA * ma + PB * mb;
  w[2 * to] = A2 * pa + B2 * pb + s[5 * from];
}

// The work-item's tile: its image among all, its first row and column.
#define TILE_OF_ITEM                                                                              \
  const int c = get_global_id(0) * VW, tile = get_global_id(1);                                   \
  if (c >= C || tile >= images * tileRows * tileColumns) return;                                  \
  const int left = tile % tileColumns * 4, top = tile / tileColumns % tileRows * 4;               \
  const int image = firstImage + tile / tileColumns / tileRows;                                   \
  const size_t plane = (size_t)images * tileRows * tileColumns * C, place = (size_t)tile * C + c;

#ifdef WINOGRAD_INPUT

#if PROLOGUE == 2
#define AFFINE_ON_LOAD(x, c) (LOAD(scale + (c)) * (x) + LOAD(shift + (c)))
#else
#define AFFINE_ON_LOAD(x, c) (x)
#endif

vector activate_lanes(vector x, float parameter) {
#if PROLOGUE
  float lanes[VW];
  STORE_LANES(x, lanes);
#pragma unroll
  for (int lane = 0; lane < VW; lane++) lanes[lane] = activate(lanes[lane], ACTIVATION, parameter);
#if VW == 1
  x = lanes[0];
#else
  x = PASTE(vload, VW)(0, lanes);
#endif
#endif
  return x;
}

// The input's tiles: 6x6 pixels around each 4x4 of the output, after the prologue.
kernel void winograd_input(
    global const float *input, global const float *scale, global const float *shift, float parameter,
    global float *output, int firstImage, int images, int C, int H, int W, int tileRows, int tileColumns,
    int padding) {
  TILE_OF_ITEM
  vector t[36];
#pragma unroll
  for (int j = 0; j < 6; j++) {
    vector d[6];
    const int x = left - padding + j;
#pragma unroll
    for (int i = 0; i < 6; i++) {
      const int y = top - padding + i;
      d[i] = 0;
      if (y >= 0 && y < H && x >= 0 && x < W) {
        const vector value = LOAD(input + (size_t)((image * H + y) * W + x) * C + c);
        d[i] = activate_lanes(AFFINE_ON_LOAD(value, c), parameter);
      }
    }
    input_1d(d, 1, t + j, 6);
  }
#pragma unroll
  for (int i = 0; i < 6; i++) {
    vector r[6];
    input_1d(t + i * 6, 1, r, 1);
#pragma unroll
    for (int j = 0; j < 6; j++) STORE(r[j], output + (i * 6 + j) * plane + place);
  }
}

#else

// The output's pixels, H x W an image, from the products.
kernel void winograd_output(
    global const float *input, global const float *bias, global const float *residual, global float *output,
    int firstImage, int images, int C, int H, int W, int tileRows, int tileColumns) {
  TILE_OF_ITEM
  vector t[24];
#pragma unroll
  for (int j = 0; j < 6; j++) {
    vector d[6];
#pragma unroll
    for (int i = 0; i < 6; i++) d[i] = LOAD(input + (i * 6 + j) * plane + place);
    output_1d(d, 1, t + j, 6);
  }
  const vector addend = bias ? LOAD(bias + c) : (vector)0;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    vector r[4];
    output_1d(t + i * 6, 1, r, 1);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      if (top + i >= H || left + j >= W) continue;
      const size_t at = (size_t)((image * H + top + i) * W + left + j) * C + c;
      vector result = r[j] + addend;
      if (residual) result += LOAD(residual + at);
      STORE(result, output + at);
    }
  }
}

// The output gradient's tiles, from 4x4 pixels each.
kernel void winograd_output_gradient(
    global const float *input, global float *output, int firstImage, int images, int C, int H, int W, int tileRows,
    int tileColumns) {
  TILE_OF_ITEM
  vector t[24];
#pragma unroll
  for (int j = 0; j < 4; j++) {
    vector d[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      d[i] = 0;
      if (top + i < H && left + j < W) d[i] = LOAD(input + (size_t)((image * H + top + i) * W + left + j) * C + c);
    }
    output_gradient_1d(d, 1, t + j, 4);
  }
#pragma unroll
  for (int i = 0; i < 6; i++) {
    vector r[6];
    output_gradient_1d(t + i * 4, 1, r, 1);
#pragma unroll
    for (int j = 0; j < 6; j++) STORE(r[j], output + (i * 6 + j) * plane + place);
  }
}

#if VW == 1

// The filter (tap, row, column), transposed: the input gradient's, from (8 - tap, column, row).
kernel void winograd_filter(global const float *filter, global float *output, int rows, int columns, int transposed) {
  const int column = get_global_id(0), row = get_global_id(1);
  if (column >= columns || row >= rows) return;
  const size_t plane = (size_t)rows * columns, place = (size_t)row * columns + column;
  float g[9], t[18];
#pragma unroll
  for (int i = 0; i < 9; i++) {
    g[i] = transposed ? filter[(8 - i) * plane + (size_t)column * rows + row] : filter[i * plane + place];
  }
#pragma unroll
  for (int j = 0; j < 3; j++) filter_1d(g + j, 3, t + j, 3);
#pragma unroll
  for (int i = 0; i < 6; i++) {
    float r[6];
    filter_1d(t + i * 3, 1, r, 1);
#pragma unroll
    for (int j = 0; j < 6; j++) output[(i * 6 + j) * plane + place] = r[j];
  }
}

// The filter's gradient (tap, place) from the products.
kernel void winograd_filter_gradient(global const float *input, global float *gradient, int plane) {
  const int place = get_global_id(0);
  if (place >= plane) return;
  float t[18];
#pragma unroll
  for (int j = 0; j < 6; j++) {
    float d[6];
#pragma unroll
    for (int i = 0; i < 6; i++) d[i] = input[(size_t)(i * 6 + j) * plane + place];
    filter_gradient_1d(d, 1, t + j, 6);
  }
#pragma unroll
  for (int i = 0; i < 3; i++) {
    float r[3];
    filter_gradient_1d(t + i * 6, 1, r, 1);
#pragma unroll
    for (int j = 0; j < 3; j++) gradient[(size_t)(i * 3 + j) * plane + place] = r[j];
  }
}

#endif

#endif
