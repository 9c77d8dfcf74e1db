// Convolution with one filter for each channel: vectors run along the channels.

#include "conv.h"
#include "engine.h"
#include "simd.h"

// body for each tap whose pixel (y + i * dh, x + j * dw) lies inside of x: `tap` counts taps, `at`
// is the pixel's first channel within its image.
#define EACH_TAP(p, y, x, body)                                                      \
  for (int i = 0; i < (p)->kh; i++)                                                  \
    for (int j = 0; j < (p)->kw; j++) {                                              \
      int yy = (y) + i * (p)->dh, xx = (x) + j * (p)->dw;                            \
      if ((uint32_t)yy >= (uint32_t)(p)->h || (uint32_t)xx >= (uint32_t)(p)->wd) continue; \
      int tap = i * (p)->kw + j, at = (yy * (p)->wd + xx) * (p)->c;                  \
      body                                                                           \
    }

// One output's channels [c, c + 4 * vectors), or `lanes` of four.
INLINE void depthwise_output(const conv_t *p, const float *x, const float *w, float *out, int y,
                             int left, int vectors, int lanes) {
  f32x4 sum[4] = {{0}, {0}, {0}, {0}};
  EACH_TAP(p, y, left, {
    for (int v = 0; v < vectors; v++)
      sum[v] = multiply_add(load_lanes(x + at + 4 * v, lanes),
                            load_lanes(w + tap * p->c + 4 * v, lanes), sum[v]);
  })
  for (int v = 0; v < vectors; v++) store_lanes(out + 4 * v, sum[v], lanes);
}

void depthwise(const conv_t *p, const float *x, const float *w, float *out) {
  const after_t after = after_conv(p, out, p->c);
  int row = share((int64_t)p->n * p->oh, p->thread, p->threads);
  int end = share((int64_t)p->n * p->oh, p->thread + 1, p->threads);
  for (; row < end; row++) {
    const float *image = x + row / p->oh * p->h * p->wd * p->c;
    int y = row % p->oh * p->sh - p->pt;
    for (int ox = 0; ox < p->ow; ox++) {
      float *to = out + (row * p->ow + ox) * p->c;
      int left = ox * p->sw - p->pl, c = 0;
      for (; c + 16 <= p->c; c += 16)
        depthwise_output(p, image + c, w + c, to + c, y, left, 4, 4);
      for (; c + 4 <= p->c; c += 4) depthwise_output(p, image + c, w + c, to + c, y, left, 1, 4);
      if (c < p->c) depthwise_output(p, image + c, w + c, to + c, y, left, 1, p->c - c);
    }
    finish(&after, out + row * p->ow * p->c, p->ow, p->c);
  }
}

// Sixteen channels of an image at a time are shared out: windows overlap, channels do not.
enum { GROUP = 16 };

INLINE void spread_output(const conv_t *p, const float *g, const float *w, float *dx, int y,
                          int left, int vectors, int lanes) {
  f32x4 from[4];
  for (int v = 0; v < vectors; v++) from[v] = load_lanes(g + 4 * v, lanes);
  EACH_TAP(p, y, left, {
    for (int v = 0; v < vectors; v++) {
      float *to = dx + at + 4 * v;
      f32x4 by = load_lanes(w + tap * p->c + 4 * v, lanes);
      store_lanes(to, multiply_add(from[v], by, load_lanes(to, lanes)), lanes);
    }
  })
}

INLINE void spread_image(const conv_t *p, const float *g, const float *w, float *dx, int vectors,
                         int lanes) {
  for (int i = 0; i < p->h * p->wd; i++)
    for (int v = 0; v < vectors; v++)
      store_lanes(dx + i * p->c + 4 * v, wasm_f32x4_splat(0), lanes);
  for (int oy = 0; oy < p->oh; oy++)
    for (int ox = 0; ox < p->ow; ox++, g += p->c)
      spread_output(p, g, w, dx, oy * p->sh - p->pt, ox * p->sw - p->pl, vectors, lanes);
}

void depthwise_input_grad(const conv_t *p, const float *g, const float *w, float *dx) {
  const after_t after = after_conv(p, dx, p->c);
  int groups = ceiling(p->c, GROUP);
  int end = share((int64_t)p->n * groups, p->thread + 1, p->threads);
  for (int unit = share((int64_t)p->n * groups, p->thread, p->threads); unit < end; unit++) {
    int image = unit / groups, c = unit % groups * GROUP, stop = smaller(p->c, c + GROUP);
    const float *from = g + image * p->oh * p->ow * p->c;
    float *to = dx + image * p->h * p->wd * p->c;
    int first = c;
    for (; c + GROUP <= stop; c += GROUP) spread_image(p, from + c, w + c, to + c, 4, 4);
    for (; c + 4 <= stop; c += 4) spread_image(p, from + c, w + c, to + c, 1, 4);
    if (c < stop) spread_image(p, from + c, w + c, to + c, 1, stop - c);
    finish(&after, to + first, p->h * p->wd, stop - first);
  }
}

// The sum over all outputs of g times the pixel that tap (y, left) meets.
INLINE void sum_tap(const conv_t *p, const float *x, const float *g, float *dw, int y, int left,
                    int vectors, int lanes) {
  f32x4 sum[4] = {{0}, {0}, {0}, {0}};
  for (int row = 0; row < p->n * p->oh; row++) {
    int yy = row % p->oh * p->sh + y;
    if (yy < 0 || yy >= p->h) continue;
    const float *from = x + (row / p->oh * p->h + yy) * p->wd * p->c;
    const float *by = g + row * p->ow * p->c;
    for (int ox = 0, xx = left; ox < p->ow; ox++, xx += p->sw, by += p->c) {
      if (xx < 0 || xx >= p->wd) continue;
      for (int v = 0; v < vectors; v++)
        sum[v] = multiply_add(load_lanes(from + xx * p->c + 4 * v, lanes),
                              load_lanes(by + 4 * v, lanes), sum[v]);
    }
  }
  for (int v = 0; v < vectors; v++) store_lanes(dw + 4 * v, sum[v], lanes);
}

// Sixteen channels of one tap at a time are shared out.
void depthwise_filter_grad(const conv_t *p, const float *x, const float *g, float *dw) {
  const after_t after = after_conv(p, dw, p->c);
  int groups = ceiling(p->c, GROUP), units = p->kh * p->kw * groups;
  int end = share(units, p->thread + 1, p->threads);
  for (int unit = share(units, p->thread, p->threads); unit < end; unit++) {
    int tap = unit / groups, c = unit % groups * GROUP, stop = smaller(p->c, c + GROUP);
    int y = tap / p->kw * p->dh - p->pt, left = tap % p->kw * p->dw - p->pl;
    float *to = dw + tap * p->c;
    int first = c;
    for (; c + GROUP <= stop; c += GROUP) sum_tap(p, x + c, g + c, to + c, y, left, 4, 4);
    for (; c + 4 <= stop; c += 4) sum_tap(p, x + c, g + c, to + c, y, left, 1, 4);
    if (c < stop) sum_tap(p, x + c, g + c, to + c, y, left, 1, stop - c);
    finish(&after, to + first, 1, stop - first);
  }
}
