#include "cpu_kernels.h"
#include "cpu_vector.h"

// Float accumulators over this many rows lose nothing that matters; they are then added to doubles.
enum { BLOCK = 64 };

CLONES void pbe_channel_moments(const float *x, ptrdiff_t rows, ptrdiff_t channels, double *sum, double *deviation,
                                float *scratch) {
  float *mean = scratch, *part = scratch + channels;
  for (ptrdiff_t c = 0; c < channels; c++) sum[c] = deviation[c] = 0;
  for (ptrdiff_t begin = 0; begin < rows; begin += BLOCK) {
    ptrdiff_t end = begin + BLOCK < rows ? begin + BLOCK : rows;
    for (ptrdiff_t c = 0; c < channels; c++) part[c] = 0;
    for (ptrdiff_t r = begin; r < end; r++)
      for (ptrdiff_t c = 0; c < channels; c++) part[c] += x[r * channels + c];
    for (ptrdiff_t c = 0; c < channels; c++) sum[c] += part[c];
  }
  // The second pass reads what the first left in the cache: squares about the range's own mean don't cancel.
  for (ptrdiff_t c = 0; c < channels; c++) mean[c] = (float)(sum[c] / (double)rows);
  for (ptrdiff_t begin = 0; begin < rows; begin += BLOCK) {
    ptrdiff_t end = begin + BLOCK < rows ? begin + BLOCK : rows;
    for (ptrdiff_t c = 0; c < channels; c++) part[c] = 0;
    for (ptrdiff_t r = begin; r < end; r++)
      for (ptrdiff_t c = 0; c < channels; c++) {
        float d = x[r * channels + c] - mean[c];
        part[c] += d * d;
      }
    for (ptrdiff_t c = 0; c < channels; c++) deviation[c] += part[c];
  }
  // The float mean is off by its rounding: correct the squares for it.
  for (ptrdiff_t c = 0; c < channels; c++) {
    double slip = sum[c] / (double)rows - (double)mean[c];
    deviation[c] -= slip * slip * (double)rows;
  }
}

CLONES void pbe_batch_norm_sums(const float *dy, const float *x, const float *scale, const float *shift,
                                const float *mean, const float *inverse_deviation, int kind, float parameter,
                                ptrdiff_t rows, ptrdiff_t channels, double *sum_dz, double *sum_dz_xhat,
                                float *scratch) {
  float *first = scratch, *second = scratch + channels;
  for (ptrdiff_t c = 0; c < channels; c++) sum_dz[c] = sum_dz_xhat[c] = 0;
  for (ptrdiff_t begin = 0; begin < rows; begin += BLOCK) {
    ptrdiff_t end = begin + BLOCK < rows ? begin + BLOCK : rows;
    for (ptrdiff_t c = 0; c < channels; c++) first[c] = second[c] = 0;
    FOR_ACTIVATION(
        kind, for (ptrdiff_t r = begin; r < end; r++) {
          const float *g = dy + r * channels, *from = x + r * channels;
          for (ptrdiff_t c = 0; c < channels; c++) {
            float dz = g[c] * activation_slope(KIND, parameter, scale[c] * from[c] + shift[c]);
            first[c] += dz;
            second[c] += dz * ((from[c] - mean[c]) * inverse_deviation[c]);
          }
        });
    for (ptrdiff_t c = 0; c < channels; c++) {
      sum_dz[c] += first[c];
      sum_dz_xhat[c] += second[c];
    }
  }
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
