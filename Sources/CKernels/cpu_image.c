#include "cpu_kernels.h"
#include "cpu_vector.h"

// Where an output looks: its first tap's place in the image, and the taps that meet the image.
typedef struct {
  ptrdiff_t top, left, first_row, end_row, first_column, end_column;
} window;

INLINE window pool_window(const pbe_pool_shape *s, ptrdiff_t i, ptrdiff_t j) {
  window w = {.top = i * s->stride - s->padding, .left = j * s->stride - s->padding};
  w.first_row = w.top < 0 ? -w.top : 0;
  w.first_column = w.left < 0 ? -w.left : 0;
  w.end_row = s->kernel_height < s->height - w.top ? s->kernel_height : s->height - w.top;
  w.end_column = s->kernel_width < s->width - w.left ? s->kernel_width : s->width - w.left;
  return w;
}

CLONES void pbe_pool(const float *x, const pbe_pool_shape *s, float *y) {
  const ptrdiff_t channels = s->channels;
  const float share = 1.0f / (float)(s->kernel_height * s->kernel_width);
  for (ptrdiff_t i = 0; i < s->output_height; i++)
    for (ptrdiff_t j = 0; j < s->output_width; j++, y += channels) {
      for (ptrdiff_t c = 0; c < channels; c++) y[c] = s->average ? 0 : -INFINITY;
      const window w = pool_window(s, i, j);
      for (ptrdiff_t r = w.first_row; r < w.end_row; r++)
        for (ptrdiff_t q = w.first_column; q < w.end_column; q++) {
          const float *from = x + ((w.top + r) * s->width + w.left + q) * channels;
          if (s->average)
            for (ptrdiff_t c = 0; c < channels; c++) y[c] += from[c];
          else  // What is no number stays.
            for (ptrdiff_t c = 0; c < channels; c++)
              y[c] = ((y[c] >= from[c]) | (y[c] != y[c])) ? y[c] : from[c];
        }
      if (s->average)
        for (ptrdiff_t c = 0; c < channels; c++) y[c] *= share;
    }
}

CLONES void pbe_pool_gradient(const float *dy, const float *x, const pbe_pool_shape *s, float *dx) {
  const ptrdiff_t channels = s->channels;
  const float share = 1.0f / (float)(s->kernel_height * s->kernel_width);
  for (ptrdiff_t i = 0; i < s->output_height; i++)
    for (ptrdiff_t j = 0; j < s->output_width; j++, dy += channels) {
      const window w = pool_window(s, i, j);
      if (s->average) {
        for (ptrdiff_t r = w.first_row; r < w.end_row; r++)
          for (ptrdiff_t q = w.first_column; q < w.end_column; q++) {
            float *to = dx + ((w.top + r) * s->width + w.left + q) * channels;
            for (ptrdiff_t c = 0; c < channels; c++) to[c] += share * dy[c];
          }
        continue;
      }
      // Where the largest pixel is, or the first that is no number, for several channels at once.
      enum { LANES = 64 };
      for (ptrdiff_t first = 0; first < channels; first += LANES) {
        const ptrdiff_t lanes = channels - first < LANES ? channels - first : LANES;
        float best[LANES];
        int32_t taps[LANES];
        for (ptrdiff_t c = 0; c < lanes; c++) best[c] = 0, taps[c] = -1;
        for (ptrdiff_t r = w.first_row; r < w.end_row; r++)
          for (ptrdiff_t q = w.first_column; q < w.end_column; q++) {
            const int32_t tap = (int32_t)(r * s->kernel_width + q);
            const float *from = x + ((w.top + r) * s->width + w.left + q) * channels + first;
            for (ptrdiff_t c = 0; c < lanes; c++) {
              const int larger =
                  (taps[c] < 0) | (((from[c] > best[c]) | (from[c] != from[c])) & (best[c] == best[c]));
              best[c] = larger ? from[c] : best[c];
              taps[c] = larger ? tap : taps[c];
            }
          }
        for (ptrdiff_t r = w.first_row; r < w.end_row; r++)
          for (ptrdiff_t q = w.first_column; q < w.end_column; q++) {
            const int32_t tap = (int32_t)(r * s->kernel_width + q);
            float *to = dx + ((w.top + r) * s->width + w.left + q) * channels + first;
            for (ptrdiff_t c = 0; c < lanes; c++) to[c] += taps[c] == tap ? dy[first + c] : 0.0f;
          }
      }
    }
}

// The source coordinate of an output coordinate.
INLINE float source_coordinate(ptrdiff_t i, ptrdiff_t from, ptrdiff_t to, int bicubic, int align_corners) {
  if (align_corners) return to > 1 ? (float)i * ((float)(from - 1) / (float)(to - 1)) : 0.0f;
  float at = ((float)i + 0.5f) * ((float)from / (float)to) - 0.5f;
  return at < 0 && !bicubic ? 0 : at;
}

INLINE float cubic(float x) {
  const float a = -0.75f;
  x = fabsf(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

INLINE ptrdiff_t clamp_index(ptrdiff_t i, ptrdiff_t count) { return i < 0 ? 0 : i >= count ? count - 1 : i; }

CLONES void pbe_resize(const float *x, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, float *y,
                       ptrdiff_t output_height, ptrdiff_t output_width, int bicubic, int align_corners) {
  const int taps = bicubic ? 4 : 2;
  for (ptrdiff_t i = 0; i < output_height; i++) {
    float at_y = source_coordinate(i, height, output_height, bicubic, align_corners);
    ptrdiff_t y0 = (ptrdiff_t)floorf(at_y);
    for (ptrdiff_t j = 0; j < output_width; j++, y += channels) {
      float at_x = source_coordinate(j, width, output_width, bicubic, align_corners);
      ptrdiff_t x0 = (ptrdiff_t)floorf(at_x);
      for (ptrdiff_t c = 0; c < channels; c++) y[c] = 0;
      for (int r = 0; r < taps; r++)
        for (int q = 0; q < taps; q++) {
          ptrdiff_t row = y0 + r - (bicubic ? 1 : 0), column = x0 + q - (bicubic ? 1 : 0);
          float fy = at_y - (float)row, fx = at_x - (float)column;
          float weight = bicubic ? cubic(fy) * cubic(fx) : (1 - fabsf(fy)) * (1 - fabsf(fx));
          const float *from = x + (clamp_index(row, height) * width + clamp_index(column, width)) * channels;
          for (ptrdiff_t c = 0; c < channels; c++) y[c] += weight * from[c];
        }
    }
  }
}

CLONES void pbe_resize_gradient(const float *dy, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, float *dx,
                                ptrdiff_t output_height, ptrdiff_t output_width, int align_corners) {
  for (ptrdiff_t i = 0; i < output_height; i++) {
    float at_y = source_coordinate(i, height, output_height, 0, align_corners);
    ptrdiff_t y0 = (ptrdiff_t)floorf(at_y);
    for (ptrdiff_t j = 0; j < output_width; j++, dy += channels) {
      float at_x = source_coordinate(j, width, output_width, 0, align_corners);
      ptrdiff_t x0 = (ptrdiff_t)floorf(at_x);
      for (int r = 0; r < 2; r++)
        for (int q = 0; q < 2; q++) {
          ptrdiff_t row = y0 + r, column = x0 + q;
          float weight = (1 - fabsf(at_y - (float)row)) * (1 - fabsf(at_x - (float)column));
          float *to = dx + (clamp_index(row, height) * width + clamp_index(column, width)) * channels;
          for (ptrdiff_t c = 0; c < channels; c++) to[c] += weight * dy[c];
        }
    }
  }
}

// Adds weight times the pixel at (row, column) of the shifted image, which is zero outside.
INLINE void add_pixel(const float *x, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, ptrdiff_t row,
                      ptrdiff_t column, ptrdiff_t shift_y, ptrdiff_t shift_x, float weight, float *y) {
  if (row < 0 || row >= height || column < 0 || column >= width) return;
  row += shift_y;
  column += shift_x;
  if (row < 0 || row >= height || column < 0 || column >= width) return;
  const float *from = x + (row * width + column) * channels;
  for (ptrdiff_t c = 0; c < channels; c++) y[c] += weight * from[c];
}

INLINE void sample_bilinear(const float *x, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, float at_y,
                            float at_x, ptrdiff_t shift_y, ptrdiff_t shift_x, float *y) {
  float fy = floorf(at_y), fx = floorf(at_x);
  ptrdiff_t row = (ptrdiff_t)fy, column = (ptrdiff_t)fx;
  float wy = at_y - fy, wx = at_x - fx;
  for (ptrdiff_t c = 0; c < channels; c++) y[c] = 0;
  add_pixel(x, height, width, channels, row, column, shift_y, shift_x, (1 - wy) * (1 - wx), y);
  add_pixel(x, height, width, channels, row, column + 1, shift_y, shift_x, (1 - wy) * wx, y);
  add_pixel(x, height, width, channels, row + 1, column, shift_y, shift_x, wy * (1 - wx), y);
  add_pixel(x, height, width, channels, row + 1, column + 1, shift_y, shift_x, wy * wx, y);
}

CLONES void pbe_grid_sample(const float *x, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, const float *field,
                            float *y, ptrdiff_t output_height, ptrdiff_t output_width) {
  for (ptrdiff_t p = 0; p < output_height * output_width; p++) {
    float at_x = (field[2 * p] + 1) * 0.5f * (float)(width - 1), at_y = (field[2 * p + 1] + 1) * 0.5f * (float)(height - 1);
    sample_bilinear(x, height, width, channels, at_y, at_x, 0, 0, y + p * channels);
  }
}

CLONES void pbe_augment(const float *x, const pbe_augmentation *draw, ptrdiff_t height, ptrdiff_t width,
                        ptrdiff_t channels, float *y) {
  float center_y = (float)(height - 1) * 0.5f, center_x = (float)(width - 1) * 0.5f;
  for (ptrdiff_t i = 0; i < height; i++)
    for (ptrdiff_t j = 0; j < width; j++, y += channels) {
      ptrdiff_t column = draw->flip ? width - 1 - j : j;
      if (draw->rotate) {
        float u = (float)column - center_x, v = (float)i - center_y;
        sample_bilinear(x, height, width, channels, center_y + draw->sine * u + draw->cosine * v,
                        center_x + draw->cosine * u - draw->sine * v, draw->shift_y, draw->shift_x, y);
      } else {
        for (ptrdiff_t c = 0; c < channels; c++) y[c] = 0;
        add_pixel(x, height, width, channels, i, column, draw->shift_y, draw->shift_x, 1, y);
      }
    }
}
