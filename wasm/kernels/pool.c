// Maximum and average over windows, and their gradients; vectors run along the channels.

#include "engine.h"
#include "simd.h"

typedef struct {
  int n, h, w, c, oh, ow, kh, kw, sh, sw, pt, pl, thread, threads;
} pool_t;

#define POOL {n, h, w, c, oh, ow, kh, kw, sh, sw, pt, pl, thread, threads}

// The cells of one window that lie inside of the image.
typedef struct {
  int y, y_end, x, x_end;
} window_t;

static window_t window_at(const pool_t *p, int oy, int ox) {
  int y = oy * p->sh - p->pt, x = ox * p->sw - p->pl;
  return (window_t){larger(y, 0), smaller(y + p->kh, p->h), larger(x, 0), smaller(x + p->kw, p->w)};
}

static int cells(window_t v) { return larger(v.y_end - v.y, 0) * larger(v.x_end - v.x, 0); }

// -- references -------------------------------------------------------------------------------

static int beats(float a, float best) { return a > best || (a != a && best == best); }

// The offset of the window's maximum in an image's channel, -1 if no cell counts.
static int argmax_ref(const pool_t *p, const float *image, window_t v, int channel) {
  int best = -1;
  for (int y = v.y; y < v.y_end; y++)
    for (int x = v.x; x < v.x_end; x++) {
      int cell = (y * p->w + x) * p->c + channel;
      if (best < 0 || beats(image[cell], image[best])) best = cell;
    }
  return best;
}

// f(output offset, offset of the image, the output's window, its channel) for this thread's images.
#define EACH_OUTPUT_REF(p, body)                                                   \
  for (int i = share((p).n, (p).thread, (p).threads);                              \
       i < share((p).n, (p).thread + 1, (p).threads); i++)                         \
    for (int oy = 0; oy < (p).oh; oy++)                                            \
      for (int ox = 0; ox < (p).ow; ox++)                                          \
        for (int channel = 0; channel < (p).c; channel++) {                        \
          window_t v = window_at(&(p), oy, ox);                                    \
          int at = ((i * (p).oh + oy) * (p).ow + ox) * (p).c + channel;            \
          int image = i * (p).h * (p).w * (p).c;                                   \
          body                                                                     \
        }

static void zero_images(const pool_t *p, float *dx) {
  int size = p->h * p->w * p->c, begin = share(p->n, p->thread, p->threads);
  fill_zero(dx + begin * size, (share(p->n, p->thread + 1, p->threads) - begin) * size);
}

void max_pool_ref(const float *x, float *out, POOL_NUMBERS) {
  pool_t p = POOL;
  EACH_OUTPUT_REF(p, {
    int best = argmax_ref(&p, x + image, v, channel);
    out[at] = best < 0 ? -__builtin_inff() : x[image + best];
  })
}

void max_pool_select_ref(const float *y, const float *x, float *out, POOL_NUMBERS) {
  pool_t p = POOL;
  EACH_OUTPUT_REF(p, {
    int best = argmax_ref(&p, x + image, v, channel);
    out[at] = best < 0 ? 0 : y[image + best];
  })
}

void max_pool_scatter_ref(const float *g, const float *x, float *dx, POOL_NUMBERS) {
  pool_t p = POOL;
  zero_images(&p, dx);
  EACH_OUTPUT_REF(p, {
    int best = argmax_ref(&p, x + image, v, channel);
    if (best >= 0) dx[image + best] += g[at];
  })
}

void avg_pool_ref(const float *x, float *out, POOL_NUMBERS) {
  pool_t p = POOL;
  EACH_OUTPUT_REF(p, {
    float sum = 0;
    for (int yy = v.y; yy < v.y_end; yy++)
      for (int xx = v.x; xx < v.x_end; xx++) sum += x[image + (yy * p.w + xx) * p.c + channel];
    out[at] = cells(v) ? sum / cells(v) : 0;
  })
}

void avg_pool_grad_ref(const float *g, float *dx, POOL_NUMBERS) {
  pool_t p = POOL;
  zero_images(&p, dx);
  EACH_OUTPUT_REF(p, {
    for (int yy = v.y; yy < v.y_end; yy++)
      for (int xx = v.x; xx < v.x_end; xx++)
        dx[image + (yy * p.w + xx) * p.c + channel] += g[at] / cells(v);
  })
}

// -- forward: the rows of output are shared out -----------------------------------------------

// What one window, four channels at a time, comes to.
typedef f32x4 (*reduce_t)(const pool_t *, const float *x, const float *y, window_t, int lanes);

INLINE void pool_forward(const pool_t *p, const float *x, const float *y, float *out,
                         reduce_t reduce) {
  int row = share((int64_t)p->n * p->oh, p->thread, p->threads);
  int end = share((int64_t)p->n * p->oh, p->thread + 1, p->threads);
  for (; row < end; row++) {
    int image = row / p->oh * p->h * p->w * p->c;
    for (int ox = 0; ox < p->ow; ox++) {
      window_t v = window_at(p, row % p->oh, ox);
      float *to = out + (row * p->ow + ox) * p->c;
      int c = 0;
      for (; c + 4 <= p->c; c += 4)
        wasm_v128_store(to + c, reduce(p, x + image + c, y + image + c, v, 4));
      if (c < p->c)
        store_lanes(to + c, reduce(p, x + image + c, y + image + c, v, p->c - c), p->c - c);
    }
  }
}

// body(offset) for each cell of window v.
#define EACH_CELL(p, v, body)                                 \
  for (int yy = (v).y; yy < (v).y_end; yy++)                  \
    for (int xx = (v).x; xx < (v).x_end; xx++) {              \
      int cell = (yy * (p)->w + xx) * (p)->c;                 \
      body                                                    \
    }

INLINE f32x4 reduce_max(const pool_t *p, const float *x, const float *y, window_t v, int lanes) {
  (void)y;
  f32x4 best = wasm_f32x4_splat(-__builtin_inff());
  EACH_CELL(p, v, { best = wasm_f32x4_max(best, load_lanes(x + cell, lanes)); })
  return best;
}

INLINE f32x4 reduce_mean(const pool_t *p, const float *x, const float *y, window_t v, int lanes) {
  (void)y;
  f32x4 sum = wasm_f32x4_splat(0);
  EACH_CELL(p, v, { sum = wasm_f32x4_add(sum, load_lanes(x + cell, lanes)); })
  int count = cells(v);
  return wasm_f32x4_mul(sum, wasm_f32x4_splat(count ? 1.0f / count : 0));
}

// Lanes where `a` is the new maximum.
INLINE v128_t beats_4(f32x4 a, f32x4 best) {
  v128_t is_nan = wasm_f32x4_ne(a, a), had_none = wasm_f32x4_eq(best, best);
  return wasm_v128_or(wasm_f32x4_gt(a, best), wasm_v128_and(is_nan, had_none));
}

// The offset of the first cell counts as the maximum until another one beats it, so that a window
// of -inf alone has one too.
INLINE f32x4 reduce_select(const pool_t *p, const float *x, const float *y, window_t v,
                           int lanes) {
  if (!cells(v)) return wasm_f32x4_splat(0);
  int start = (v.y * p->w + v.x) * p->c;
  f32x4 best = load_lanes(x + start, lanes), chosen = load_lanes(y + start, lanes);
  EACH_CELL(p, v, {
    f32x4 a = load_lanes(x + cell, lanes);
    v128_t wins = beats_4(a, best);
    best = wasm_v128_bitselect(a, best, wins);
    chosen = wasm_v128_bitselect(load_lanes(y + cell, lanes), chosen, wins);
  })
  return chosen;
}

void max_pool(const float *x, float *out, POOL_NUMBERS) {
  pool_t p = POOL;
  pool_forward(&p, x, x, out, reduce_max);
}

void max_pool_select(const float *y, const float *x, float *out, POOL_NUMBERS) {
  pool_t p = POOL;
  pool_forward(&p, x, y, out, reduce_select);
}

void avg_pool(const float *x, float *out, POOL_NUMBERS) {
  pool_t p = POOL;
  pool_forward(&p, x, x, out, reduce_mean);
}

// -- backward: windows overlap, so images and groups of four channels are shared out -----------

// Spread one window's gradient g over dx, four channels at a time.
typedef void (*spread_t)(const pool_t *, f32x4 g, const float *x, float *dx, window_t, int lanes);

INLINE void spread_image(const pool_t *p, const float *g, const float *x, float *dx, int c,
                         int c_end, spread_t spread) {
  for (int cell = 0; cell < p->h * p->w; cell++) fill_zero(dx + cell * p->c + c, c_end - c);
  for (int oy = 0; oy < p->oh; oy++)
    for (int ox = 0; ox < p->ow; ox++) {
      window_t v = window_at(p, oy, ox);
      if (!cells(v)) continue;
      const float *from = g + (oy * p->ow + ox) * p->c;
      int i = c;
      for (; i + 4 <= c_end; i += 4) spread(p, wasm_v128_load(from + i), x + i, dx + i, v, 4);
      if (i < c_end)
        spread(p, load_lanes(from + i, c_end - i), x + i, dx + i, v, c_end - i);
    }
}

INLINE void pool_backward(const pool_t *p, const float *g, const float *x, float *dx,
                          spread_t spread) {
  int groups = ceiling(p->c, 4), size = p->h * p->w * p->c;
  int unit = share((int64_t)p->n * groups, p->thread, p->threads);
  int end = share((int64_t)p->n * groups, p->thread + 1, p->threads);
  while (unit < end) {
    int image = unit / groups, first = unit % groups, last = smaller(groups, first + end - unit);
    spread_image(p, g + image * p->oh * p->ow * p->c, x + image * size, dx + image * size,
                 4 * first, smaller(4 * last, p->c), spread);
    unit += last - first;
  }
}

INLINE void spread_to_max(const pool_t *p, f32x4 g, const float *x, float *dx, window_t v,
                          int lanes) {
  int start = (v.y * p->w + v.x) * p->c;
  f32x4 best = load_lanes(x + start, lanes);
  v128_t where = wasm_i32x4_splat(start);
  EACH_CELL(p, v, {
    f32x4 a = load_lanes(x + cell, lanes);
    v128_t wins = beats_4(a, best);
    best = wasm_v128_bitselect(a, best, wins);
    where = wasm_v128_bitselect(wasm_i32x4_splat(cell), where, wins);
  })
  EACH_CELL(p, v, {
    v128_t here = wasm_v128_and(g, wasm_i32x4_eq(where, wasm_i32x4_splat(cell)));
    store_lanes(dx + cell, wasm_f32x4_add(load_lanes(dx + cell, lanes), here), lanes);
  })
}

INLINE void spread_evenly(const pool_t *p, f32x4 g, const float *x, float *dx, window_t v,
                          int lanes) {
  (void)x;
  f32x4 part = wasm_f32x4_mul(g, wasm_f32x4_splat(1.0f / cells(v)));
  EACH_CELL(p, v, {
    store_lanes(dx + cell, wasm_f32x4_add(load_lanes(dx + cell, lanes), part), lanes);
  })
}

void max_pool_scatter(const float *g, const float *x, float *dx, POOL_NUMBERS) {
  pool_t p = POOL;
  pool_backward(&p, g, x, dx, spread_to_max);
}

void avg_pool_grad(const float *g, float *dx, POOL_NUMBERS) {
  pool_t p = POOL;
  pool_backward(&p, g, dx, dx, spread_evenly);
}
