// Convolution with one filter for each channel, four channels at a time.
//
// The part of an image that some rows of output need is copied into planes of four channels, with
// zeros around it: so there are no borders, and from pixel to pixel it is always four floats, which
// the inner loops have as constants. Sixteen channels, a cache line, are done at a time.

#include "windows.h"

enum {
  GROUP = 16, VECTORS = GROUP / 4,
  PLANE = 8192,  // floats of a plane, 32 KB, if one row of outputs does not need more
  LARGEST_PLANE = 65536,
  MOST_TAPS = 4096,
  OUTPUTS = 4,
};

typedef struct {
  float planes[VECTORS * LARGEST_PLANE + 4 * OUTPUTS * 8];  // the last outputs may read on
  float taps[VECTORS * 4 * MOST_TAPS];
} depthwise_scratch_t;

_Static_assert(sizeof(depthwise_scratch_t) <= SCRATCH_BYTES, "depthwise needs more scratch");

// Some outputs of an image, and the plane for them.
typedef struct {
  int image, row, rows, column, columns;
  int width, height;  // of the planes, in pixels
} part_t;

static int span(int outputs, int step, int taps, int gap) {
  return (outputs - 1) * step + (taps - 1) * gap + 1;
}

static int64_t plane_size(const windows_t *v, int rows, int columns) {
  return (int64_t)4 * span(rows, v->step_y, v->taps_y, v->gap_y) *
         span(columns, v->step_x, v->taps_x, v->gap_x);
}

int depthwise_fits(const windows_t *v) {
  return (int64_t)v->taps_y * v->taps_x <= MOST_TAPS && plane_size(v, 1, 1) <= LARGEST_PLANE;
}

static part_t largest_part(const windows_t *v) {
  part_t p = {.columns = v->columns, .rows = v->rows};
  while (plane_size(v, 1, p.columns) > LARGEST_PLANE) p.columns = ceiling(p.columns, 2);
  while (p.rows > 1 && plane_size(v, p.rows, p.columns) > PLANE) p.rows = ceiling(p.rows, 2);
  return p;
}

// A row of pixels, `vectors` of four channels and, if the last of these is not whole, its `lanes`.
INLINE void copy_pixels(const float *from, int c, int count, int vectors, int lanes, float *to,
                        int plane) {
  for (int x = 0; x < count; x++, from += c, to += 4) {
    for (int i = 0; i < vectors; i++) wasm_v128_store(to + i * plane, wasm_v128_load(from + 4 * i));
    if (lanes) wasm_v128_store(to + vectors * plane, load_lanes(from + 4 * vectors, lanes));
  }
}

// The part's image with zeros around it, channels [k, end).
static void copy_planes(const windows_t *v, const part_t *p, int k, int end, float *to) {
  int top = v->start_y + p->row * v->step_y, left = v->start_x + p->column * v->step_x;
  int before = smaller(p->width, larger(0, -left)), plane = 4 * p->width * p->height;
  int after = larger(before, smaller(p->width, v->w - left)), count = after - before;
  for (int y = top; y < top + p->height; y++, to += 4 * p->width) {
    int inside = y >= 0 && y < v->h;
    for (int i = 0; i < ceiling(end - k, 4); i++) {
      fill_zero(to + i * plane, 4 * (inside ? before : p->width));
      fill_zero(to + i * plane + 4 * after, 4 * (p->width - after));
    }
    if (!inside) continue;
    const float *from = v->from + ((p->image * v->h + y) * v->w + left + before) * v->c + k;
    if (end - k == GROUP)
      copy_pixels(from, v->c, count, VECTORS, 0, to + 4 * before, plane);
    else
      copy_pixels(from, v->c, count, (end - k) / 4, (end - k) % 4, to + 4 * before, plane);
  }
}

typedef void (*visit_t)(const windows_t *, const part_t *, void *);

// The parts [begin, end) of the outputs of all images, which `largest` tiles.
INLINE void each_part(const windows_t *v, part_t largest, int begin, int end, visit_t visit,
                      void *data) {
  int across = ceiling(v->columns, largest.columns), down = ceiling(v->rows, largest.rows);
  for (int i = begin; i < end; i++) {
    part_t p = {.image = i / (across * down), .row = i / across % down * largest.rows,
                .column = i % across * largest.columns};
    p.rows = smaller(largest.rows, v->rows - p.row);
    p.columns = smaller(largest.columns, v->columns - p.column);
    p.width = span(p.columns, v->step_x, v->taps_x, v->gap_x);
    p.height = span(p.rows, v->step_y, v->taps_y, v->gap_y);
    visit(v, &p, data);
  }
}

static int count_parts(const windows_t *v, part_t largest) {
  return v->n * ceiling(v->columns, largest.columns) * ceiling(v->rows, largest.rows);
}

// -- windows x filter ---------------------------------------------------------------------------

// OUTPUTS outputs side by side, `step` pixels apart, through all rows of `taps` taps. Known
// numbers are constants, so that a pixel is read once for all outputs; 0 taps: any, gap_x apart.
INLINE void multiply_taps(const windows_t *v, const float *x, int x_row, const float *w,
                          f32x4 *sum, int taps, int step) {
  for (int o = 0; o < OUTPUTS; o++) sum[o] = wasm_f32x4_splat(0);
  NOT_UNROLLED for (int i = 0; i < v->taps_y; i++, x += x_row)
    if (taps) {
      f32x4 tap[5];
      for (int j = 0; j < taps; j++, w += 4) tap[j] = wasm_v128_load(w);
      for (int k = 0; k < (OUTPUTS - 1) * step + taps; k++) {
        f32x4 value = wasm_v128_load(x + 4 * k);
        for (int o = 0; o < OUTPUTS; o++)
          if (k - o * step >= 0 && k - o * step < taps)
            sum[o] = multiply_add(value, tap[k - o * step], sum[o]);
      }
    } else {
      for (int j = 0; j < v->taps_x; j++, w += 4)
        for (int o = 0; o < OUTPUTS; o++)
          sum[o] = multiply_add(wasm_v128_load(x + 4 * (j * v->gap_x + o * v->step_x)),
                                wasm_v128_load(w), sum[o]);
    }
}

typedef struct {
  const filter_t *filter;
  const target_t *to;
  depthwise_scratch_t *s;
  int k, end;  // channels
} product_t;

// `count` (at most OUTPUTS) outputs from `first` on are stored, `lanes` channels of them.
INLINE void multiply_outputs(const windows_t *v, const part_t *p, const float *x, const float *w,
                             float *out, int pixel, int first, int count, int lanes, int taps,
                             int step) {
  f32x4 sum[OUTPUTS];
  multiply_taps(v, x + 4 * first * v->step_x, 4 * v->gap_y * p->width, w, sum, taps, step);
  out += first * pixel;
  for (int o = 0; o < OUTPUTS && o < count; o++, out += pixel) store_lanes(out, sum[o], lanes);
}

INLINE void multiply_row(const windows_t *v, const part_t *p, const float *x, const float *w,
                         float *out, int pixel, int lanes, int taps, int step) {
  int o = 0;
  if (lanes >= 4)
    NOT_UNROLLED for (; o + OUTPUTS <= p->columns; o += OUTPUTS)
      multiply_outputs(v, p, x, w, out, pixel, o, OUTPUTS, 4, taps, step);
  NOT_UNROLLED for (; o < p->columns; o += OUTPUTS)
    multiply_outputs(v, p, x, w, out, pixel, o, p->columns - o, lanes, taps, step);
}

INLINE void multiply_rows(const windows_t *v, const part_t *p, const product_t *m, int taps,
                          int step) {
  const target_t *t = m->to;
  float *out = t->to + p->image * t->image + p->row * t->row + p->column * t->pixel + m->k;
  const float *x = m->s->planes;
  int plane = 4 * p->width * p->height, all_taps = 4 * v->taps_y * v->taps_x;
  for (int y = 0; y < p->rows; y++, x += 4 * v->step_y * p->width, out += t->row)
    for (int i = 0; i < m->end - m->k; i += 4)
      multiply_row(v, p, x + i / 4 * plane, m->s->taps + i / 4 * all_taps, out + i, t->pixel,
                   m->end - m->k - i, taps, step);
}

// Every number of taps has its own code only where it is usual.
static void multiply_part(const windows_t *v, const part_t *p, const product_t *m) {
  int dense = v->gap_x == 1, taps = v->taps_x, step = v->step_x;
  if (dense && taps == 3 && step == 1)
    multiply_rows(v, p, m, 3, 1);
  else if (dense && taps == 3 && step == 2)
    multiply_rows(v, p, m, 3, 2);
  else if (dense && taps == 2 && step == 1)
    multiply_rows(v, p, m, 2, 1);
  else if (dense && taps == 5 && step == 1)
    multiply_rows(v, p, m, 5, 1);
  else
    multiply_rows(v, p, m, 0, 0);
}

static void pack_taps(const windows_t *v, const filter_t *f, int k, int end, float *to) {
  for (; k < end; k += 4)
    for (int i = 0; i < v->taps_y; i++)
      for (int j = 0; j < v->taps_x; j++, to += 4)
        wasm_v128_store(to, load_lanes(f->at + i * f->tap_y + j * f->tap_x + k, end - k));
}

static void finish_part(const part_t *p, const target_t *t, int k, int channels) {
  const float *out = t->to + p->image * t->image + p->row * t->row + p->column * t->pixel + k;
  int together = t->pixel == t->after.columns ? p->columns : 1;
  for (int y = 0; y < p->rows; y++, out += t->row)
    for (int x = 0; x < p->columns; x += together)
      finish(&t->after, out + x * t->pixel, together, channels);
}

static void multiply_group(const windows_t *v, const part_t *p, void *data) {
  const product_t *m = data;
  copy_planes(v, p, m->k, m->end, m->s->planes);
  pack_taps(v, m->filter, m->k, m->end, m->s->taps);
  multiply_part(v, p, m);
  if (m->to->after.call) finish_part(p, m->to, m->k, m->end - m->k);
}

// The parts of the outputs are shared out, for each group of channels.
void correlate_depthwise(const windows_t *v, const filter_t *f, const target_t *t) {
  if (!v->columns || !v->rows) return;
  part_t largest = largest_part(v);
  int parts = count_parts(v, largest), groups = ceiling(v->c, GROUP);
  int unit = share((int64_t)parts * groups, v->thread, v->threads);
  int end = share((int64_t)parts * groups, v->thread + 1, v->threads);
  for (; unit < end; unit++) {
    int k = unit % groups * GROUP, part = unit / groups;
    product_t m = {f, t, (depthwise_scratch_t *)scratch(v->thread), k, smaller(v->c, k + GROUP)};
    each_part(v, largest, part, part + 1, multiply_group, &m);
  }
}

// -- the filter's gradient ----------------------------------------------------------------------

// Add to the sums of taps_y rows of `taps` taps what `outputs` outputs side by side bring.
INLINE void sum_taps(const float *x, int x_row, const float *g, int pixel, int lanes, f32x4 *sum,
                     int outputs, int taps_y, int taps, int step) {
  f32x4 by[OUTPUTS];
  for (int o = 0; o < outputs; o++) by[o] = load_lanes(g + o * pixel, lanes);
  for (int i = 0; i < taps_y; i++, x += x_row)
    for (int k = 0; k < (outputs - 1) * step + taps; k++) {
      f32x4 value = wasm_v128_load(x + 4 * k);
      for (int o = 0; o < outputs; o++)
        if (k - o * step >= 0 && k - o * step < taps)
          sum[i * taps + k - o * step] = multiply_add(value, by[o], sum[i * taps + k - o * step]);
    }
}

typedef struct {
  const float *g;
  depthwise_scratch_t *s;
  int k, end;  // channels
} gradient_t;

// The sums of taps [i, i + taps_y) x [j, j + taps) over a row. Without a known step, one tap.
INLINE void sum_row(const windows_t *v, const part_t *p, const float *x, const float *g, float *to,
                    int lanes, int taps_y, int taps, int step) {
  f32x4 sum[9];
  int row = 4 * v->gap_y * p->width, o = 0;
  for (int t = 0; t < taps_y * taps; t++) sum[t] = wasm_f32x4_splat(0);
  for (; step && o + OUTPUTS <= p->columns; o += OUTPUTS)
    sum_taps(x + 4 * o * step, row, g + o * v->c, v->c, lanes, sum, OUTPUTS, taps_y, taps, step);
  for (; o < p->columns; o++)
    sum_taps(x + 4 * o * v->step_x, row, g + o * v->c, v->c, lanes, sum, 1, taps_y, taps, 1);
  for (int t = 0; t < taps_y * taps; t++) {
    float *at = to + 4 * (t / taps * v->taps_x + t % taps);
    wasm_v128_store(at, wasm_f32x4_add(wasm_v128_load(at), sum[t]));
  }
}

INLINE void sum_part(const windows_t *v, const part_t *p, const gradient_t *d, int i, int j,
                     int taps_y, int taps, int step) {
  int plane = 4 * p->width * p->height, all_taps = 4 * v->taps_y * v->taps_x;
  const float *x = d->s->planes + 4 * (i * v->gap_y * p->width + j * v->gap_x);
  const float *g = d->g + ((p->image * v->rows + p->row) * v->columns + p->column) * v->c + d->k;
  float *to = d->s->taps + 4 * (i * v->taps_x + j);
  for (int y = 0; y < p->rows; y++, x += 4 * v->step_y * p->width, g += v->columns * v->c)
    for (int k = 0; k < d->end - d->k; k += 4)
      sum_row(v, p, x + k / 4 * plane, g + k, to + k / 4 * all_taps, d->end - d->k - k, taps_y,
              taps, step);
}

static void sum_planes(const windows_t *v, const part_t *p, void *data) {
  const gradient_t *d = data;
  copy_planes(v, p, d->k, d->end, d->s->planes);
  int dense = v->gap_x == 1, taps = v->taps_x, step = v->step_x;
  if (dense && taps == 3 && v->taps_y == 3 && step == 1)
    sum_part(v, p, d, 0, 0, 3, 3, 1);
  else if (dense && taps == 3 && v->taps_y == 3 && step == 2)
    sum_part(v, p, d, 0, 0, 3, 3, 2);
  else if (dense && taps == 5 && step == 1)
    for (int i = 0; i < v->taps_y; i++) sum_part(v, p, d, i, 0, 1, 5, 1);
  else
    for (int i = 0; i < v->taps_y; i++)
      for (int j = 0; j < taps; j++) sum_part(v, p, d, i, j, 1, 1, 0);
}

// The channels are shared out, for each of which all outputs are added up.
void correlate_filter_depthwise(const windows_t *v, const float *g, float *out,
                                const after_t *after) {
  int vectors = ceiling(v->c, 4), taps = v->taps_y * v->taps_x;
  int begin = share(vectors, v->thread, v->threads) * 4;
  int end = smaller(v->c, share(vectors, v->thread + 1, v->threads) * 4);
  gradient_t d = {.g = g, .s = (depthwise_scratch_t *)scratch(v->thread)};
  for (d.k = begin; d.k < end; d.k = d.end) {
    d.end = smaller(end, d.k + GROUP);
    fill_zero(d.s->taps, 4 * VECTORS * taps);
    if (v->rows && v->columns) {
      part_t largest = largest_part(v);
      each_part(v, largest, 0, count_parts(v, largest), sum_planes, &d);
    }
    for (int k = d.k, i = 0; k < d.end; k += 4)
      for (int t = 0; t < taps; t++, i += 4)
        store_lanes(out + t * v->c + k, wasm_v128_load(d.s->taps + i), d.end - k);
  }
  if (begin < end) finish(after, out + begin, taps, end - begin);
}
