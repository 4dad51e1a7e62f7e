#include "cpu_kernels.h"
#include "cpu_vector.h"

// Float accumulators over this many rows lose nothing that matters; they are then added to doubles.
enum { BLOCK = 64 };

// Adds the sums of `panels` panels, which `at_once` rows have each, to the totals.
INLINE void add_lanes(const v16 *sums, int panels, int at_once, double *totals) {
  for (int p = 0; p < panels; p++) {
    v16 sum = sums[p];
    for (int i = 1; i < at_once; i++) sum += sums[i * panels + p];
    float lanes[16];
    v16_store(lanes, sum);
    for (int l = 0; l < 16; l++) totals[p * 16 + l] += lanes[l];
  }
}

// Sums over rows first..<last of the differences from `origin`, and of their squares, for `panels` x 16 channels, in
// registers: several rows at a time where there are few panels, so that additions don't wait for each other.
INLINE void moments_panels(const float *x, ptrdiff_t rows, ptrdiff_t channels, const float *origin, int panels,
                           int at_once, double *sum, double *squares) {
  v16 from[4];
  for (int p = 0; p < panels; p++) from[p] = v16_load(origin + p * 16);
  for (ptrdiff_t begin = 0; begin < rows; begin += BLOCK) {
    ptrdiff_t end = begin + BLOCK < rows ? begin + BLOCK : rows, r = begin;
    v16 first[4], second[4];
    for (int i = 0; i < 4; i++) first[i] = second[i] = v16_set(0);
    for (; r + at_once <= end; r += at_once)
      for (int i = 0; i < at_once; i++)
        for (int p = 0; p < panels; p++) {
          v16 d = v16_load(x + (r + i) * channels + p * 16) - from[p];
          first[i * panels + p] += d;
          second[i * panels + p] += d * d;
        }
    for (; r < end; r++)
      for (int p = 0; p < panels; p++) {
        v16 d = v16_load(x + r * channels + p * 16) - from[p];
        first[p] += d;
        second[p] += d * d;
      }
    add_lanes(first, panels, at_once, sum);
    add_lanes(second, panels, at_once, squares);
  }
}

// The difference from a mean of a few rows: squares about it don't cancel, and one pass does.
CLONES void pbe_channel_moments(const float *x, ptrdiff_t rows, ptrdiff_t channels, double *sum, double *deviation,
                                float *scratch) {
  float *origin = scratch;
  ptrdiff_t few = rows < 16 ? rows : 16, c = 0;
  for (ptrdiff_t i = 0; i < channels; i++) sum[i] = deviation[i] = origin[i] = 0;
  for (ptrdiff_t r = 0; r < few; r++)
    for (ptrdiff_t i = 0; i < channels; i++) origin[i] += x[r * channels + i];
  for (ptrdiff_t i = 0; i < channels; i++) origin[i] /= (float)few;
  for (; c + 64 <= channels; c += 64) moments_panels(x + c, rows, channels, origin + c, 4, 1, sum + c, deviation + c);
  for (; c + 32 <= channels; c += 32) moments_panels(x + c, rows, channels, origin + c, 2, 2, sum + c, deviation + c);
  for (; c + 16 <= channels; c += 16) moments_panels(x + c, rows, channels, origin + c, 1, 4, sum + c, deviation + c);
  for (; c < channels; c++)
    for (ptrdiff_t r = 0; r < rows; r++) {
      double d = x[r * channels + c] - origin[c];
      sum[c] += d;
      deviation[c] += d * d;
    }
  for (ptrdiff_t i = 0; i < channels; i++) {
    deviation[i] -= sum[i] * sum[i] / (double)rows;
    if (deviation[i] < 0) deviation[i] = 0;
    sum[i] += (double)origin[i] * (double)rows;
  }
}

typedef struct {
  const float *dy, *x, *scale, *shift, *mean, *inverse_deviation;
  float parameter;
  ptrdiff_t rows, channels;
} gradient_sums;

INLINE void gradient_panels(const gradient_sums *s, ptrdiff_t c, int panels, int at_once, int kind, double *sum_dz,
                            double *sum_dz_xhat) {
  v16 scale[4], shift[4], mean[4], inverse[4];
  for (int p = 0; p < panels; p++) {
    scale[p] = v16_load(s->scale + c + p * 16);
    shift[p] = v16_load(s->shift + c + p * 16);
    mean[p] = v16_load(s->mean + c + p * 16);
    inverse[p] = v16_load(s->inverse_deviation + c + p * 16);
  }
  for (ptrdiff_t begin = 0; begin < s->rows; begin += BLOCK) {
    ptrdiff_t end = begin + BLOCK < s->rows ? begin + BLOCK : s->rows;
    v16 first[4], second[4];
    for (int i = 0; i < 4; i++) first[i] = second[i] = v16_set(0);
    for (ptrdiff_t r = begin; r < end; r += at_once)
      for (int i = 0; i < at_once; i++) {
        if (r + i >= end) break;
        for (int p = 0; p < panels; p++) {
          ptrdiff_t at = (r + i) * s->channels + c + p * 16;
          v16 x = v16_load(s->x + at);
          v16 dz = v16_load(s->dy + at) * slope_16(scale[p] * x + shift[p], kind, s->parameter);
          first[i * panels + p] += dz;
          second[i * panels + p] += dz * ((x - mean[p]) * inverse[p]);
        }
      }
    add_lanes(first, panels, at_once, sum_dz);
    add_lanes(second, panels, at_once, sum_dz_xhat);
  }
}

INLINE void gradient_channels(const gradient_sums *s, int kind, double *sum_dz, double *sum_dz_xhat) {
  ptrdiff_t c = 0, channels = s->channels;
  for (; c + 64 <= channels; c += 64) gradient_panels(s, c, 4, 1, kind, sum_dz + c, sum_dz_xhat + c);
  for (; c + 32 <= channels; c += 32) gradient_panels(s, c, 2, 2, kind, sum_dz + c, sum_dz_xhat + c);
  for (; c + 16 <= channels; c += 16) gradient_panels(s, c, 1, 4, kind, sum_dz + c, sum_dz_xhat + c);
  for (; c < channels; c++)
    for (ptrdiff_t r = 0; r < s->rows; r++) {
      float x = s->x[r * channels + c];
      float dz = s->dy[r * channels + c] * activation_slope(kind, s->parameter, s->scale[c] * x + s->shift[c]);
      sum_dz[c] += dz;
      sum_dz_xhat[c] += dz * ((x - s->mean[c]) * s->inverse_deviation[c]);
    }
}

CLONES void pbe_batch_norm_sums(const float *dy, const float *x, const float *scale, const float *shift,
                                const float *mean, const float *inverse_deviation, int kind, float parameter,
                                ptrdiff_t rows, ptrdiff_t channels, double *sum_dz, double *sum_dz_xhat) {
  gradient_sums s = {dy, x, scale, shift, mean, inverse_deviation, parameter, rows, channels};
  for (ptrdiff_t c = 0; c < channels; c++) sum_dz[c] = sum_dz_xhat[c] = 0;
  FOR_ACTIVATION(kind, gradient_channels(&s, KIND, sum_dz, sum_dz_xhat));
}

CLONES void pbe_batch_norm_input_gradient(const float *dy, const float *x, const float *scale, const float *shift,
                                          const float *mean, const float *inverse_deviation, const float *mean_dz,
                                          const float *mean_dz_xhat, int kind, float parameter, float *dx,
                                          int accumulate, ptrdiff_t rows, ptrdiff_t channels) {
  FOR_ACTIVATION(
      kind, for (ptrdiff_t r = 0; r < rows; r++) {
        const float *g = dy + r * channels, *from = x + r * channels;
        float *to = dx + r * channels;
        if (accumulate)
          for (ptrdiff_t c = 0; c < channels; c++) {
            float dz = g[c] * activation_slope(KIND, parameter, scale[c] * from[c] + shift[c]);
            float xhat = (from[c] - mean[c]) * inverse_deviation[c];
            to[c] += scale[c] * (dz - mean_dz[c] - xhat * mean_dz_xhat[c]);
          }
        else
          for (ptrdiff_t c = 0; c < channels; c++) {
            float dz = g[c] * activation_slope(KIND, parameter, scale[c] * from[c] + shift[c]);
            float xhat = (from[c] - mean[c]) * inverse_deviation[c];
            to[c] = scale[c] * (dz - mean_dz[c] - xhat * mean_dz_xhat[c]);
          }
      });
}
