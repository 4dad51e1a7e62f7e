#include "cpu_kernels.h"
#include "cpu_vector.h"

// Copies `count` channel vectors with the prologue; `channel` is the first channel's position in scale and shift.
INLINE void load_channels(const float *from, float *to, ptrdiff_t pixels, ptrdiff_t channels, ptrdiff_t pitch,
                          const float *scale, const float *shift, int kind, float parameter) {
  for (ptrdiff_t p = 0; p < pixels; p++, from += pitch, to += channels) {
    if (scale)
      for (ptrdiff_t c = 0; c < channels; c++) to[c] = activate(kind, parameter, scale[c] * from[c] + shift[c]);
    else
      for (ptrdiff_t c = 0; c < channels; c++) to[c] = activate(kind, parameter, from[c]);
  }
}

CLONES void pbe_im2col(const float *x, const pbe_convolution_shape *s, const pbe_prologue *prologue, float *columns,
                       ptrdiff_t first, ptrdiff_t last) {
  const ptrdiff_t channels = s->group_channels, pitch = s->channels;
  const ptrdiff_t image = s->output_height * s->output_width;
  const float *scale = prologue->scale ? prologue->scale + s->first_channel : 0;
  const float *shift = prologue->shift ? prologue->shift + s->first_channel : 0;
  const int plain = !scale && prologue->kind == ACT_IDENTITY, whole = channels == pitch;
  float *to = columns;
  for (ptrdiff_t row = first; row < last; row++) {
    ptrdiff_t n = row / image, i = row % image / s->output_width, j = row % s->output_width;
    const float *picture = x + n * s->height * s->width * pitch + s->first_channel;
    for (ptrdiff_t r = 0; r < s->kernel_height; r++) {
      ptrdiff_t y = i * s->stride - s->padding + r * s->dilation, left = j * s->stride - s->padding;
      if (y < 0 || y >= s->height) {
        memset(to, 0, sizeof(float) * s->kernel_width * channels);
        to += s->kernel_width * channels;
        continue;
      }
      const float *line = picture + y * s->width * pitch;
      // Without dilation the taps inside the image are neighbours in memory: one run per kernel row.
      ptrdiff_t q = 0;
      while (q < s->kernel_width) {
        ptrdiff_t column = left + q * s->dilation, run = 1;
        if (column < 0 || column >= s->width) {
          memset(to, 0, sizeof(float) * channels);
        } else {
          if (s->dilation == 1) {
            ptrdiff_t inside = s->width - column, wanted = s->kernel_width - q;
            run = inside < wanted ? inside : wanted;
          }
          const float *from = line + column * pitch;
          if (plain && whole) {
            memcpy(to, from, sizeof(float) * run * channels);
          } else {
            FOR_ACTIVATION(prologue->kind, load_channels(from, to, run, channels, pitch, scale, shift, KIND,
                                                         prologue->parameter));
          }
        }
        to += run * channels;
        q += run;
      }
    }
  }
}

CLONES void pbe_col2im(const float *columns, const pbe_convolution_shape *s, float *dx, ptrdiff_t first,
                       ptrdiff_t last) {
  const ptrdiff_t channels = s->group_channels, pitch = s->channels;
  const ptrdiff_t image = s->output_height * s->output_width;
  const float *from = columns;
  for (ptrdiff_t row = first; row < last; row++) {
    ptrdiff_t n = row / image, i = row % image / s->output_width, j = row % s->output_width;
    float *picture = dx + n * s->height * s->width * pitch + s->first_channel;
    for (ptrdiff_t r = 0; r < s->kernel_height; r++) {
      ptrdiff_t y = i * s->stride - s->padding + r * s->dilation;
      for (ptrdiff_t q = 0; q < s->kernel_width; q++, from += channels) {
        ptrdiff_t column = j * s->stride - s->padding + q * s->dilation;
        if (y < 0 || y >= s->height || column < 0 || column >= s->width) continue;
        float *to = picture + (y * s->width + column) * pitch;
        for (ptrdiff_t c = 0; c < channels; c++) to[c] += from[c];
      }
    }
  }
}
