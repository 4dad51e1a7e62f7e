#include "cpu_kernels.h"
#include "cpu_vector.h"

CLONES void pbe_dropout(const float *x, float *y, float rate, uint32_t sample, uint32_t epoch, uint32_t purpose,
                        uint64_t seed, ptrdiff_t pixels, ptrdiff_t channels) {
  float keep = 1.0f / (1.0f - rate);
  philox_words words = {{0}};
  for (ptrdiff_t e = 0; e < pixels * channels; e++) {
    if (e % 4 == 0) words = philox((uint32_t)(e / 4), sample, epoch, purpose, seed);
    ptrdiff_t at = e % pixels * channels + e / pixels;
    y[at] = philox_uniform(words.w[e % 4]) >= rate ? x[at] * keep : 0.0f;
  }
}

CLONES void pbe_random_uniform(float *y, float low, float high, uint32_t sample, uint32_t epoch, uint32_t purpose,
                               uint64_t seed, ptrdiff_t pixels, ptrdiff_t channels) {
  philox_words words = {{0}};
  for (ptrdiff_t e = 0; e < pixels * channels; e++) {
    if (e % 4 == 0) words = philox((uint32_t)(e / 4), sample, epoch, purpose, seed);
    y[e % pixels * channels + e / pixels] = low + (high - low) * philox_uniform(words.w[e % 4]);
  }
}

float pbe_cross_entropy(const float *logits, ptrdiff_t classes, int32_t label, float smoothing, float scale,
                        float *gradient, int *correct) {
  int32_t best = pbe_arg_max(logits, classes);
  *correct = best == label;
  float largest = logits[best], sum = 0;
  for (ptrdiff_t c = 0; c < classes; c++) sum += expf(logits[c] - largest);
  float other = smoothing / (float)classes, right = 1.0f - smoothing + other;
  if (gradient)
    for (ptrdiff_t c = 0; c < classes; c++)
      gradient[c] = scale * (expf(logits[c] - largest) / sum - (c == label ? right : other));
  if (label < 0 || label >= classes) return NAN;
  float lead = logits[label] - largest;
  if (smoothing > 0) {
    float leads = 0;
    for (ptrdiff_t c = 0; c < classes; c++) leads += logits[c] - largest;
    lead += smoothing * (leads / (float)classes - lead);
  }
  return logf(sum) - lead;
}

float pbe_distillation(const float *logits, const float *teacher, ptrdiff_t classes, int32_t label, float temperature,
                       float label_share, float scale, float *gradient, int *correct) {
  float hard = pbe_cross_entropy(logits, classes, label, 0, label_share * scale, gradient, correct);
  float largest = logits[pbe_arg_max(logits, classes)], taught = teacher[pbe_arg_max(teacher, classes)];
  float sum = 0, sum_taught = 0;
  for (ptrdiff_t c = 0; c < classes; c++) {
    sum += expf((logits[c] - largest) / temperature);
    sum_taught += expf((teacher[c] - taught) / temperature);
  }
  float teaching = (1 - label_share) * temperature, divergence = logf(sum) - logf(sum_taught);
  for (ptrdiff_t c = 0; c < classes; c++) {
    float lead = (logits[c] - largest) / temperature, target = (teacher[c] - taught) / temperature;
    float p = expf(lead) / sum, q = expf(target) / sum_taught;
    divergence += q * (target - lead);
    gradient[c] += scale * (teaching * (p - q));
  }
  return teaching * temperature * divergence + label_share * hard;
}

int32_t pbe_arg_max(const float *x, ptrdiff_t count) {
  ptrdiff_t best = 0;
  for (ptrdiff_t i = 1; i < count; i++)
    if (x[i] > x[best]) best = i;
  return (int32_t)best;
}

float pbe_agreement(const float *a, const float *b, ptrdiff_t count) {
  double product = 0, aa = 0, bb = 0;
  for (ptrdiff_t i = 0; i < count; i++) {
    product += (double)a[i] * b[i];
    aa += (double)a[i] * a[i];
    bb += (double)b[i] * b[i];
  }
  return aa > 0 && bb > 0 && isfinite(aa) && isfinite(bb) ? (float)(0.5 + 0.5 * product / sqrt(aa * bb)) : 0.0f;
}
