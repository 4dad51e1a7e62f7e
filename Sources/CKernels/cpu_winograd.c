// Winograd F(4x4, 3x3): a 4x4 tile of a 3x3 convolution from 36 products instead of 144 (Lavin and Gray, "Fast
// algorithms for convolutional neural networks", CVPR 2016). The points are 0, +-A, +-B and infinity; A = 0.625 and
// B = 1.5 have half the rounding error of the textbook's 1 and 2.
//
// The 36 matrices of each transform lie in panels of 16 columns (cpu_products.c), so that every access is one vector.
#include "cpu_kernels.h"
#include "cpu_vector.h"

#define PA 0.625f
#define PB 1.5f
#define A2 (PA * PA)
#define B2 (PB * PB)
#define A3 (PA * PA * PA)
#define B3 (PB * PB * PB)

// t = B^T d, six values with a step of `pitch` vectors.
INLINE void input_1d(const v16 *d, ptrdiff_t from, v16 *t, ptrdiff_t to) {
  v16 d0 = d[0], d1 = d[from], d2 = d[2 * from], d3 = d[3 * from], d4 = d[4 * from], d5 = d[5 * from];
  v16 e1 = d4 - B2 * d2, o1 = PA * (d3 - B2 * d1);
  v16 e2 = d4 - A2 * d2, o2 = PB * (d3 - A2 * d1);
  t[0] = (A2 * B2) * d0 - (A2 + B2) * d2 + d4;
  t[to] = e1 + o1;
  t[2 * to] = e1 - o1;
  t[3 * to] = e2 + o2;
  t[4 * to] = e2 - o2;
  t[5 * to] = (A2 * B2) * d1 - (A2 + B2) * d3 + d5;
}

// y = A^T m.
INLINE void output_1d(const v16 *m, ptrdiff_t from, v16 *y, ptrdiff_t to) {
  v16 s1 = m[from] + m[2 * from], d1 = m[from] - m[2 * from];
  v16 s2 = m[3 * from] + m[4 * from], d2 = m[3 * from] - m[4 * from];
  y[0] = m[0] + s1 + s2;
  y[to] = PA * d1 + PB * d2;
  y[2 * to] = A2 * s1 + B2 * s2;
  y[3 * to] = A3 * d1 + B3 * d2 + m[5 * from];
}

// z = A y: the transpose of output_1d.
INLINE void output_gradient_1d(const v16 *y, ptrdiff_t from, v16 *z, ptrdiff_t to) {
  v16 y0 = y[0], y1 = y[from], y2 = y[2 * from], y3 = y[3 * from];
  v16 e1 = y0 + A2 * y2, o1 = PA * y1 + A3 * y3, e2 = y0 + B2 * y2, o2 = PB * y1 + B3 * y3;
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

// u = G g, three values to six.
INLINE void filter_1d(const v16 *g, ptrdiff_t from, v16 *u, ptrdiff_t to) {
  v16 g0 = g[0], g1 = g[from], g2 = g[2 * from];
  v16 ea = g0 + A2 * g2, oa = PA * g1, eb = g0 + B2 * g2, ob = PB * g1;
  u[0] = N0 * g0;
  u[to] = NA * (ea + oa);
  u[2 * to] = NA * (ea - oa);
  u[3 * to] = NB * (eb + ob);
  u[4 * to] = NB * (eb - ob);
  u[5 * to] = g2;
}

CLONES void pbe_winograd_filter(const float *filter, float *u, ptrdiff_t inputs, ptrdiff_t outputs, int transposed,
                                ptrdiff_t first, ptrdiff_t last) {
  const ptrdiff_t plane = inputs * outputs, rows = transposed ? outputs : inputs;
  for (ptrdiff_t panel = first; panel < last; panel++)
    for (ptrdiff_t row = 0; row < rows; row++) {
      v16 g[9], t[18], r[36];
      for (int i = 0; i < 9; i++) {
        if (transposed) {
          // The input gradient's filter is turned by half, and its columns are the inputs.
          const float *from = filter + (8 - i) * plane + panel * 16 * outputs + row;
          float lanes[16];
          for (int l = 0; l < 16; l++) lanes[l] = from[l * outputs];
          g[i] = v16_load(lanes);
        } else {
          g[i] = v16_load(filter + i * plane + row * outputs + panel * 16);
        }
      }
      for (int j = 0; j < 3; j++) filter_1d(g + j, 3, t + j, 3);
      for (int i = 0; i < 6; i++) filter_1d(t + i * 3, 1, r + i * 6, 1);
      for (int xi = 0; xi < 36; xi++) v16_store(u + xi * plane + (panel * rows + row) * 16, r[xi]);
    }
}

INLINE v16 prologue_16(v16 x, const float *scale, const float *shift, int kind, float parameter) {
  if (scale) x = v16_load(scale) * x + v16_load(shift);
  float lanes[16];
  v16_store(lanes, x);
  for (int l = 0; l < 16; l++) lanes[l] = activate(kind, parameter, lanes[l]);
  return v16_load(lanes);
}

INLINE void input_tiles(const float *x, const pbe_winograd_shape *s, const float *scale, const float *shift, int kind,
                        float parameter, float *v, ptrdiff_t first, ptrdiff_t last) {
  const ptrdiff_t tiles = s->tile_rows * s->tile_columns, channels = s->channels;
  for (ptrdiff_t tile = first; tile < last; tile++) {
    ptrdiff_t n = tile / tiles, top = tile % tiles / s->tile_columns * 4 - 1, left = tile % s->tile_columns * 4 - 1;
    const float *picture = x + n * s->height * s->width * channels;
    ptrdiff_t row_first = top < 0 ? -top : 0, row_last = s->height - top < 6 ? s->height - top : 6;
    ptrdiff_t column_first = left < 0 ? -left : 0, column_last = s->width - left < 6 ? s->width - left : 6;
    int inside = row_first == 0 && row_last == 6 && column_first == 0 && column_last == 6;
    for (ptrdiff_t c = 0; c < channels; c += 16) {
      v16 d[36], t[36], r[36];
      const float *corner = picture + (top * s->width + left) * channels + c;
      const float *sc = scale ? scale + c : 0, *sh = shift ? shift + c : 0;
      if (inside) {
        for (int i = 0; i < 6; i++)
          for (int j = 0; j < 6; j++)
            d[i * 6 + j] = prologue_16(v16_load(corner + (i * s->width + j) * channels), sc, sh, kind, parameter);
      } else {
        for (ptrdiff_t i = 0; i < 6; i++)
          for (ptrdiff_t j = 0; j < 6; j++)
            d[i * 6 + j] = i >= row_first && i < row_last && j >= column_first && j < column_last
                               ? prologue_16(v16_load(corner + (i * s->width + j) * channels), sc, sh, kind, parameter)
                               : v16_set(0);
      }
      for (int j = 0; j < 6; j++) input_1d(d + j, 6, t + j, 6);
      for (int i = 0; i < 6; i++) input_1d(t + i * 6, 1, r + i * 6, 1);
      float *to = v + c * s->tiles + (tile - s->first) * 16;
      for (int xi = 0; xi < 36; xi++) v16_store(to + xi * s->stride, r[xi]);
    }
  }
}

CLONES void pbe_winograd_input(const float *x, const pbe_winograd_shape *shape, const pbe_prologue *prologue, float *v,
                               ptrdiff_t first, ptrdiff_t last) {
  FOR_ACTIVATION(prologue->kind, input_tiles(x, shape, prologue->scale, prologue->shift, KIND, prologue->parameter, v,
                                             first, last));
}

CLONES void pbe_winograd_output(const float *m, const pbe_winograd_shape *s, const float *bias, const float *residual,
                                int accumulate, float *y, ptrdiff_t first, ptrdiff_t last) {
  const ptrdiff_t tiles = s->tile_rows * s->tile_columns, channels = s->channels;
  for (ptrdiff_t tile = first; tile < last; tile++) {
    ptrdiff_t n = tile / tiles, top = tile % tiles / s->tile_columns * 4, left = tile % s->tile_columns * 4;
    ptrdiff_t rows = s->height - top < 4 ? s->height - top : 4, columns = s->width - left < 4 ? s->width - left : 4;
    ptrdiff_t corner = ((n * s->height + top) * s->width + left) * channels;
    for (ptrdiff_t c = 0; c < channels; c += 16) {
      v16 d[36], t[24], r[16];
      const float *from = m + c * s->tiles + (tile - s->first) * 16;
      for (int xi = 0; xi < 36; xi++) d[xi] = v16_load(from + xi * s->stride);
      for (int j = 0; j < 6; j++) output_1d(d + j, 6, t + j, 6);
      for (int i = 0; i < 4; i++) output_1d(t + i * 6, 1, r + i * 4, 1);
      v16 b = bias ? v16_load(bias + c) : v16_set(0);
      for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < columns; j++) {
          ptrdiff_t at = corner + (i * s->width + j) * channels + c;
          v16 value = r[i * 4 + j] + b;
          if (residual) value += v16_load(residual + at);
          if (accumulate) value += v16_load(y + at);
          v16_store(y + at, value);
        }
    }
  }
}

CLONES void pbe_winograd_output_gradient(const float *dy, const pbe_winograd_shape *s, float *z, ptrdiff_t first,
                                         ptrdiff_t last) {
  const ptrdiff_t tiles = s->tile_rows * s->tile_columns, channels = s->channels;
  for (ptrdiff_t tile = first; tile < last; tile++) {
    ptrdiff_t n = tile / tiles, top = tile % tiles / s->tile_columns * 4, left = tile % s->tile_columns * 4;
    ptrdiff_t rows = s->height - top < 4 ? s->height - top : 4, columns = s->width - left < 4 ? s->width - left : 4;
    const float *corner = dy + ((n * s->height + top) * s->width + left) * channels;
    for (ptrdiff_t c = 0; c < channels; c += 16) {
      v16 d[16], t[24], r[36];
      for (ptrdiff_t i = 0; i < 4; i++)
        for (ptrdiff_t j = 0; j < 4; j++)
          d[i * 4 + j] =
              i < rows && j < columns ? v16_load(corner + (i * s->width + j) * channels + c) : v16_set(0);
      for (int j = 0; j < 4; j++) output_gradient_1d(d + j, 4, t + j, 4);
      for (int i = 0; i < 6; i++) output_gradient_1d(t + i * 4, 1, r + i * 6, 1);
      float *to = z + c * s->tiles + (tile - s->first) * 16;
      for (int xi = 0; xi < 36; xi++) v16_store(to + xi * s->stride, r[xi]);
    }
  }
}

// w = G^T s: the transpose of FILTER_1D.
INLINE void filter_gradient_1d(const v16 *s, ptrdiff_t from, v16 *w, ptrdiff_t to) {
  v16 pa = NA * (s[from] + s[2 * from]), ma = NA * (s[from] - s[2 * from]);
  v16 pb = NB * (s[3 * from] + s[4 * from]), mb = NB * (s[3 * from] - s[4 * from]);
  w[0] = N0 * s[0] + pa + pb;
  w[to] = PA * ma + PB * mb;
  w[2 * to] = A2 * pa + B2 * pb + s[5 * from];
}

CLONES void pbe_winograd_filter_gradient(const float *s, float *gradient, ptrdiff_t inputs, ptrdiff_t outputs,
                                         ptrdiff_t first, ptrdiff_t last) {
  const ptrdiff_t plane = inputs * outputs;
  for (ptrdiff_t row = first; row < last; row++)
    for (ptrdiff_t panel = 0; panel < outputs / 16; panel++) {
      v16 d[36], t[18], r[9];
      for (int xi = 0; xi < 36; xi++) d[xi] = v16_load(s + xi * plane + (panel * inputs + row) * 16);
      for (int j = 0; j < 6; j++) filter_gradient_1d(d + j, 6, t + j, 6);
      for (int i = 0; i < 3; i++) filter_gradient_1d(t + i * 6, 1, r + i * 3, 1);
      for (int i = 0; i < 9; i++) v16_store(gradient + i * plane + row * outputs + panel * 16, r[i]);
    }
}
