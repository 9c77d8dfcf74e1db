// Max and average pooling, and their gradients; SIMD lanes are channels.

#include "engine.h"
#include "simd.h"

typedef struct {
  int n, h, w, c, oh, ow, kh, kw, sh, sw, pt, pl, thread, threads;
} pool_t;

#define POOL {n, h, w, c, oh, ow, kh, kw, sh, sw, pt, pl, thread, threads}

// The pixels of one window, clipped to the image.
typedef struct {
  int y, y_end, x, x_end;
} bounds_t;

static bounds_t window_bounds(const pool_t *p, int oy, int ox) {
  int y = oy * p->sh - p->pt, x = ox * p->sw - p->pl;
  return (bounds_t){max_int(y, 0), min_int(y + p->kh, p->h), max_int(x, 0),
                    min_int(x + p->kw, p->w)};
}

static int pixel_count(bounds_t b) {
  return max_int(b.y_end - b.y, 0) * max_int(b.x_end - b.x, 0);
}

// -- references -------------------------------------------------------------------------------

static int wins(float a, float best) { return a > best || (a != a && best == best); }

// The offset of the argmax of one channel of an image; -1 for an empty window.
static int argmax_reference(const pool_t *p, const float *image, bounds_t b, int channel) {
  int best = -1;
  for (int y = b.y; y < b.y_end; y++)
    for (int x = b.x; x < b.x_end; x++) {
      int offset = (y * p->w + x) * p->c + channel;
      if (best < 0 || wins(image[offset], image[best])) best = offset;
    }
  return best;
}

// Run `body` for every output of this thread's images. It uses the window `bounds`, the offset
// `index` of the output, the offset `image` of its image in x, and `channel`.
#define EACH_OUTPUT_REFERENCE(p, body)                                     \
  for (int i = partition_begin((p).n, (p).thread, (p).threads);            \
       i < partition_begin((p).n, (p).thread + 1, (p).threads); i++)       \
    for (int oy = 0; oy < (p).oh; oy++)                                    \
      for (int ox = 0; ox < (p).ow; ox++)                                  \
        for (int channel = 0; channel < (p).c; channel++) {                \
          bounds_t bounds = window_bounds(&(p), oy, ox);                   \
          int index = ((i * (p).oh + oy) * (p).ow + ox) * (p).c + channel; \
          int image = i * (p).h * (p).w * (p).c;                           \
          body                                                             \
        }

static void zero_images(const pool_t *p, float *dx) {
  int size = p->h * p->w * p->c, begin = partition_begin(p->n, p->thread, p->threads);
  fill_zero(dx + begin * size, (partition_begin(p->n, p->thread + 1, p->threads) - begin) * size);
}

void max_pool_reference(const float *x, float *out, POOL_PARAMS) {
  pool_t p = POOL;
  EACH_OUTPUT_REFERENCE(p, {
    int best = argmax_reference(&p, x + image, bounds, channel);
    out[index] = best < 0 ? -__builtin_inff() : x[image + best];
  })
}

void max_pool_select_reference(const float *y, const float *x, float *out, POOL_PARAMS) {
  pool_t p = POOL;
  EACH_OUTPUT_REFERENCE(p, {
    int best = argmax_reference(&p, x + image, bounds, channel);
    out[index] = best < 0 ? 0 : y[image + best];
  })
}

void max_pool_scatter_reference(const float *g, const float *x, float *dx, POOL_PARAMS) {
  pool_t p = POOL;
  zero_images(&p, dx);
  EACH_OUTPUT_REFERENCE(p, {
    int best = argmax_reference(&p, x + image, bounds, channel);
    if (best >= 0) dx[image + best] += g[index];
  })
}

void avg_pool_reference(const float *x, float *out, POOL_PARAMS) {
  pool_t p = POOL;
  EACH_OUTPUT_REFERENCE(p, {
    float sum = 0;
    for (int yy = bounds.y; yy < bounds.y_end; yy++)
      for (int xx = bounds.x; xx < bounds.x_end; xx++)
        sum += x[image + (yy * p.w + xx) * p.c + channel];
    out[index] = pixel_count(bounds) ? sum / pixel_count(bounds) : 0;
  })
}

void avg_pool_grad_reference(const float *g, float *dx, POOL_PARAMS) {
  pool_t p = POOL;
  zero_images(&p, dx);
  EACH_OUTPUT_REFERENCE(p, {
    for (int yy = bounds.y; yy < bounds.y_end; yy++)
      for (int xx = bounds.x; xx < bounds.x_end; xx++)
        dx[image + (yy * p.w + xx) * p.c + channel] += g[index] / pixel_count(bounds);
  })
}

// -- forward: rows of the output are partitioned across threads --------------------------------

// Channels are processed in groups of four vectors, then of one vector, then a partial vector.
enum { VECTORS = 4 };

// The size of a clipped window, and the offset of its first pixel in the image. Windows of 2 x 2
// pixels have specialized code, in which the size is a compile-time constant.
typedef struct {
  int rows, columns, offset;
} window_t;

static window_t clipped_window(const pool_t *p, bounds_t b) {
  return (window_t){b.y_end - b.y, b.x_end - b.x, (b.y * p->w + b.x) * p->c};
}

static int is_2x2(window_t v) { return v.rows == 2 && v.columns == 2; }

static int is_empty(window_t v) { return v.rows <= 0 || v.columns <= 0; }

// Computes the output of one window for `vectors` vectors of `lanes` channels.
typedef void (*reduce_t)(const pool_t *, const float *x, const float *y, float *out, window_t,
                         int vectors, int lanes);

// Run body(i, vectors, lanes) for channels [begin, end). With `overlap`, the last vector may
// process channels again that the vector before it has processed.
#define EACH_CHANNELS(begin, end, overlap, body)                               \
  do {                                                                         \
    int i = (begin);                                                           \
    for (; i + 16 <= (end); i += 16) body(i, VECTORS, 4);                      \
    for (; i + 4 <= (end); i += 4) body(i, 1, 4);                              \
    if (i < (end) && (overlap) && (end) - (begin) >= 4) body((end) - 4, 1, 4); \
    else if (i < (end)) body(i, 1, (end) - i);                                 \
  } while (0)

INLINE void reduce_window(const pool_t *p, const float *x, const float *y, float *out, window_t v,
                          reduce_t reduce) {
#define REDUCE(i, vectors, lanes) reduce(p, x + (i), y + (i), out + (i), v, vectors, lanes)
  EACH_CHANNELS(0, p->c, 1, REDUCE);
#undef REDUCE
}

INLINE void pool_forward(const pool_t *p, const float *x, const float *y, float *out,
                         reduce_t reduce) {
  int row = partition_begin((int64_t)p->n * p->oh, p->thread, p->threads);
  int end = partition_begin((int64_t)p->n * p->oh, p->thread + 1, p->threads);
  for (; row < end; row++) {
    int image = row / p->oh * p->h * p->w * p->c;
    for (int ox = 0; ox < p->ow; ox++) {
      window_t v = clipped_window(p, window_bounds(p, row % p->oh, ox));
      float *pixel = out + (row * p->ow + ox) * p->c;
      if (is_2x2(v))
        reduce_window(p, x + image, y + image, pixel, (window_t){2, 2, v.offset}, reduce);
      else
        reduce_window(p, x + image, y + image, pixel, v, reduce);
    }
  }
}

// Run `body` for each vector i of each pixel of window v; `pixel` is the offset of the pixel.
#define EACH_VECTOR(p, v, vectors, body)                    \
  for (int yy = 0; yy < (v).rows; yy++)                     \
    for (int xx = 0; xx < (v).columns; xx++) {              \
      int pixel = (v).offset + (yy * (p)->w + xx) * (p)->c; \
      for (int i = 0; i < (vectors); i++) {                 \
        body                                                \
      }                                                     \
    }

// pmax is a single instruction but ignores NaN, so NaNs are accumulated separately.
INLINE void reduce_max(const pool_t *p, const float *x, const float *y, float *out, window_t v,
                       int vectors, int lanes) {
  (void)y;
  f32x4 best[VECTORS], nan[VECTORS];
  for (int i = 0; i < vectors; i++) {
    best[i] = wasm_f32x4_splat(-__builtin_inff());
    nan[i] = wasm_f32x4_splat(0);
  }
  EACH_VECTOR(p, v, vectors, {
    f32x4 a = load_lanes(x + pixel + 4 * i, lanes);
    best[i] = wasm_f32x4_pmax(best[i], a);
    nan[i] = wasm_v128_or(nan[i], wasm_f32x4_ne(a, a));
  })
  for (int i = 0; i < vectors; i++)
    store_lanes(out + 4 * i, wasm_v128_or(best[i], nan[i]), lanes);
}

INLINE void reduce_mean(const pool_t *p, const float *x, const float *y, float *out, window_t v,
                        int vectors, int lanes) {
  (void)y;
  f32x4 sum[VECTORS];
  for (int i = 0; i < vectors; i++) sum[i] = wasm_f32x4_splat(0);
  EACH_VECTOR(p, v, vectors, {
    sum[i] = wasm_f32x4_add(sum[i], load_lanes(x + pixel + 4 * i, lanes));
  })
  f32x4 weight = wasm_f32x4_splat(is_empty(v) ? 0 : 1.0f / (v.rows * v.columns));
  for (int i = 0; i < vectors; i++)
    store_lanes(out + 4 * i, wasm_f32x4_mul(sum[i], weight), lanes);
}

// Lanes in which `a` is the new maximum: not a <= best, and `best` is not NaN.
INLINE v128_t wins_f32x4(f32x4 a, f32x4 best) {
  return wasm_v128_andnot(wasm_f32x4_eq(best, best), wasm_f32x4_le(a, best));
}

// The maximum is initialized with the first pixel, so that a window of only -inf has an argmax.
INLINE void reduce_select(const pool_t *p, const float *x, const float *y, float *out, window_t v,
                          int vectors, int lanes) {
  f32x4 best[VECTORS], selected[VECTORS];
  for (int i = 0; i < vectors; i++) {
    best[i] = is_empty(v) ? wasm_f32x4_splat(0) : load_lanes(x + v.offset + 4 * i, lanes);
    selected[i] = is_empty(v) ? wasm_f32x4_splat(0) : load_lanes(y + v.offset + 4 * i, lanes);
  }
  EACH_VECTOR(p, v, vectors, {
    f32x4 a = load_lanes(x + pixel + 4 * i, lanes);
    v128_t is_new_max = wins_f32x4(a, best[i]);
    best[i] = wasm_v128_bitselect(a, best[i], is_new_max);
    selected[i] = wasm_v128_bitselect(load_lanes(y + pixel + 4 * i, lanes), selected[i],
                                      is_new_max);
  })
  for (int i = 0; i < vectors; i++) store_lanes(out + 4 * i, selected[i], lanes);
}

void max_pool(const float *x, float *out, POOL_PARAMS) {
  pool_t p = POOL;
  pool_forward(&p, x, x, out, reduce_max);
}

void max_pool_select(const float *y, const float *x, float *out, POOL_PARAMS) {
  pool_t p = POOL;
  pool_forward(&p, x, y, out, reduce_select);
}

void avg_pool(const float *x, float *out, POOL_PARAMS) {
  pool_t p = POOL;
  pool_forward(&p, x, x, out, reduce_mean);
}

// -- backward: windows may overlap, so images and groups of four channels are partitioned ------

// Scatters the gradient g of one window to dx for `vectors` vectors of `lanes` channels: adds it,
// or, with `overwrite`, stores it, because no other window contains the same pixels.
typedef void (*scatter_t)(const pool_t *, const float *g, const float *x, float *dx, window_t,
                          int overwrite, int vectors, int lanes);

INLINE void store(float *target, f32x4 v, int overwrite, int lanes) {
  store_lanes(target, overwrite ? v : wasm_f32x4_add(load_lanes(target, lanes), v), lanes);
}

INLINE void scatter_window(const pool_t *p, const float *g, const float *x, float *dx, window_t v,
                           int overwrite, int c, int c_end, scatter_t scatter) {
#define SCATTER(i, vectors, lanes) \
  scatter(p, g + (i), x + (i), dx + (i), v, overwrite, vectors, lanes)
  EACH_CHANNELS(c, c_end, overwrite, SCATTER);
#undef SCATTER
}

static int disjoint_windows(const pool_t *p) { return p->sh >= p->kh && p->sw >= p->kw; }

// Whether the windows are disjoint and contain every pixel of the image.
static int windows_tile_image(const pool_t *p) {
  return disjoint_windows(p) && p->sh == p->kh && p->sw == p->kw &&
         p->oh * p->sh - p->pt >= p->h && p->ow * p->sw - p->pl >= p->w;
}

static void zero_channels(const pool_t *p, float *dx, int c, int c_end) {
  if (c_end - c == p->c)
    fill_zero(dx, p->h * p->w * p->c);
  else
    for (int i = 0; i < p->h * p->w; i++) fill_zero(dx + i * p->c + c, c_end - c);
}

INLINE void scatter_image(const pool_t *p, const float *g, const float *x, float *dx, int c,
                          int c_end, scatter_t scatter) {
  int disjoint = disjoint_windows(p);
  if (!windows_tile_image(p)) zero_channels(p, dx, c, c_end);
  for (int oy = 0; oy < p->oh; oy++)
    for (int ox = 0; ox < p->ow; ox++, g += p->c) {
      window_t v = clipped_window(p, window_bounds(p, oy, ox));
      if (is_empty(v)) continue;
      if (disjoint && is_2x2(v))
        scatter_window(p, g, x, dx, (window_t){2, 2, v.offset}, 1, c, c_end, scatter);
      else if (disjoint)
        scatter_window(p, g, x, dx, v, 1, c, c_end, scatter);
      else
        scatter_window(p, g, x, dx, v, 0, c, c_end, scatter);
    }
}

INLINE void pool_backward(const pool_t *p, const float *g, const float *x, float *dx,
                          scatter_t scatter) {
  int groups = ceil_div(p->c, 4), size = p->h * p->w * p->c;
  int unit = partition_begin((int64_t)p->n * groups, p->thread, p->threads);
  int end = partition_begin((int64_t)p->n * groups, p->thread + 1, p->threads);
  while (unit < end) {
    int image = unit / groups, first = unit % groups, last = min_int(groups, first + end - unit);
    scatter_image(p, g + image * p->oh * p->ow * p->c, x + image * size, dx + image * size,
                  4 * first, min_int(4 * last, p->c), scatter);
    unit += last - first;
  }
}

INLINE void scatter_to_max(const pool_t *p, const float *g, const float *x, float *dx, window_t v,
                           int overwrite, int vectors, int lanes) {
  f32x4 best[VECTORS], gradient[VECTORS];
  v128_t argmax[VECTORS];
  for (int i = 0; i < vectors; i++) {
    best[i] = load_lanes(x + v.offset + 4 * i, lanes);
    gradient[i] = load_lanes(g + 4 * i, lanes);
    argmax[i] = wasm_i32x4_splat(v.offset);
  }
  EACH_VECTOR(p, v, vectors, {
    f32x4 a = load_lanes(x + pixel + 4 * i, lanes);
    v128_t is_new_max = wins_f32x4(a, best[i]);
    best[i] = wasm_v128_bitselect(a, best[i], is_new_max);
    argmax[i] = wasm_v128_bitselect(wasm_i32x4_splat(pixel), argmax[i], is_new_max);
  })
  EACH_VECTOR(p, v, vectors, {
    v128_t is_argmax = wasm_i32x4_eq(argmax[i], wasm_i32x4_splat(pixel));
    store(dx + pixel + 4 * i, wasm_v128_and(gradient[i], is_argmax), overwrite, lanes);
  })
}

INLINE void scatter_evenly(const pool_t *p, const float *g, const float *x, float *dx, window_t v,
                           int overwrite, int vectors, int lanes) {
  (void)x;
  f32x4 weight = wasm_f32x4_splat(1.0f / (v.rows * v.columns)), gradient[VECTORS];
  for (int i = 0; i < vectors; i++)
    gradient[i] = wasm_f32x4_mul(load_lanes(g + 4 * i, lanes), weight);
  EACH_VECTOR(p, v, vectors, { store(dx + pixel + 4 * i, gradient[i], overwrite, lanes); })
}

void max_pool_scatter(const float *g, const float *x, float *dx, POOL_PARAMS) {
  pool_t p = POOL;
  pool_backward(&p, g, x, dx, scatter_to_max);
}

void avg_pool_grad(const float *g, float *dx, POOL_PARAMS) {
  pool_t p = POOL;
  pool_backward(&p, g, dx, dx, scatter_evenly);
}
