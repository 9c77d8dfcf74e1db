// Two-dimensional convolution, channels last, and its two gradients.

#include "engine.h"
#include "windows.h"

typedef struct {
  int n, h, wd, c, kh, kw, co, oh, ow, sh, sw, dh, dw, pt, pl, groups;
  epilogue_t epilogue;
  int *arguments, thread, threads;
} conv_t;

#define CONV_VALUES \
  n, h, wd, c, kh, kw, co, oh, ow, sh, sw, dh, dw, pt, pl, groups, epilogue, arguments, thread, \
      threads

// What follows the convolution's output, whose pixels, or taps and channels, have `columns` floats.
static inline after_t after_conv(const conv_t *p, const float *out, int columns) {
  return (after_t){p->epilogue, p->arguments, out, columns};
}

// One input channel for each output channel: kernels/depthwise.c does these, all groups in one go.
static int is_depthwise(const conv_t *p) { return p->groups == p->c && p->c == p->co; }

// -- references: the filter's taps are the outer loops, so that inside means inside -------------

// body for each tap, image, and output whose tap lies inside of x. `in` and `at` are the offsets
// of the pixels' first channels, `tap` that of the filter's.
#define EACH_PIXEL_REF(p, first, last, body)                                               \
  for (int i = 0; i < (p).kh; i++)                                                         \
    for (int j = 0; j < (p).kw; j++)                                                       \
      for (int image = (first); image < (last); image++)                                   \
        for (int oy = 0; oy < (p).oh; oy++)                                                \
          for (int ox = 0; ox < (p).ow; ox++) {                                            \
            int y = oy * (p).sh + i * (p).dh - (p).pt, xx = ox * (p).sw + j * (p).dw - (p).pl; \
            if (y < 0 || y >= (p).h || xx < 0 || xx >= (p).wd) continue;                   \
            int in = ((image * (p).h + y) * (p).wd + xx) * (p).c;                          \
            int at = ((image * (p).oh + oy) * (p).ow + ox) * (p).co;                       \
            int tap = (i * (p).kw + j) * ((p).c / (p).groups) * (p).co;                    \
            body                                                                           \
          }

// body for each pair of connected channels: `ci` of x, `cf` of the filter, `o` of the output.
#define EACH_CHANNEL_REF(p, body)                                        \
  for (int o = 0; o < (p).co; o++)                                       \
    for (int cf = 0; cf < (p).c / (p).groups; cf++) {                    \
      int ci = o / ((p).co / (p).groups) * ((p).c / (p).groups) + cf;    \
      body                                                               \
    }

static void images_of(const conv_t *p, int *first, int *last) {
  *first = share(p->n, p->thread, p->threads);
  *last = share(p->n, p->thread + 1, p->threads);
}

void conv2d_ref(const float *x, const float *w, float *out, CONV_NUMBERS) {
  conv_t p = {CONV_VALUES};
  int first, last, size = oh * ow * co;
  images_of(&p, &first, &last);
  fill_zero(out + first * size, (last - first) * size);
  EACH_PIXEL_REF(p, first, last, EACH_CHANNEL_REF(p, {
    out[at + o] += x[in + ci] * w[tap + cf * co + o];
  }))
  const after_t after = after_conv(&p, out, co);
  finish(&after, out + first * size, (last - first) * oh * ow, co);
}

void conv2d_input_grad_ref(const float *g, const float *w, float *dx, CONV_NUMBERS) {
  conv_t p = {CONV_VALUES};
  int first, last, size = h * wd * c;
  images_of(&p, &first, &last);
  fill_zero(dx + first * size, (last - first) * size);
  EACH_PIXEL_REF(p, first, last, EACH_CHANNEL_REF(p, {
    dx[in + ci] += g[at + o] * w[tap + cf * co + o];
  }))
  const after_t after = after_conv(&p, dx, c);
  finish(&after, dx + first * size, (last - first) * h * wd, c);
}

// One thread does it all: the output is small and every pixel adds to it.
void conv2d_filter_grad_ref(const float *x, const float *g, float *dw_, CONV_NUMBERS) {
  conv_t p = {CONV_VALUES};
  if (thread) return;
  fill_zero(dw_, kh * kw * (c / groups) * co);
  EACH_PIXEL_REF(p, 0, n, EACH_CHANNEL_REF(p, {
    dw_[tap + cf * co + o] += x[in + ci] * g[at + o];
  }))
  const after_t after = after_conv(&p, dw_, co);
  finish(&after, dw_, kh * kw * (c / groups), co);
}

// -- the fast forms -----------------------------------------------------------------------------
//
// A convolution is a product: rows of A are the windows of pixels, read where they stand through
// tables (implicit im2col), B is the filter. windows.c does that product; here stands what the
// windows and the filter are.

static windows_t forward_windows(const conv_t *p, const float *x, int group) {
  int channels = p->c / p->groups;
  return (windows_t){
      .from = x, .n = p->n, .h = p->h, .w = p->wd, .c = p->c,
      .channel = group * channels, .channels = channels, .rows = p->oh, .columns = p->ow,
      .step_y = p->sh, .step_x = p->sw, .start_y = -p->pt, .start_x = -p->pl,
      .taps_y = p->kh, .taps_x = p->kw, .gap_y = p->dh, .gap_x = p->dw,
      .thread = p->thread, .threads = p->threads};
}

static void correlate_any(const conv_t *p, const windows_t *v, const filter_t *f,
                          const target_t *to) {
  if (is_depthwise(p))
    correlate_depthwise(v, f, to);
  else
    correlate(v, f, to);
}

// Whether the kernels' tables and planes can hold a window.
static int fits(const conv_t *p, const windows_t *v) {
  return is_depthwise(p) ? depthwise_fits(v) : v->channels <= MOST_CHANNELS;
}

// A window of one pixel for each pixel: a plain product of pixels x channels.
static int is_product(const conv_t *p) {
  return p->kh == 1 && p->kw == 1 && p->sh == 1 && p->sw == 1 && p->pt == 0 && p->pl == 0 &&
         p->oh == p->h && p->ow == p->wd && p->groups == 1;
}

static int products(const conv_t *p) { return is_depthwise(p) ? 1 : p->groups; }

void conv2d(const float *x, const float *w, float *out, CONV_NUMBERS) {
  conv_t p = {CONV_VALUES};
  windows_t v = forward_windows(&p, x, 0);
  if (is_product(&p)) {
    gemm(x, w, out, 1, n * h * wd, co, c, 0, 0, 0, 0, epilogue, arguments, thread, threads);
    return;
  }
  if (!fits(&p, &v)) {
    conv2d_ref(x, w, out, CONV_VALUES);
    return;
  }
  for (int group = 0; group < products(&p); group++) {
    int columns = co / groups, first = group * columns;
    v = forward_windows(&p, x, group);
    filter_t filter = {w + first, columns, co, kw * v.channels * co, v.channels * co, 0};
    target_t to = {out + first, oh * ow * co, ow * co, co, after_conv(&p, out, co)};
    correlate_any(&p, &v, &filter, &to);
  }
}

void conv2d_filter_grad(const float *x, const float *g, float *dw_, CONV_NUMBERS) {
  conv_t p = {CONV_VALUES};
  const after_t after = after_conv(&p, dw_, co);
  windows_t v = forward_windows(&p, x, 0);
  if (is_product(&p)) {
    gemm(x, g, dw_, 1, c, co, n * h * wd, 1, 0, 0, 0, epilogue, arguments, thread, threads);
  } else if (!fits(&p, &v) || (!is_depthwise(&p) && !windows_fit(&v))) {
    conv2d_filter_grad_ref(x, g, dw_, CONV_VALUES);
  } else if (is_depthwise(&p)) {
    correlate_filter_depthwise(&v, g, dw_, &after);
  } else {
    for (int group = 0; group < groups; group++) {
      int columns = co / groups, first = group * columns;
      v = forward_windows(&p, x, group);
      correlate_filter(&v, g + first, columns, co, dw_ + first, &after);
    }
  }
}

// The input's gradient is a correlation with g, the filter turned around. Under a stride s, only
// every s-th pixel of dx meets a given tap: pixels that are alike modulo s form a phase, and a
// phase is a correlation with every period-th tap.
typedef struct {
  int first, count;       // the pixels of dx: first, first + s, ...
  int tap, taps, period;  // the taps: tap, tap + period, ...
  int start, gap;         // where in g the first pixel finds its last tap, how far on the others
} phase_t;

static int divisor(int a, int b) { return b ? divisor(b, a % b) : a; }

static phase_t phase_of(int phase, int size, int stride, int taps, int dilation, int padding) {
  phase_t v = {.period = stride / divisor(stride, dilation)};
  v.first = ((phase - padding) % stride + stride) % stride;
  v.count = v.first < size ? ceiling(size - v.first, stride) : 0;
  while (v.tap < taps && v.tap * dilation % stride != phase) v.tap++;
  v.taps = ceiling(taps - v.tap, v.period);
  v.gap = v.period * dilation / stride;
  v.start = (v.first + padding - v.tap * dilation) / stride - (v.taps - 1) * v.gap;
  return v;
}

static windows_t backward_windows(const conv_t *p, const float *g, int group, phase_t y,
                                  phase_t x) {
  int channels = p->co / p->groups;
  return (windows_t){
      .from = g, .n = p->n, .h = p->oh, .w = p->ow, .c = p->co,
      .channel = group * channels, .channels = channels, .rows = y.count, .columns = x.count,
      .step_y = 1, .step_x = 1, .start_y = y.start, .start_x = x.start,
      .taps_y = y.taps, .taps_x = x.taps, .gap_y = y.gap, .gap_x = x.gap,
      .thread = p->thread, .threads = p->threads};
}

static void input_grad_phase(const conv_t *p, const float *g, const float *w, float *dx, int group,
                             phase_t y, phase_t x) {
  int columns = p->c / p->groups, tap = columns * p->co;
  windows_t v = backward_windows(p, g, group, y, x);
  int last_y = y.tap + (y.taps - 1) * y.period, last_x = x.tap + (x.taps - 1) * x.period;
  filter_t filter = {w + (last_y * p->kw + last_x) * tap + v.channel, columns, p->co,
                     -y.period * p->kw * tap, -x.period * tap, 1};
  target_t to = {dx + (y.first * p->wd + x.first) * p->c + group * columns,
                 p->h * p->wd * p->c, p->sh * p->wd * p->c, p->sw * p->c,
                 after_conv(p, dx, p->c)};
  correlate_any(p, &v, &filter, &to);
}

void conv2d_input_grad(const float *g, const float *w, float *dx, CONV_NUMBERS) {
  conv_t p = {CONV_VALUES};
  windows_t v = forward_windows(&p, dx, 0);
  if (is_product(&p)) {
    gemm(g, w, dx, 1, n * h * wd, c, co, 0, 1, 0, 0, epilogue, arguments, thread, threads);
    return;
  }
  if (!fits(&p, &v) || co / groups > MOST_CHANNELS) {
    conv2d_input_grad_ref(g, w, dx, CONV_VALUES);
    return;
  }
  for (int y = 0; y < sh; y++)
    for (int x = 0; x < sw; x++)
      for (int group = 0; group < products(&p); group++)
        input_grad_phase(&p, g, w, dx, group, phase_of(y, h, sh, kh, dh, pt),
                         phase_of(x, wd, sw, kw, dw, pl));
}
