// Two-dimensional convolution, channels last, and its two gradients.

#include "engine.h"
#include "implicit_gemm_conv.h"

typedef struct {
  int n, h, wd, c, kh, kw, co, oh, ow, sh, sw, dh, dw, pt, pl, groups;
  epilogue_t epilogue;
  int *arguments, thread, threads;
} conv_t;

#define CONV_VALUES                                                                             \
  n, h, wd, c, kh, kw, co, oh, ow, sh, sw, dh, dw, pt, pl, groups, epilogue, arguments, thread, \
      threads

// The epilogue of a result matrix with `columns` columns at `out`.
static inline epilogue_args_t conv_epilogue(const conv_t *p, const float *out, int columns) {
  return (epilogue_args_t){p->epilogue, p->arguments, out, columns};
}

// One input channel for each output channel: conv_depthwise computes all groups at once.
static int is_depthwise(const conv_t *p) { return p->groups == p->c && p->c == p->co; }

// -- references: the loops over taps are outermost, so taps outside of x are skipped ------------

// Run `body` for each tap, image in [first, last), and output whose tap is inside of x. It uses the
// offsets of the first channel of the input pixel `in`, the output pixel `at` and the filter `tap`.
#define EACH_PIXEL_REFERENCE(p, first, last, body)                                             \
  for (int i = 0; i < (p).kh; i++)                                                             \
    for (int j = 0; j < (p).kw; j++)                                                           \
      for (int image = (first); image < (last); image++)                                       \
        for (int oy = 0; oy < (p).oh; oy++)                                                    \
          for (int ox = 0; ox < (p).ow; ox++) {                                                \
            int y = oy * (p).sh + i * (p).dh - (p).pt, xx = ox * (p).sw + j * (p).dw - (p).pl; \
            if (y < 0 || y >= (p).h || xx < 0 || xx >= (p).wd) continue;                       \
            int in = ((image * (p).h + y) * (p).wd + xx) * (p).c;                              \
            int at = ((image * (p).oh + oy) * (p).ow + ox) * (p).co;                           \
            int tap = (i * (p).kw + j) * ((p).c / (p).groups) * (p).co;                        \
            body                                                                               \
          }

// Run `body` for each pair of connected channels: `ci` of x, `cf` of the filter, `o` of the output.
#define EACH_CHANNEL_REFERENCE(p, body)                               \
  for (int o = 0; o < (p).co; o++)                                    \
    for (int cf = 0; cf < (p).c / (p).groups; cf++) {                 \
      int ci = o / ((p).co / (p).groups) * ((p).c / (p).groups) + cf; \
      body                                                            \
    }

static void partition_images(const conv_t *p, int *first, int *last) {
  *first = partition_begin(p->n, p->thread, p->threads);
  *last = partition_begin(p->n, p->thread + 1, p->threads);
}

void conv2d_reference(const float *x, const float *w, float *out, CONV_PARAMS) {
  conv_t p = {CONV_VALUES};
  int first, last, size = oh * ow * co;
  partition_images(&p, &first, &last);
  fill_zero(out + first * size, (last - first) * size);
  EACH_PIXEL_REFERENCE(p, first, last, EACH_CHANNEL_REFERENCE(p, {
    out[at + o] += x[in + ci] * w[tap + cf * co + o];
  }))
  const epilogue_args_t epilogue_args = conv_epilogue(&p, out, co);
  run_epilogue(&epilogue_args, out + first * size, (last - first) * oh * ow, co);
}

void conv2d_input_grad_reference(const float *g, const float *w, float *dx, CONV_PARAMS) {
  conv_t p = {CONV_VALUES};
  int first, last, size = h * wd * c;
  partition_images(&p, &first, &last);
  fill_zero(dx + first * size, (last - first) * size);
  EACH_PIXEL_REFERENCE(p, first, last, EACH_CHANNEL_REFERENCE(p, {
    dx[in + ci] += g[at + o] * w[tap + cf * co + o];
  }))
  const epilogue_args_t epilogue_args = conv_epilogue(&p, dx, c);
  run_epilogue(&epilogue_args, dx + first * size, (last - first) * h * wd, c);
}

// Single-threaded, because all pixels contribute to the same small result.
void conv2d_filter_grad_reference(const float *x, const float *g, float *dw_, CONV_PARAMS) {
  conv_t p = {CONV_VALUES};
  if (thread) return;
  fill_zero(dw_, kh * kw * (c / groups) * co);
  EACH_PIXEL_REFERENCE(p, 0, n, EACH_CHANNEL_REFERENCE(p, {
    dw_[tap + cf * co + o] += x[in + ci] * g[at + o];
  }))
  const epilogue_args_t epilogue_args = conv_epilogue(&p, dw_, co);
  run_epilogue(&epilogue_args, dw_, kh * kw * (c / groups), co);
}

// -- lowering to a product of windows and filter ------------------------------------------------

static conv_windows_t forward_windows(const conv_t *p, const float *x, int group) {
  int channels = p->c / p->groups;
  return (conv_windows_t){
      .input = x, .n = p->n, .h = p->h, .w = p->wd, .c = p->c,
      .channel = group * channels, .channels = channels, .out_h = p->oh, .out_w = p->ow,
      .stride_y = p->sh, .stride_x = p->sw, .origin_y = -p->pt, .origin_x = -p->pl,
      .taps_y = p->kh, .taps_x = p->kw, .dilation_y = p->dh, .dilation_x = p->dw,
      .thread = p->thread, .threads = p->threads};
}

static void conv_windows(const conv_t *p, const conv_windows_t *v, const filter_view_t *f,
                         const output_view_t *out) {
  if (is_depthwise(p))
    conv_depthwise(v, f, out);
  else
    conv_dense(v, f, out);
}

// Whether a window fits into the offset tables or the planes in the scratch.
static int window_fits(const conv_t *p, const conv_windows_t *v) {
  return is_depthwise(p) ? depthwise_fits(v) : v->channels <= MAX_CHANNELS;
}

// A 1 x 1 filter without strides or padding: a matrix product of pixels x channels.
static int is_pointwise(const conv_t *p) {
  return p->kh == 1 && p->kw == 1 && p->sh == 1 && p->sw == 1 && p->pt == 0 && p->pl == 0 &&
         p->oh == p->h && p->ow == p->wd && p->groups == 1;
}

static int group_count(const conv_t *p) { return is_depthwise(p) ? 1 : p->groups; }

void conv2d(const float *x, const float *w, float *out, CONV_PARAMS) {
  conv_t p = {CONV_VALUES};
  conv_windows_t v = forward_windows(&p, x, 0);
  if (is_pointwise(&p)) {
    gemm(x, w, out, 1, n * h * wd, co, c, 0, 0, 0, 0, epilogue, arguments, thread, threads);
    return;
  }
  if (!window_fits(&p, &v)) {
    conv2d_reference(x, w, out, CONV_VALUES);
    return;
  }
  for (int group = 0; group < group_count(&p); group++) {
    int columns = co / groups, first = group * columns;
    v = forward_windows(&p, x, group);
    filter_view_t filter = {w + first, columns, co, kw * v.channels * co, v.channels * co, 0};
    output_view_t view = {out + first, oh * ow * co, ow * co, co, conv_epilogue(&p, out, co)};
    conv_windows(&p, &v, &filter, &view);
  }
}

void conv2d_filter_grad(const float *x, const float *g, float *dw_, CONV_PARAMS) {
  conv_t p = {CONV_VALUES};
  const epilogue_args_t epilogue_args = conv_epilogue(&p, dw_, co);
  conv_windows_t v = forward_windows(&p, x, 0);
  if (is_pointwise(&p)) {
    gemm(x, g, dw_, 1, c, co, n * h * wd, 1, 0, 0, 0, epilogue, arguments, thread, threads);
  } else if (!window_fits(&p, &v) || (!is_depthwise(&p) && !conv_padding_fits(&v))) {
    conv2d_filter_grad_reference(x, g, dw_, CONV_VALUES);
  } else if (is_depthwise(&p)) {
    conv_depthwise_filter_grad(&v, g, dw_, &epilogue_args);
  } else {
    for (int group = 0; group < groups; group++) {
      int columns = co / groups, first = group * columns;
      v = forward_windows(&p, x, group);
      conv_dense_filter_grad(&v, g + first, columns, co, dw_ + first, &epilogue_args);
    }
  }
}

// The gradient of the input is a convolution of g with the reversed filter. With stride s, a tap
// contributes only to every s-th pixel of dx. The pixels that are congruent modulo s form a phase,
// which is a convolution with every period-th tap.
typedef struct {
  int first, count;       // pixels of dx: first, first + s, ...
  int tap, taps, period;  // taps: tap, tap + period, ...
  int origin, dilation;   // pixel of g for the first pixel and the last tap; distance between taps
} phase_t;

static int gcd(int a, int b) { return b ? gcd(b, a % b) : a; }

static phase_t phase_of(int phase, int size, int stride, int taps, int dilation, int padding) {
  phase_t v = {.period = stride / gcd(stride, dilation)};
  v.first = ((phase - padding) % stride + stride) % stride;
  v.count = v.first < size ? ceil_div(size - v.first, stride) : 0;
  while (v.tap < taps && v.tap * dilation % stride != phase) v.tap++;
  v.taps = ceil_div(taps - v.tap, v.period);
  v.dilation = v.period * dilation / stride;
  v.origin = (v.first + padding - v.tap * dilation) / stride - (v.taps - 1) * v.dilation;
  return v;
}

static conv_windows_t backward_windows(const conv_t *p, const float *g, int group, phase_t y,
                                       phase_t x) {
  int channels = p->co / p->groups;
  return (conv_windows_t){
      .input = g, .n = p->n, .h = p->oh, .w = p->ow, .c = p->co,
      .channel = group * channels, .channels = channels, .out_h = y.count, .out_w = x.count,
      .stride_y = 1, .stride_x = 1, .origin_y = y.origin, .origin_x = x.origin,
      .taps_y = y.taps, .taps_x = x.taps, .dilation_y = y.dilation, .dilation_x = x.dilation,
      .thread = p->thread, .threads = p->threads};
}

static void input_grad_phase(const conv_t *p, const float *g, const float *w, float *dx, int group,
                             phase_t y, phase_t x) {
  int columns = p->c / p->groups, tap_size = columns * p->co;
  conv_windows_t v = backward_windows(p, g, group, y, x);
  int last_y = y.tap + (y.taps - 1) * y.period, last_x = x.tap + (x.taps - 1) * x.period;
  filter_view_t filter = {w + (last_y * p->kw + last_x) * tap_size + v.channel, columns, p->co,
                          -y.period * p->kw * tap_size, -x.period * tap_size, 1};
  output_view_t out = {dx + (y.first * p->wd + x.first) * p->c + group * columns,
                       p->h * p->wd * p->c, p->sh * p->wd * p->c, p->sw * p->c,
                       conv_epilogue(p, dx, p->c)};
  conv_windows(p, &v, &filter, &out);
}

void conv2d_input_grad(const float *g, const float *w, float *dx, CONV_PARAMS) {
  conv_t p = {CONV_VALUES};
  conv_windows_t v = forward_windows(&p, dx, 0);
  if (is_pointwise(&p)) {
    gemm(g, w, dx, 1, n * h * wd, c, co, 0, 1, 0, 0, epilogue, arguments, thread, threads);
    return;
  }
  if (!window_fits(&p, &v) || co / groups > MAX_CHANNELS) {
    conv2d_input_grad_reference(g, w, dx, CONV_VALUES);
    return;
  }
  for (int y = 0; y < sh; y++)
    for (int x = 0; x < sw; x++)
      for (int group = 0; group < group_count(&p); group++)
        input_grad_phase(&p, g, w, dx, group, phase_of(y, h, sh, kh, dh, pt),
                         phase_of(x, wd, sw, kw, dw, pl));
}
