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

// Channels are done sixteen at a time, then four, then what is left: `vectors` of `lanes`.
enum { VECTORS = 4 };

// What of a window lies inside of the image, and the offset of its first cell. Windows of two by
// two have code of their own, in which these are constants.
typedef struct {
  int rows, columns, start;
} inside_t;

static inside_t inside_of(const pool_t *p, window_t v) {
  return (inside_t){v.y_end - v.y, v.x_end - v.x, (v.y * p->w + v.x) * p->c};
}

static int is_two_by_two(inside_t v) { return v.rows == 2 && v.columns == 2; }

// What one window comes to, for some channels.
typedef void (*reduce_t)(const pool_t *, const float *x, const float *y, float *out, inside_t,
                         int vectors, int lanes);

// body(i, vectors, lanes) for channels [begin, end). Where it does no harm to do a channel twice,
// the last vector overlaps the one before.
#define EACH_CHANNELS(begin, end, overlap, body)                               \
  do {                                                                         \
    int i = (begin);                                                           \
    for (; i + 16 <= (end); i += 16) body(i, VECTORS, 4);                      \
    for (; i + 4 <= (end); i += 4) body(i, 1, 4);                              \
    if (i < (end) && (overlap) && (end) - (begin) >= 4) body((end) - 4, 1, 4); \
    else if (i < (end)) body(i, 1, (end) - i);                                 \
  } while (0)

INLINE void reduce_window(const pool_t *p, const float *x, const float *y, float *out, inside_t v,
                          reduce_t reduce) {
#define REDUCE(i, vectors, lanes) reduce(p, x + (i), y + (i), out + (i), v, vectors, lanes)
  EACH_CHANNELS(0, p->c, 1, REDUCE);
#undef REDUCE
}

INLINE void pool_forward(const pool_t *p, const float *x, const float *y, float *out,
                         reduce_t reduce) {
  int row = share((int64_t)p->n * p->oh, p->thread, p->threads);
  int end = share((int64_t)p->n * p->oh, p->thread + 1, p->threads);
  for (; row < end; row++) {
    int image = row / p->oh * p->h * p->w * p->c;
    for (int ox = 0; ox < p->ow; ox++) {
      inside_t v = inside_of(p, window_at(p, row % p->oh, ox));
      float *to = out + (row * p->ow + ox) * p->c;
      if (is_two_by_two(v))
        reduce_window(p, x + image, y + image, to, (inside_t){2, 2, v.start}, reduce);
      else
        reduce_window(p, x + image, y + image, to, v, reduce);
    }
  }
}

static int is_empty(inside_t v) { return v.rows <= 0 || v.columns <= 0; }

// body(cell, i) for each vector i of each cell of window v.
#define EACH_VECTOR(p, v, vectors, body)                      \
  for (int yy = 0; yy < (v).rows; yy++)                       \
    for (int xx = 0; xx < (v).columns; xx++) {                \
      int cell = (v).start + (yy * (p)->w + xx) * (p)->c;     \
      for (int i = 0; i < (vectors); i++) {                   \
        body                                                  \
      }                                                       \
    }

// pmax is one instruction but drops NaN, so those are gathered apart.
INLINE void reduce_max(const pool_t *p, const float *x, const float *y, float *out, inside_t v,
                       int vectors, int lanes) {
  (void)y;
  f32x4 best[VECTORS], nan[VECTORS];
  for (int i = 0; i < vectors; i++) {
    best[i] = wasm_f32x4_splat(-__builtin_inff());
    nan[i] = wasm_f32x4_splat(0);
  }
  EACH_VECTOR(p, v, vectors, {
    f32x4 a = load_lanes(x + cell + 4 * i, lanes);
    best[i] = wasm_f32x4_pmax(best[i], a);
    nan[i] = wasm_v128_or(nan[i], wasm_f32x4_ne(a, a));
  })
  for (int i = 0; i < vectors; i++)
    store_lanes(out + 4 * i, wasm_v128_or(best[i], nan[i]), lanes);
}

INLINE void reduce_mean(const pool_t *p, const float *x, const float *y, float *out, inside_t v,
                        int vectors, int lanes) {
  (void)y;
  f32x4 sum[VECTORS];
  for (int i = 0; i < vectors; i++) sum[i] = wasm_f32x4_splat(0);
  EACH_VECTOR(p, v, vectors, {
    sum[i] = wasm_f32x4_add(sum[i], load_lanes(x + cell + 4 * i, lanes));
  })
  f32x4 weight = wasm_f32x4_splat(is_empty(v) ? 0 : 1.0f / (v.rows * v.columns));
  for (int i = 0; i < vectors; i++)
    store_lanes(out + 4 * i, wasm_f32x4_mul(sum[i], weight), lanes);
}

// Lanes where `a` is the new maximum: it is not less or equal, and there is no NaN yet.
INLINE v128_t beats_4(f32x4 a, f32x4 best) {
  return wasm_v128_andnot(wasm_f32x4_eq(best, best), wasm_f32x4_le(a, best));
}

// The first cell counts as the maximum until another one beats it, so that a window of -inf alone
// has one too.
INLINE void reduce_select(const pool_t *p, const float *x, const float *y, float *out, inside_t v,
                          int vectors, int lanes) {
  f32x4 best[VECTORS], chosen[VECTORS];
  for (int i = 0; i < vectors; i++) {
    best[i] = is_empty(v) ? wasm_f32x4_splat(0) : load_lanes(x + v.start + 4 * i, lanes);
    chosen[i] = is_empty(v) ? wasm_f32x4_splat(0) : load_lanes(y + v.start + 4 * i, lanes);
  }
  EACH_VECTOR(p, v, vectors, {
    f32x4 a = load_lanes(x + cell + 4 * i, lanes);
    v128_t wins = beats_4(a, best[i]);
    best[i] = wasm_v128_bitselect(a, best[i], wins);
    chosen[i] = wasm_v128_bitselect(load_lanes(y + cell + 4 * i, lanes), chosen[i], wins);
  })
  for (int i = 0; i < vectors; i++) store_lanes(out + 4 * i, chosen[i], lanes);
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

// Spread one window's gradient g over dx, for some channels: added to what is there, or, where no
// other window has the same cells, set.
typedef void (*spread_t)(const pool_t *, const float *g, const float *x, float *dx, inside_t,
                         int set, int vectors, int lanes);

INLINE void put(float *to, f32x4 v, int set, int lanes) {
  store_lanes(to, set ? v : wasm_f32x4_add(load_lanes(to, lanes), v), lanes);
}

INLINE void spread_window(const pool_t *p, const float *g, const float *x, float *dx, inside_t v,
                          int set, int c, int c_end, spread_t spread) {
#define SPREAD(i, vectors, lanes) spread(p, g + (i), x + (i), dx + (i), v, set, vectors, lanes)
  EACH_CHANNELS(c, c_end, set, SPREAD);
#undef SPREAD
}

// No two windows have a cell in common.
static int are_apart(const pool_t *p) { return p->sh >= p->kh && p->sw >= p->kw; }

// Windows that lie apart and leave nothing between them.
static int cover_all(const pool_t *p) {
  return are_apart(p) && p->sh == p->kh && p->sw == p->kw && p->oh * p->sh - p->pt >= p->h &&
         p->ow * p->sw - p->pl >= p->w;
}

static void clear_image(const pool_t *p, float *dx, int c, int c_end) {
  if (c_end - c == p->c)
    fill_zero(dx, p->h * p->w * p->c);
  else
    for (int cell = 0; cell < p->h * p->w; cell++) fill_zero(dx + cell * p->c + c, c_end - c);
}

INLINE void spread_image(const pool_t *p, const float *g, const float *x, float *dx, int c,
                         int c_end, spread_t spread) {
  int apart = are_apart(p);
  if (!cover_all(p)) clear_image(p, dx, c, c_end);
  for (int oy = 0; oy < p->oh; oy++)
    for (int ox = 0; ox < p->ow; ox++, g += p->c) {
      inside_t v = inside_of(p, window_at(p, oy, ox));
      if (is_empty(v)) continue;
      if (apart && is_two_by_two(v))
        spread_window(p, g, x, dx, (inside_t){2, 2, v.start}, 1, c, c_end, spread);
      else if (apart)
        spread_window(p, g, x, dx, v, 1, c, c_end, spread);
      else
        spread_window(p, g, x, dx, v, 0, c, c_end, spread);
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

INLINE void spread_to_max(const pool_t *p, const float *g, const float *x, float *dx, inside_t v,
                          int set, int vectors, int lanes) {
  f32x4 best[VECTORS], from[VECTORS];
  v128_t where[VECTORS];
  for (int i = 0; i < vectors; i++) {
    best[i] = load_lanes(x + v.start + 4 * i, lanes);
    from[i] = load_lanes(g + 4 * i, lanes);
    where[i] = wasm_i32x4_splat(v.start);
  }
  EACH_VECTOR(p, v, vectors, {
    f32x4 a = load_lanes(x + cell + 4 * i, lanes);
    v128_t wins = beats_4(a, best[i]);
    best[i] = wasm_v128_bitselect(a, best[i], wins);
    where[i] = wasm_v128_bitselect(wasm_i32x4_splat(cell), where[i], wins);
  })
  EACH_VECTOR(p, v, vectors, {
    v128_t here = wasm_v128_and(from[i], wasm_i32x4_eq(where[i], wasm_i32x4_splat(cell)));
    put(dx + cell + 4 * i, here, set, lanes);
  })
}

INLINE void spread_evenly(const pool_t *p, const float *g, const float *x, float *dx, inside_t v,
                          int set, int vectors, int lanes) {
  (void)x;
  f32x4 weight = wasm_f32x4_splat(1.0f / (v.rows * v.columns)), part[VECTORS];
  for (int i = 0; i < vectors; i++) part[i] = wasm_f32x4_mul(load_lanes(g + 4 * i, lanes), weight);
  EACH_VECTOR(p, v, vectors, { put(dx + cell + 4 * i, part[i], set, lanes); })
}

void max_pool_scatter(const float *g, const float *x, float *dx, POOL_NUMBERS) {
  pool_t p = POOL;
  pool_backward(&p, g, x, dx, spread_to_max);
}

void avg_pool_grad(const float *g, float *dx, POOL_NUMBERS) {
  pool_t p = POOL;
  pool_backward(&p, g, dx, dx, spread_evenly);
}
