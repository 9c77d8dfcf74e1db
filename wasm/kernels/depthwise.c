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
  }
}

// Groups of four channels of all images are shared out: windows overlap, channels do not.
void depthwise_input_grad(const conv_t *p, const float *g, const float *w, float *dx) {
  int groups = ceiling(p->c, 4), image_size = p->h * p->wd * p->c;
  int end = share((int64_t)p->n * groups, p->thread + 1, p->threads);
  for (int unit = share((int64_t)p->n * groups, p->thread, p->threads); unit < end; unit++) {
    int image = unit / groups, c = unit % groups * 4, lanes = p->c - c;
    float *to = dx + image * image_size + c;
    for (int i = 0; i < p->h * p->wd; i++) store_lanes(to + i * p->c, wasm_f32x4_splat(0), lanes);
    for (int oy = 0; oy < p->oh; oy++)
      for (int ox = 0; ox < p->ow; ox++) {
        f32x4 from = load_lanes(g + ((image * p->oh + oy) * p->ow + ox) * p->c + c, lanes);
        EACH_TAP(p, oy * p->sh - p->pt, ox * p->sw - p->pl, {
          f32x4 sum = multiply_add(from, load_lanes(w + tap * p->c + c, lanes),
                                   load_lanes(to + at, lanes));
          store_lanes(to + at, sum, lanes);
        })
      }
  }
}

// Four channels of one tap at a time are shared out.
void depthwise_filter_grad(const conv_t *p, const float *x, const float *g, float *dw) {
  int groups = ceiling(p->c, 4), units = p->kh * p->kw * groups;
  int end = share(units, p->thread + 1, p->threads);
  for (int unit = share(units, p->thread, p->threads); unit < end; unit++) {
    int tap = unit / groups, c = unit % groups * 4, lanes = p->c - c;
    int y = tap / p->kw * p->dh - p->pt, left = tap % p->kw * p->dw - p->pl;
    f32x4 sum = wasm_f32x4_splat(0);
    for (int row = 0; row < p->n * p->oh; row++) {
      int yy = row % p->oh * p->sh + y;
      if (yy < 0 || yy >= p->h) continue;
      const float *from = x + (row / p->oh * p->h + yy) * p->wd * p->c + c;
      const float *by = g + row * p->ow * p->c + c;
      for (int ox = 0; ox < p->ow; ox++) {
        int xx = ox * p->sw + left;
        if (xx < 0 || xx >= p->wd) continue;
        sum = multiply_add(load_lanes(from + xx * p->c, lanes), load_lanes(by + ox * p->c, lanes),
                           sum);
      }
    }
    store_lanes(dw + tap * p->c + c, sum, lanes);
  }
}
