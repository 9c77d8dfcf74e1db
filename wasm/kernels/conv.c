// Two-dimensional convolution, channels last, and its two gradients.

#include "engine.h"
#include "simd.h"

typedef struct {
  int n, h, wd, c, kh, kw, co, oh, ow, sh, sw, dh, dw, pt, pl, groups, thread, threads;
} conv_t;

#define CONV {n, h, wd, c, kh, kw, co, oh, ow, sh, sw, dh, dw, pt, pl, groups, thread, threads}

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
  conv_t p = CONV;
  int first, last, size = oh * ow * co;
  images_of(&p, &first, &last);
  fill_zero(out + first * size, (last - first) * size);
  EACH_PIXEL_REF(p, first, last, EACH_CHANNEL_REF(p, {
    out[at + o] += x[in + ci] * w[tap + cf * co + o];
  }))
}

void conv2d_input_grad_ref(const float *g, const float *w, float *dx, CONV_NUMBERS) {
  conv_t p = CONV;
  int first, last, size = h * wd * c;
  images_of(&p, &first, &last);
  fill_zero(dx + first * size, (last - first) * size);
  EACH_PIXEL_REF(p, first, last, EACH_CHANNEL_REF(p, {
    dx[in + ci] += g[at + o] * w[tap + cf * co + o];
  }))
}

// One thread does it all: the output is small and every pixel adds to it.
void conv2d_filter_grad_ref(const float *x, const float *g, float *dw_, CONV_NUMBERS) {
  conv_t p = CONV;
  if (thread) return;
  fill_zero(dw_, kh * kw * (c / groups) * co);
  EACH_PIXEL_REF(p, 0, n, EACH_CHANNEL_REF(p, {
    dw_[tap + cf * co + o] += x[in + ci] * g[at + o];
  }))
}

void conv2d(const float *x, const float *w, float *out, CONV_NUMBERS) {
  conv2d_ref(x, w, out, n, h, wd, c, kh, kw, co, oh, ow, sh, sw, dh, dw, pt, pl, groups, thread, threads);
}
void conv2d_input_grad(const float *x, const float *w, float *out, CONV_NUMBERS) {
  conv2d_input_grad_ref(x, w, out, n, h, wd, c, kh, kw, co, oh, ow, sh, sw, dh, dw, pt, pl, groups, thread, threads);
}
void conv2d_filter_grad(const float *x, const float *w, float *out, CONV_NUMBERS) {
  conv2d_filter_grad_ref(x, w, out, n, h, wd, c, kh, kw, co, oh, ow, sh, sw, dh, dw, pt, pl, groups, thread, threads);
}
