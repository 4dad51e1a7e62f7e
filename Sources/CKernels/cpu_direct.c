// Convolutions as products that read the image where it lies: a patch is a few runs of neighbouring floats (a kernel
// row of a channels-last image is one run), so no patch matrix is ever written. Rows of a product are output pixels,
// found by a table of offsets; columns are in panels of 16 (cpu_products.c).
#include "cpu_kernels.h"
#include "cpu_vector.h"

// MARK: - Operands

INLINE void pad_rows(const float *x, const pbe_padding *p, const float *scale, const float *shift, int kind,
                     float parameter, float *to) {
  const ptrdiff_t channels = p->channels;
  for (ptrdiff_t i = 0; i < p->padded_height; i++) {
    ptrdiff_t y = i * p->step - p->top;
    const float *line = x + y * p->width * channels;
    for (ptrdiff_t j = 0; j < p->padded_width; j++, to += channels) {
      ptrdiff_t column = j * p->step - p->left;
      const float *from = line + column * channels;
      if (y < 0 || y >= p->height || column < 0 || column >= p->width)
        memset(to, 0, sizeof(float) * channels);
      else if (scale)
        for (ptrdiff_t c = 0; c < channels; c++) to[c] = activate(kind, parameter, scale[c] * from[c] + shift[c]);
      else
        for (ptrdiff_t c = 0; c < channels; c++) to[c] = activate(kind, parameter, from[c]);
    }
  }
}

CLONES void pbe_pad_image(const float *x, const pbe_padding *padding, const pbe_prologue *prologue, float *to) {
  FOR_ACTIVATION(prologue->kind,
                 pad_rows(x, padding, prologue->scale, prologue->shift, KIND, prologue->parameter, to));
}

void pbe_pack_panels(const float *b, ptrdiff_t rows, ptrdiff_t columns, float *to, ptrdiff_t first, ptrdiff_t last) {
  for (ptrdiff_t panel = first; panel < last; panel++) {
    ptrdiff_t width = columns - panel * 16 < 16 ? columns - panel * 16 : 16;
    for (ptrdiff_t row = 0; row < rows; row++) {
      float *out = to + (panel * rows + row) * 16;
      if (width == 16) {
        v16_store(out, v16_load(b + row * columns + panel * 16));
      } else {
        memset(out, 0, sizeof(float) * 16);
        memcpy(out, b + row * columns + panel * 16, sizeof(float) * width);
      }
    }
  }
}

void pbe_pack_transposed(const float *filter, const ptrdiff_t *taps, ptrdiff_t count, ptrdiff_t inputs,
                         ptrdiff_t outputs, float *to, ptrdiff_t first, ptrdiff_t last) {
  for (ptrdiff_t panel = first; panel < last; panel++) {
    ptrdiff_t width = inputs - panel * 16 < 16 ? inputs - panel * 16 : 16;
    for (ptrdiff_t t = 0; t < count; t++) {
      const float *from = filter + (taps[t] * inputs + panel * 16) * outputs;
      float *out = to + (panel * count + t) * outputs * 16;
      for (ptrdiff_t k = 0; k < outputs; k++, out += 16) {
        for (ptrdiff_t l = 0; l < width; l++) out[l] = from[l * outputs + k];
        for (ptrdiff_t l = width; l < 16; l++) out[l] = 0;
      }
    }
  }
}

// MARK: - Products

// The last columns of a pixel; apart, since it is rare.
static __attribute__((noinline)) void store_lanes(const pbe_direct *d, ptrdiff_t at, ptrdiff_t columns,
                                                  const float *lanes) {
  for (ptrdiff_t l = 0; l < columns; l++) d->c[at + l] = d->added ? lanes[l] + d->added[at + l] : lanes[l];
}

// Sixteen columns of one pixel, or as many as there are.
INLINE void store_pixel(const pbe_direct *d, ptrdiff_t at, ptrdiff_t columns, v16 value) {
  if (columns >= 16) {
    v16_store(d->c + at, d->added ? value + v16_load(d->added + at) : value);
    return;
  }
  float lanes[16];
  v16_store(lanes, value);
  store_lanes(d, at, columns, lanes);
}

// `height` pixels times `panels` panels, in registers.
INLINE void pixel_block(const pbe_direct *d, ptrdiff_t row, ptrdiff_t panel, int height, int panels) {
  const ptrdiff_t b_panel = d->runs * d->run_length * 16;
  const float *from[8], *b = d->b + panel * b_panel;
  v16 sum[8][2];
  for (int r = 0; r < height; r++) {
    from[r] = d->a + d->row_offsets[row + r];
    for (int p = 0; p < panels; p++) sum[r][p] = d->bias ? v16_load(d->bias + (panel + p) * 16) : v16_set(0);
  }
  for (ptrdiff_t run = 0; run < d->runs; run++) {
    ptrdiff_t begin = d->run_offsets[run], end = begin + d->run_length;
    for (ptrdiff_t k = begin; k < end; k++, b += 16) {
      v16 f[2];
      for (int p = 0; p < panels; p++) f[p] = v16_load(b + p * b_panel);
      for (int r = 0; r < height; r++) {
        v16 x = v16_set(from[r][k]);
        for (int p = 0; p < panels; p++) sum[r][p] += x * f[p];
      }
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < height; r++)
#pragma clang loop unroll(full)
    for (int p = 0; p < panels; p++)
      store_pixel(d, d->result_offsets[row + r] + (panel + p) * 16, d->columns - (panel + p) * 16, sum[r][p]);
}

// A pair of panels meets all pixels before the next does: the pixels stay in the second-level cache.
#define PIXELS(HEIGHT, panels) \
  do { \
    ptrdiff_t row = 0; \
    for (; row + (HEIGHT) <= d->rows; row += (HEIGHT)) pixel_block(d, row, panel, HEIGHT, panels); \
    for (; row + 4 <= d->rows; row += 4) pixel_block(d, row, panel, 4, panels); \
    for (; row < d->rows; row++) pixel_block(d, row, panel, 1, panels); \
  } while (0)

INLINE void direct_wide(const pbe_direct *d) {
  ptrdiff_t panel = 0, panels = (d->columns + 15) / 16;
  for (; panel + 2 <= panels; panel += 2) PIXELS(8, 2);
  for (; panel < panels; panel++) PIXELS(8, 1);
}

INLINE void direct_narrow(const pbe_direct *d) {
  for (ptrdiff_t panel = 0; panel < (d->columns + 15) / 16; panel++) PIXELS(6, 1);
}

// `height` rows of the gradient (neighbouring elements of a patch) times `panels` panels, over all pixels.
INLINE void gradient_block(const pbe_direct_gradient *d, ptrdiff_t row, ptrdiff_t panel, int height, int panels) {
  v16 sum[8][2];
  for (int r = 0; r < height; r++)
    for (int p = 0; p < panels; p++) sum[r][p] = v16_set(0);
  const float *g = d->dy + panel * 16;
  for (ptrdiff_t line = 0; line < d->lines; line++) {
    const float *from = d->a + d->line_offsets[line] + row;
    for (ptrdiff_t j = 0; j < d->line_pixels; j++, from += d->pixel_step, g += d->columns) {
      v16 f[2];
      for (int p = 0; p < panels; p++) f[p] = v16_load(g + p * 16);
      for (int r = 0; r < height; r++) {
        v16 x = v16_set(from[r]);
        for (int p = 0; p < panels; p++) sum[r][p] += x * f[p];
      }
    }
  }
  for (int r = 0; r < height; r++)
    for (int p = 0; p < panels; p++) {
      float *to = d->gradient + (row + r) * d->columns + (panel + p) * 16;
      v16_store(to, d->accumulate ? sum[r][p] + v16_load(to) : sum[r][p]);
    }
}

#define ELEMENTS(HEIGHT, panels) \
  do { \
    ptrdiff_t row = first; \
    for (; row + (HEIGHT) <= last; row += (HEIGHT)) gradient_block(d, row, panel, HEIGHT, panels); \
    for (; row + 4 <= last; row += 4) gradient_block(d, row, panel, 4, panels); \
    for (; row < last; row++) gradient_block(d, row, panel, 1, panels); \
  } while (0)

INLINE void gradient_wide(const pbe_direct_gradient *d, ptrdiff_t first, ptrdiff_t last) {
  ptrdiff_t panel = 0, panels = d->columns / 16;
  for (; panel + 2 <= panels; panel += 2) ELEMENTS(8, 2);
  for (; panel < panels; panel++) ELEMENTS(8, 1);
}

INLINE void gradient_narrow(const pbe_direct_gradient *d, ptrdiff_t first, ptrdiff_t last) {
  for (ptrdiff_t panel = 0; panel < d->columns / 16; panel++) ELEMENTS(6, 1);
}

// Few columns: sums over the depth in lanes, for `columns` columns of four pixels at a time. b is columns x depth.
INLINE void few_columns(const pbe_direct *d, int columns) {
  const ptrdiff_t depth = d->runs * d->run_length;
  for (ptrdiff_t row = 0; row < d->rows; row += 4) {
    const float *from[4], *b = d->b;
    v16 sum[4][4];
    for (int r = 0; r < 4; r++) {
      from[r] = d->a + d->row_offsets[row + r < d->rows ? row + r : d->rows - 1];
      for (int c = 0; c < columns; c++) sum[r][c] = v16_set(0);
    }
    for (ptrdiff_t run = 0; run < d->runs; run++) {
      ptrdiff_t begin = d->run_offsets[run], end = begin + d->run_length;
      for (ptrdiff_t k = begin; k < end; k += 16, b += 16)
        for (int r = 0; r < 4; r++) {
          v16 x = v16_load(from[r] + k);
          for (int c = 0; c < columns; c++) sum[r][c] += x * v16_load(b + c * depth);
        }
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < 4; r++) {
      if (row + r >= d->rows) break;
      ptrdiff_t at = d->result_offsets[row + r];
#pragma clang loop unroll(full)
      for (int c = 0; c < columns; c++) {
        float value = v16_sum(sum[r][c]) + (d->bias ? d->bias[c] : 0);
        d->c[at + c] = d->added ? value + d->added[at + c] : value;
      }
    }
  }
}

CLONES void pbe_direct_few_columns(const pbe_direct *d) {
  switch (d->columns) {
  case 1: return few_columns(d, 1);
  case 2: return few_columns(d, 2);
  case 3: return few_columns(d, 3);
  default: return few_columns(d, 4);
  }
}

#if defined(__x86_64__)
__attribute__((target("arch=x86-64-v4"))) static void direct_v4(const pbe_direct *d) { direct_wide(d); }
__attribute__((target("arch=x86-64-v3"))) static void direct_v3(const pbe_direct *d) { direct_narrow(d); }
__attribute__((target("arch=x86-64-v4"))) static void gradient_v4(const pbe_direct_gradient *d, ptrdiff_t first,
                                                                  ptrdiff_t last) {
  gradient_wide(d, first, last);
}
__attribute__((target("arch=x86-64-v3"))) static void gradient_v3(const pbe_direct_gradient *d, ptrdiff_t first,
                                                                  ptrdiff_t last) {
  gradient_narrow(d, first, last);
}
#endif

void pbe_direct_product(const pbe_direct *d) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("x86-64-v4")) return direct_v4(d);
  if (__builtin_cpu_supports("x86-64-v3")) return direct_v3(d);
#endif
  direct_narrow(d);
}

void pbe_direct_filter_gradient(const pbe_direct_gradient *d, ptrdiff_t first, ptrdiff_t last) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("x86-64-v4")) return gradient_v4(d, first, last);
  if (__builtin_cpu_supports("x86-64-v3")) return gradient_v3(d, first, last);
#endif
  gradient_narrow(d, first, last);
}
