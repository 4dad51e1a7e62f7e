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

// t = B^T d, six values, `from` and `to` vectors apart.
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

// Transforms sixteen columns of one row, whose nine taps lie `tap_step` floats apart, the last first if turned.
INLINE void filter_row(const float *g, ptrdiff_t tap_step, int turned, float *to, ptrdiff_t plane, int streams) {
  v16 t[18];
  for (int j = 0; j < 3; j++) {
    v16 taps[3];
    for (int i = 0; i < 3; i++) taps[i] = v16_load(g + (turned ? 8 - i * 3 - j : i * 3 + j) * tap_step);
    filter_1d(taps, 1, t + j, 3);
  }
  for (int i = 0; i < 6; i++) {
    v16 r[6];
    filter_1d(t + i * 3, 1, r, 1);
    for (int j = 0; j < 6; j++) {
      if (streams) v16_stream(to + (i * 6 + j) * plane, r[j]);
      else v16_store(to + (i * 6 + j) * plane, r[j]);
    }
  }
}

INLINE void filter_panels(const float *filter, float *u, ptrdiff_t inputs, ptrdiff_t outputs, int transposed,
                          int streams, ptrdiff_t first, ptrdiff_t last) {
  const ptrdiff_t plane = inputs * outputs;
  for (ptrdiff_t panel = first; panel < last; panel++) {
    float *to = u + panel * (transposed ? outputs : inputs) * 16;
    if (!transposed) {
      for (ptrdiff_t row = 0; row < inputs; row++)
        filter_row(filter + row * outputs + panel * 16, plane, 0, to + row * 16, plane, streams);
      continue;
    }
    // The input gradient's filter is turned by half, and its columns are the inputs: sixteen by sixteen, through a
    // copy, since the columns of a wide filter all fall into the same few sets of the cache.
    for (ptrdiff_t row = 0; row < outputs; row += 16) {
      float block[9][16][16];
      for (int tap = 0; tap < 9; tap++)
        for (int l = 0; l < 16; l++) {
          float lanes[16];
          v16_store(lanes, v16_load(filter + tap * plane + (panel * 16 + l) * outputs + row));
          for (int k = 0; k < 16; k++) block[tap][k][l] = lanes[k];
        }
      for (int k = 0; k < 16; k++) filter_row(block[0][k], 256, 1, to + (row + k) * 16, plane, streams);
    }
  }
}

CLONES void pbe_winograd_filter(const float *filter, float *u, ptrdiff_t inputs, ptrdiff_t outputs, int transposed,
                                int streams, ptrdiff_t first, ptrdiff_t last) {
  if (streams) filter_panels(filter, u, inputs, outputs, transposed, 1, first, last);
  else filter_panels(filter, u, inputs, outputs, transposed, 0, first, last);
  if (streams) __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

INLINE v16 prologue_16(v16 x, v16 scale, v16 shift, int affine, int kind, float parameter) {
  if (affine) x = scale * x + shift;
  if (kind == ACT_IDENTITY) return x;
  float lanes[16];
  v16_store(lanes, x);
  for (int l = 0; l < 16; l++) lanes[l] = activate(kind, parameter, lanes[l]);
  return v16_load(lanes);
}

// Columns of tiles at a time: their vertical transforms stay in the first-level cache.
enum { SEGMENT = 8, SEGMENT_COLUMNS = SEGMENT * 4 + 2 };

// Vertical transforms of columns first..<last of six rows; rows outside the image are zero.
INLINE void input_columns(const float *const *row, const int *inside, ptrdiff_t first, ptrdiff_t last,
                          ptrdiff_t channels, ptrdiff_t ahead, v16 scale, v16 shift, int affine, int kind,
                          float parameter, v16 *t) {
  for (ptrdiff_t j = first; j < last; j++) {
    // The four rows that the next row of tiles adds.
    for (int i = 2; i < 6; i++) __builtin_prefetch(row[i] + ahead + j * channels, 0, 2);
    v16 d[6];
    for (int i = 0; i < 6; i++)
      d[i] = inside[i] ? prologue_16(v16_load(row[i] + j * channels), scale, shift, affine, kind, parameter)
                       : v16_set(0);
    input_1d(d, 1, t + j, SEGMENT_COLUMNS);
  }
}

// A row of tiles at a time: neighbours share the vertical transforms of their columns, and the prologue.
INLINE void input_rows(const float *x, const pbe_winograd_shape *s, const float *scale, const float *shift, int affine,
                       int kind, float parameter, float *v, ptrdiff_t first, ptrdiff_t last) {
  static const int everywhere[6] = {1, 1, 1, 1, 1, 1};
  const ptrdiff_t channels = s->channels, pitch = s->width * channels, step = s->stride / 16;
  v16 t[6 * SEGMENT_COLUMNS];
  for (ptrdiff_t tile = first; tile < last; tile += s->tile_columns) {
    ptrdiff_t n = tile / (s->tile_rows * s->tile_columns), top = tile / s->tile_columns % s->tile_rows * 4 - 1;
    int inside[6], whole = 1;
    for (int i = 0; i < 6; i++) whole &= inside[i] = top + i >= 0 && top + i < s->height;
    for (ptrdiff_t begin = 0; begin < s->tile_columns; begin += SEGMENT) {
      ptrdiff_t count = s->tile_columns - begin < SEGMENT ? s->tile_columns - begin : SEGMENT;
      ptrdiff_t left = begin * 4 - 1, from = left < 0 ? 1 : 0, columns = count * 4 + 2;
      ptrdiff_t to = s->width - left < columns ? s->width - left : columns;
      for (int i = 0; i < 6; i++) {
        for (ptrdiff_t j = 0; j < from; j++) t[i * SEGMENT_COLUMNS + j] = v16_set(0);
        for (ptrdiff_t j = to; j < columns; j++) t[i * SEGMENT_COLUMNS + j] = v16_set(0);
      }
      for (ptrdiff_t c = 0; c < channels; c += 16) {
        const float *row[6];
        for (int i = 0; i < 6; i++)
          row[i] = inside[i] ? x + (n * s->height + top + i) * pitch + left * channels + c : x;
        v16 factor = affine ? v16_load(scale + c) : v16_set(1), addend = affine ? v16_load(shift + c) : v16_set(0);
        if (whole) input_columns(row, everywhere, from, to, channels, 4 * pitch, factor, addend, affine, kind, parameter, t);
        else input_columns(row, inside, from, to, channels, 4 * pitch, factor, addend, affine, kind, parameter, t);
        v16 *out = (v16 *)(v + c * s->tiles + (tile + begin - s->first) * 16);
        for (ptrdiff_t i = 0; i < count; i++, out++)
          for (int k = 0; k < 6; k++) input_1d(t + k * SEGMENT_COLUMNS + i * 4, 1, out + k * 6 * step, step);
      }
    }
  }
}

CLONES void pbe_winograd_input(const float *x, const pbe_winograd_shape *shape, const pbe_prologue *prologue, float *v,
                               ptrdiff_t first, ptrdiff_t last) {
  if (prologue->scale)
    FOR_ACTIVATION(prologue->kind, input_rows(x, shape, prologue->scale, prologue->shift, 1, KIND,
                                              prologue->parameter, v, first, last))
  else
    FOR_ACTIVATION(prologue->kind, input_rows(x, shape, 0, 0, 0, KIND, prologue->parameter, v, first, last))
}

// Writes tiles; `added` is what each pixel is added to, if anything. Streamed pixels go around the cache. With a slope
// the result is a gradient that passes through an affine map and an activation on its way.
INLINE void output_tiles(const float *m, const pbe_winograd_shape *s, const float *bias, const float *added,
                         const pbe_slope *slope, int kind, int streams, float *y, ptrdiff_t first, ptrdiff_t last) {
  const ptrdiff_t tiles = s->tile_rows * s->tile_columns, channels = s->channels, step = s->stride / 16;
  for (ptrdiff_t tile = first; tile < last; tile++) {
    ptrdiff_t n = tile / tiles, top = tile % tiles / s->tile_columns * 4, left = tile % s->tile_columns * 4;
    ptrdiff_t rows = s->height - top < 4 ? s->height - top : 4, columns = s->width - left < 4 ? s->width - left : 4;
    ptrdiff_t corner = ((n * s->height + top) * s->width + left) * channels;
    for (ptrdiff_t c = 0; c < channels; c += 16) {
      v16 t[24];
      const v16 *d = (const v16 *)(m + c * s->tiles + (tile - s->first) * 16);
      for (int j = 0; j < 6; j++) output_1d(d + j * step, 6 * step, t + j, 6);
      v16 b = bias ? v16_load(bias + c) : v16_set(0);
      v16 scale = slope && slope->scale ? v16_load(slope->scale + c) : v16_set(1);
      v16 shift = slope && slope->shift ? v16_load(slope->shift + c) : v16_set(0);
      for (int i = 0; i < rows; i++) {
        v16 r[4];
        output_1d(t + i * 6, 1, r, 1);
        ptrdiff_t at = corner + i * s->width * channels + c;
        for (int j = 0; j < 4; j++, at += channels) {
          if (j >= columns) break;
          v16 value = r[j] + b;
          if (added) value += v16_load(added + at);
          if (slope) {
            // For the next tile of the row.
            __builtin_prefetch(slope->x + at + 4 * channels);
            value *= slope_16(scale * v16_load(slope->x + at) + shift, kind, slope->parameter) * scale;
            if (slope->sum) value += v16_load(slope->sum + at);
          }
          if (streams) v16_stream(y + at, value);
          else v16_store(y + at, value);
        }
      }
    }
  }
}

CLONES void pbe_winograd_output(const float *m, const pbe_winograd_shape *s, const float *bias, const float *added,
                                int streams, float *y, ptrdiff_t first, ptrdiff_t last) {
  if (added && streams) output_tiles(m, s, bias, added, 0, 0, 1, y, first, last);
  else if (added) output_tiles(m, s, bias, added, 0, 0, 0, y, first, last);
  else if (streams) output_tiles(m, s, bias, 0, 0, 0, 1, y, first, last);
  else output_tiles(m, s, bias, 0, 0, 0, 0, y, first, last);
  // Streamed stores are in no order until here.
  if (streams) __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

CLONES void pbe_winograd_output_slope(const float *m, const pbe_winograd_shape *s, const float *added,
                                      const pbe_slope *slope, int streams, float *y, ptrdiff_t first,
                                      ptrdiff_t last) {
  if (streams) FOR_ACTIVATION(slope->kind, output_tiles(m, s, 0, added, slope, KIND, 1, y, first, last))
  else FOR_ACTIVATION(slope->kind, output_tiles(m, s, 0, added, slope, KIND, 0, y, first, last))
  if (streams) __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

CLONES void pbe_winograd_output_gradient(const float *dy, const pbe_winograd_shape *s, float *z, ptrdiff_t first,
                                         ptrdiff_t last) {
  const ptrdiff_t tiles = s->tile_rows * s->tile_columns, channels = s->channels, step = s->stride / 16;
  for (ptrdiff_t tile = first; tile < last; tile++) {
    ptrdiff_t n = tile / tiles, top = tile % tiles / s->tile_columns * 4, left = tile % s->tile_columns * 4;
    ptrdiff_t rows = s->height - top < 4 ? s->height - top : 4, columns = s->width - left < 4 ? s->width - left : 4;
    const float *corner = dy + ((n * s->height + top) * s->width + left) * channels;
    for (ptrdiff_t c = 0; c < channels; c += 16) {
      v16 t[24];
      for (ptrdiff_t j = 0; j < 4; j++) {
        v16 d[4];
        for (ptrdiff_t i = 0; i < 4; i++)
          d[i] = i < rows && j < columns ? v16_load(corner + (i * s->width + j) * channels + c) : v16_set(0);
        output_gradient_1d(d, 1, t + j, 4);
      }
      v16 *to = (v16 *)(z + c * s->tiles + (tile - s->first) * 16);
      for (int i = 0; i < 6; i++) output_gradient_1d(t + i * 4, 1, to + i * 6 * step, step);
    }
  }
}

// w = G^T s: the transpose of filter_1d.
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
