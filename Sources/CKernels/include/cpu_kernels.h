// Vectorised CPU loops. Every function works on a range of rows, so that the caller deals them out to threads; images
// are channels-last (NHWC), filters RSCK. Pointers never alias unless said.
#pragma once
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

// MARK: - Elementwise

/// y = activation(scale * x + shift) for `rows` rows of `channels`; scale and shift may be null. y may be x.
void pbe_affine_activation(const float *x, const float *_Nullable scale, const float *_Nullable shift, int kind,
                           float parameter, float *y, ptrdiff_t rows, ptrdiff_t channels);
/// dx (+)= dy * activation'(scale * x + shift) * scale. dx may be dy.
void pbe_affine_activation_gradient(const float *dy, const float *x, const float *_Nullable scale,
                                    const float *_Nullable shift, int kind, float parameter, float *dx, int accumulate,
                                    ptrdiff_t rows, ptrdiff_t channels);
/// y = a + b; y may be either.
void pbe_add(const float *a, const float *b, float *y, ptrdiff_t count);
/// y = a * b; y may be either.
void pbe_multiply(const float *a, const float *b, float *y, ptrdiff_t count);
void pbe_add_bias(float *y, const float *bias, ptrdiff_t rows, ptrdiff_t channels);
/// The fused PGD step (see PGDStep).
void pbe_pgd_step(float *z, const float *origin, const float *gradient, float step, float epsilon, int clip,
                  ptrdiff_t count);
/// The same in the L2 ball, for one sample.
void pbe_pgd_step_l2(float *z, const float *origin, const float *gradient, float step, float epsilon, int clip,
                     ptrdiff_t count);
void pbe_sgd(float *p, const float *g, float *v, float rate, float momentum, float decay, int nesterov,
             ptrdiff_t count);
void pbe_adam(float *p, const float *g, float *m, float *v, float rate, float beta1, float beta2, float epsilon,
              float decay, uint32_t step, ptrdiff_t count);
/// The sum of (t g)^2, where t is p, or 1 where p is NULL.
double pbe_gradient_squares(const float *_Nullable p, const float *g, ptrdiff_t count);
/// saved = p; p += scale * t^2 * g.
void pbe_perturb_weights(float *p, const float *g, float *saved, float scale, int adaptive, ptrdiff_t count);
/// uint8 to float in [0, 1].
void pbe_convert_bytes(const uint8_t *x, float *y, ptrdiff_t count);
double pbe_sum(const float *x, ptrdiff_t count);

// MARK: - Normalisation

/// Sum, and sum of squared differences from the range's own mean, of `rows` rows; doubles of `channels` each.
void pbe_channel_moments(const float *x, ptrdiff_t rows, ptrdiff_t channels, double *sum, double *deviation,
                         float *scratch);
/// Sums of dz and dz * xhat over the range, as BatchNormParameterGradient; doubles of `channels` each.
void pbe_batch_norm_sums(const float *dy, const float *x, const float *scale, const float *shift, const float *mean,
                         const float *inverse_deviation, int kind, float parameter, ptrdiff_t rows, ptrdiff_t channels,
                         double *sum_dz, double *sum_dz_xhat);
/// dx (+)= scale * (dz - mean_dz - xhat * mean_dz_xhat); the two means are vectors. dx may be dy.
void pbe_batch_norm_input_gradient(const float *dy, const float *x, const float *scale, const float *shift,
                                   const float *mean, const float *inverse_deviation, const float *mean_dz,
                                   const float *mean_dz_xhat, int kind, float parameter, float *dx, int accumulate,
                                   ptrdiff_t rows, ptrdiff_t channels);

// MARK: - Convolution by matrix products

/// Everything about one convolution that im2col needs.
typedef struct {
  ptrdiff_t height, width, channels;            // of the input image
  ptrdiff_t output_height, output_width;        // of the output image
  ptrdiff_t kernel_height, kernel_width;
  ptrdiff_t stride, padding, dilation;
  ptrdiff_t first_channel, group_channels;      // the range of input channels of this group
} pbe_convolution_shape;

/// What happens on load: activation(scale * x + shift); scale and shift may be null.
typedef struct {
  const float *_Nullable scale;
  const float *_Nullable shift;
  int kind;
  float parameter;
} pbe_prologue;

/// Writes rows [first, last) of the patch matrix: one row per output pixel of the whole batch, its columns in the
/// order of the filter (kernel row, kernel column, channel).
void pbe_im2col(const float *x, const pbe_convolution_shape *shape, const pbe_prologue *prologue, float *columns,
                ptrdiff_t first, ptrdiff_t last);
/// Adds the rows [first, last) of the patch matrix's gradient to the image gradient; those rows' images must belong
/// to the caller alone.
void pbe_col2im(const float *columns, const pbe_convolution_shape *shape, float *dx, ptrdiff_t first, ptrdiff_t last);

// MARK: - Products of matrices in panels

// A matrix in panels of 16 columns: element (row, column) is at (column / 16 * rows + row) * 16 + column % 16.

/// c = a * b: a is rows x depth, b depth x columns, c rows x columns. All in panels.
void pbe_panel_product(const float *a, const float *b, float *c, ptrdiff_t rows, ptrdiff_t depth, ptrdiff_t columns);
/// c (+)= transpose(a) * b: a is depth x rows, b depth x columns, c rows x columns. All in panels.
void pbe_panel_product_transposed(const float *a, const float *b, float *c, ptrdiff_t rows, ptrdiff_t depth,
                                  ptrdiff_t columns, int accumulate);

// MARK: - Direct convolution: products that read images where they lie

/// An image inside another one that has zeros around it, or every `step`th of its pixels: pixel (i, j) of the padded
/// image is (i * step - top, j * step - left) of the image.
typedef struct {
  ptrdiff_t height, width, channels;
  ptrdiff_t top, left, padded_height, padded_width, step;
} pbe_padding;

/// Copies one image with the prologue into the padded one.
void pbe_pad_image(const float *x, const pbe_padding *padding, const pbe_prologue *prologue, float *to);
/// Copies panels [first, last) of a row-major matrix, rows x columns; a last panel that is not full gets zeros.
void pbe_pack_panels(const float *b, ptrdiff_t rows, ptrdiff_t columns, float *to, ptrdiff_t first, ptrdiff_t last);
/// Packs `count` taps of a filter [taps][inputs][outputs] as a matrix (count * outputs) x inputs, panels [first, last).
void pbe_pack_transposed(const float *filter, const ptrdiff_t *taps, ptrdiff_t count, ptrdiff_t inputs,
                         ptrdiff_t outputs, float *to, ptrdiff_t first, ptrdiff_t last);

/// c = patches(a) * b + bias + added: the patch of row r is `runs` runs of `run_length` floats, which begin at
/// a + row_offsets[r] + run_offsets[...]; b is in panels, bias is padded to whole panels. Row r of c, and of added
/// (which may be c), is at result_offsets[r].
typedef struct {
  const float *a;
  const ptrdiff_t *row_offsets;
  ptrdiff_t rows;
  const ptrdiff_t *run_offsets;
  ptrdiff_t runs, run_length;
  const float *b;
  ptrdiff_t columns;
  const float *_Nullable bias;
  const float *_Nullable added;
  float *c;
  const ptrdiff_t *result_offsets;
} pbe_direct;

void pbe_direct_product(const pbe_direct *d);
/// The same for at most four columns and runs of a multiple of 16 floats; b is columns x depth, row-major.
void pbe_direct_few_columns(const pbe_direct *d);

/// gradient (+)= transpose(patches) * dy for one run of the patches: pixel j of line l has its run at
/// a + line_offsets[l] + j * pixel_step; the rows of dy (of `columns`, a multiple of 16) follow each other.
typedef struct {
  const float *a;
  const ptrdiff_t *line_offsets;
  ptrdiff_t lines, line_pixels, pixel_step;
  const float *dy;
  ptrdiff_t columns;
  float *gradient;
  int accumulate;
} pbe_direct_gradient;

/// Handles the elements [first, last) of the run, each a row of `gradient`.
void pbe_direct_filter_gradient(const pbe_direct_gradient *d, ptrdiff_t first, ptrdiff_t last);

// MARK: - Winograd F(4x4, 3x3)

/// The image side of a 3x3 convolution with stride 1 and padding 1, cut into 4x4 tiles; channels are a multiple of 16.
/// A transform is 36 matrices of tiles x channels, in panels, for `tiles` tiles from `first` on.
typedef struct {
  ptrdiff_t height, width, channels;
  ptrdiff_t tile_rows, tile_columns;
  ptrdiff_t first, tiles;
  ptrdiff_t stride;                             // floats from one of the 36 matrices to the next
} pbe_winograd_shape;

/// u[36], inputs x outputs in panels, of a filter [3][3][inputs][outputs]; transposed: outputs x inputs, turned by half,
/// the input gradient's filter. Handles panels [first, last); with `streams`, around the cache.
void pbe_winograd_filter(const float *filter, float *u, ptrdiff_t inputs, ptrdiff_t outputs, int transposed,
                         int streams, ptrdiff_t first, ptrdiff_t last);
/// Transforms the input tiles [first, last) of the batch.
void pbe_winograd_input(const float *x, const pbe_winograd_shape *shape, const pbe_prologue *prologue, float *v,
                        ptrdiff_t first, ptrdiff_t last);
/// The output tiles [first, last) from their transform, plus bias and another image (which may be y); with `streams`
/// they go around the cache.
void pbe_winograd_output(const float *m, const pbe_winograd_shape *shape, const float *_Nullable bias,
                         const float *_Nullable added, int streams, float *y, ptrdiff_t first, ptrdiff_t last);
/// A gradient's way back through `activation(scale * x + shift)`: times the activation's slope there and the scale, plus
/// another image (which may be the result). All but x may be null.
typedef struct {
  const float *x;
  const float *_Nullable scale;
  const float *_Nullable shift;
  int kind;
  float parameter;
  const float *_Nullable sum;
} pbe_slope;

/// The same for a gradient: what the tiles and `added` sum up to passes through the slope.
void pbe_winograd_output_slope(const float *m, const pbe_winograd_shape *shape, const float *_Nullable added,
                               const pbe_slope *slope, int streams, float *y, ptrdiff_t first, ptrdiff_t last);
/// Transforms the output-gradient tiles [first, last): the filter gradient's other factor.
void pbe_winograd_output_gradient(const float *dy, const pbe_winograd_shape *shape, float *z, ptrdiff_t first,
                                  ptrdiff_t last);
/// The filter gradient [3][3][inputs][outputs] from sums s[36], inputs x outputs in panels, for inputs [first, last).
void pbe_winograd_filter_gradient(const float *s, float *gradient, ptrdiff_t inputs, ptrdiff_t outputs,
                                  ptrdiff_t first, ptrdiff_t last);

// MARK: - The machine's limits

/// Does multiply-adds in registers; returns how many FLOPs, and a number that keeps them from being optimised away.
double pbe_peak_flops(ptrdiff_t rounds, float *result);
/// y = a + b around the cache: three streams of memory. `y` is aligned to 64 bytes, the count a multiple of 16.
void pbe_stream_add(const float *a, const float *b, float *y, ptrdiff_t count);

// MARK: - Pooling and resampling, one image at a time

typedef struct {
  ptrdiff_t height, width, channels, output_height, output_width;
  ptrdiff_t kernel_height, kernel_width, stride, padding;
  int average;
} pbe_pool_shape;

void pbe_pool(const float *x, const pbe_pool_shape *shape, float *y);
/// Adds to dx.
void pbe_pool_gradient(const float *dy, const float *_Nullable x, const pbe_pool_shape *shape, float *dx);
void pbe_resize(const float *x, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, float *y,
                ptrdiff_t output_height, ptrdiff_t output_width, int bicubic, int align_corners);
/// Adds to dx.
void pbe_resize_gradient(const float *dy, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, float *dx,
                         ptrdiff_t output_height, ptrdiff_t output_width, int align_corners);
void pbe_grid_sample(const float *x, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, const float *field,
                     float *y, ptrdiff_t output_height, ptrdiff_t output_width);

/// The draws of Augment for one sample.
typedef struct {
  int shift_y, shift_x, flip, rotate;
  float cosine, sine;
} pbe_augmentation;

void pbe_augment(const float *x, const pbe_augmentation *draw, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels,
                 float *y);

// MARK: - Random numbers, one sample at a time (channels-last memory, draws by logical CHW position)

void pbe_dropout(const float *x, float *y, float rate, uint32_t sample, uint32_t epoch, uint32_t purpose,
                 uint64_t seed, ptrdiff_t pixels, ptrdiff_t channels);
void pbe_random_uniform(float *y, float low, float high, uint32_t sample, uint32_t epoch, uint32_t purpose,
                        uint64_t seed, ptrdiff_t pixels, ptrdiff_t channels);

// MARK: - Scores, one row at a time

/// The loss of one row, whose target gives `smoothing` to all classes alike and the rest to the label; its gradient
/// times `scale` when `gradient` is given; `correct` is set to whether the first largest logit is the label's.
float pbe_cross_entropy(const float *logits, ptrdiff_t classes, int32_t label, float smoothing, float scale,
                        float *_Nullable gradient, int *correct);
/// The loss of one row of a student that learns a teacher's answer and the label, and its gradient times `scale`.
float pbe_distillation(const float *logits, const float *teacher, ptrdiff_t classes, int32_t label, float temperature,
                       float label_share, float scale, float *gradient, int *correct);
int32_t pbe_arg_max(const float *x, ptrdiff_t count);
float pbe_agreement(const float *a, const float *b, ptrdiff_t count);

// MARK: - Triggers, one sample at a time

/// Blend (kind 0) or additive (kind 1) trigger; the mask has `maskChannels` = 1 or all channels. y may be x.
void pbe_apply_trigger(const float *x, const float *pattern, const float *mask, float *y, int kind, int clip,
                       ptrdiff_t pixels, ptrdiff_t channels, ptrdiff_t maskChannels);
/// dp (+)= mask * dy.
void pbe_apply_trigger_gradient(const float *dy, const float *mask, float *dp, int accumulate, ptrdiff_t pixels,
                                ptrdiff_t channels, ptrdiff_t maskChannels);
/// The root of the mean squared difference.
float pbe_rms_distance(const float *a, const float *b, ptrdiff_t count);
/// dy = forward * (y - next) + backward * (y - previous).
void pbe_diversity_gradient(const float *y, const float *next, const float *previous, float forward, float backward,
                            float *dy, ptrdiff_t count);

#pragma clang assume_nonnull end
