// Windows of images times a filter, as a matrix product without the matrix of windows.

#include "bands.h"
#include "pack.h"
#include "patches.h"

int windows_fit(const windows_t *v) {
  return !leaves_image(v) || copy_size(v, 1, 1) <= COPY_FLOATS;
}

// -- the outputs: rows of A are pixels ------------------------------------------------------------

static void pack_filter(const block_t *b, const filter_t *f) {
  const windows_t *v = b->v;
  for (int tap = b->tap; tap < b->tap_end; tap++) {
    const float *at = f->at + tap / v->taps_x * f->tap_y + tap % v->taps_x * f->tap_x;
    float *to = b->s->filter + (tap - b->tap) * v->channels * TILE_COLUMNS;
    if (f->transposed)
      pack_rows(at + b->column * f->stride, f->stride, v->channels, b->columns, to, b->k,
                TILE_COLUMNS);
    else
      pack_columns(at + b->column, f->stride, v->channels, b->columns, to, b->k, TILE_COLUMNS);
  }
}

// The patch's outputs are final: those whose pixels follow each other in one go.
static void finish_patch(const target_t *t, const patch_t *p, const float *out, int columns) {
  if (!t->after.call) return;
  int in_line = t->pixel == t->after.columns;
  int in_rows = in_line && p->columns * t->pixel == t->row;
  int in_images = in_rows && p->rows * t->row == t->image;
  int width = in_line ? p->columns : 1, height = in_rows ? p->rows : 1;
  int depth = in_images ? p->images : 1;
  for (int image = 0; image < p->images; image += depth)
    for (int y = 0; y < p->rows; y += height)
      for (int x = 0; x < p->columns; x += width)
        finish(&t->after, out + image * t->image + y * t->row + x * t->pixel,
               depth * height * width, columns);
}

// Half a tile where there are no more columns.
INLINE void tile_of_columns(const product_t *p, const float *a, const int *a_rows,
                            const int *steps, float *out, const int *out_rows) {
  if (p->columns > 4)
    tile_indirect(p, a, a_rows, steps, out, out_rows, 2);
  else
    tile_indirect(p, a, a_rows, steps, out, out_rows, 1);
}

static void patch_product(const block_t *b, const patch_t *p, const float *origin, int pixels) {
  const target_t *t = &b->target;
  float *out = t->to + p->image * t->image + p->row * t->row + p->column * t->pixel + b->column;
  product_t product = {.b_step = TILE_COLUMNS, .k = b->k, .add = b->tap > 0};
  for (int j = 0; j < b->columns; j += TILE_COLUMNS) {
    product.b = b->s->filter + j * b->k;
    product.columns = smaller(TILE_COLUMNS, b->columns - j);
    for (int i = 0; i < pixels; i += TILE_ROWS) {
      product.rows = smaller(TILE_ROWS, pixels - i);
      tile_of_columns(&product, origin, b->s->pixels + i, b->s->steps, out + j, b->s->outs + i);
    }
  }
  if (b->tap_end == b->v->taps_y * b->v->taps_x) finish_patch(t, p, out, b->columns);
}

// A window without taps or channels: all outputs are zero.
static void write_zeros(const windows_t *v, const target_t *t, int columns) {
  int end = share((int64_t)v->n * v->rows, v->thread + 1, v->threads);
  for (int row = share((int64_t)v->n * v->rows, v->thread, v->threads); row < end; row++)
    for (int x = 0; x < v->columns; x++) {
      float *to = t->to + row / v->rows * t->image + row % v->rows * t->row + x * t->pixel;
      fill_zero(to, columns);
      finish(&t->after, to, 1, columns);
    }
}

static void correlate_whole(const windows_t *v, const filter_t *f, const target_t *t) {
  int taps = v->taps_y * v->taps_x, all_rows = v->n * v->rows;
  if (!all_rows || !v->columns || !f->columns) return;
  if (!taps || !v->channels) {
    write_zeros(v, t, f->columns);
    return;
  }
  // The rows of output are shared out, unless there are fewer of them than columns.
  int panels = ceiling(f->columns, TILE_COLUMNS);
  int by_rows = all_rows >= panels || all_rows >= 4 * v->threads;
  int row = by_rows ? share(all_rows, v->thread, v->threads) : 0;
  int row_end = by_rows ? share(all_rows, v->thread + 1, v->threads) : all_rows;
  int first = by_rows ? 0 : share(panels, v->thread, v->threads) * TILE_COLUMNS;
  int end = by_rows ? panels : share(panels, v->thread + 1, v->threads);
  end = smaller(f->columns, end * TILE_COLUMNS);
  block_t b = first_block(v);
  b.target = *t;
  while (b.tap_end < taps) {
    next_taps(&b, BLOCK_STEPS);
    int block_columns = FILTER_FLOATS / b.k / TILE_COLUMNS * TILE_COLUMNS;
    for (b.column = first; b.column < end; b.column += b.columns) {
      b.columns = smaller(block_columns, end - b.column);
      pack_filter(&b, f);
      each_patch(&b, row, row_end, patch_product);
    }
  }
}

// -- bands: small parts without borders -----------------------------------------------------------

static void correlate_band(const windows_t *v, const filter_t *f, const target_t *t, band_t y,
                           band_t x) {
  windows_t part = *v;
  part.rows = y.outputs, part.columns = x.outputs, part.taps_y = y.taps, part.taps_x = x.taps;
  part.start_y += y.first * v->step_y + y.tap * v->gap_y;
  part.start_x += x.first * v->step_x + x.tap * v->gap_x;
  filter_t filter = *f;
  filter.at += y.tap * f->tap_y + x.tap * f->tap_x;
  target_t target = *t;
  target.to += y.first * t->row + x.first * t->pixel;
  correlate_whole(&part, &filter, &target);
}

// The part of all window values that lies inside of the image.
static float inside(const windows_t *v) {
  int64_t rows = 0, columns = 0;
  for (band_t y = {0}; y.first < v->rows; y.first += y.outputs) {
    y = row_band(v, y.first);
    rows += y.outputs * y.taps;
  }
  for (band_t x = {0}; x.first < v->columns; x.first += x.outputs) {
    x = column_band(v, x.first);
    columns += x.outputs * x.taps;
  }
  int64_t all = (int64_t)v->rows * v->taps_y * v->columns * v->taps_x;
  return all ? (float)(rows * columns) / all : 1;
}

// Small images have much border: bands do not multiply with its zeros, and need no copy. Each of
// them packs its taps, though, so that they must have some pixels.
static int wants_bands(const windows_t *v) {
  return leaves_image(v) && (!windows_fit(v) || (v->n >= 16 && inside(v) < 0.85f));
}

void correlate(const windows_t *v, const filter_t *f, const target_t *t) {
  if (winograd_fits(v, f->columns)) {
    correlate_winograd(v, f, t);
    return;
  }
  if (!wants_bands(v)) {
    correlate_whole(v, f, t);
    return;
  }
  for (band_t y = {0}; y.first < v->rows; y.first += y.outputs) {
    y = row_band(v, y.first);
    for (band_t x = {0}; x.first < v->columns; x.first += x.outputs) {
      x = column_band(v, x.first);
      correlate_band(v, f, t, y, x);
    }
  }
}

// -- the filter's gradient: rows of A are taps and channels, its columns are pixels ---------------

// Gradients of a patch's outputs from `column` on, eight side by side for each output.
static void pack_gradient(const windows_t *v, const patch_t *p, const gradient_t *g, int column,
                          float *to) {
  int columns = smaller(TILE_COLUMNS, g->columns - column);
  for (int row = 0; row < p->images * p->rows; row++) {
    int at = ((p->image * v->rows + p->row + row) * v->columns + p->column) * g->stride + column;
    pack_columns(g->g + at, g->stride, p->columns, columns,
                 to + row * p->columns * TILE_COLUMNS, p->columns, TILE_COLUMNS);
  }
}

// The block's tiles: down the rows of a panel of columns, then the next panel.
static void patch_gradient(const block_t *b, const patch_t *p, const float *origin, int pixels) {
  const gradient_t *g = &b->gradient;
  int tiles = ceiling(b->k, TILE_ROWS), first_row = b->tap * b->v->channels;
  int out_rows[TILE_ROWS];
  for (int i = 0; i < TILE_ROWS; i++) out_rows[i] = i * g->stride;
  product_t product = {.b = b->s->filter, .b_step = TILE_COLUMNS, .k = pixels,
                       .add = p->image + p->row + p->column > 0};
  for (int unit = b->unit, packed = -1; unit < b->unit_end; unit++) {
    int panel = unit / tiles, column = panel * TILE_COLUMNS, row = unit % tiles * TILE_ROWS;
    if (panel != packed) pack_gradient(b->v, p, g, column, b->s->filter);
    packed = panel;
    product.rows = smaller(TILE_ROWS, b->k - row);
    product.columns = smaller(TILE_COLUMNS, g->columns - column);
    tile_of_columns(&product, origin, b->s->steps + row, b->s->pixels,
                    g->out + (first_row + row) * g->stride + column, out_rows);
  }
}

// The block's tiles, as patch_gradient goes through them, are final.
static void finish_gradient(const block_t *b) {
  const gradient_t *g = &b->gradient;
  int tiles = ceiling(b->k, TILE_ROWS);
  for (int unit = b->unit, next; unit < b->unit_end; unit = next) {
    int panel = unit / tiles, column = panel * TILE_COLUMNS, row = unit % tiles * TILE_ROWS;
    next = smaller(b->unit_end, (panel + 1) * tiles);
    int rows = smaller(b->k - row, (next - unit) * TILE_ROWS);
    finish(g->after, g->out + (b->tap * b->v->channels + row) * g->stride + column, rows,
           smaller(TILE_COLUMNS, g->columns - column));
  }
}

void correlate_filter(const windows_t *v, const float *g, int columns, int stride, float *out,
                      const after_t *after) {
  int taps = v->taps_y * v->taps_x;
  if (!taps || !v->channels || !columns) return;
  if (winograd_fits(v, columns)) {
    correlate_filter_winograd(v, g, columns, stride, out, after);
    return;
  }
  if (!v->n || !v->rows || !v->columns) {
    int end = share(taps * v->channels, v->thread + 1, v->threads);
    for (int row = share(taps * v->channels, v->thread, v->threads); row < end; row++)
      fill_zero(out + row * stride, columns), finish(after, out + row * stride, 1, columns);
    return;
  }
  block_t b = first_block(v);
  b.gradient = (gradient_t){g, columns, stride, out, after};
  while (b.tap_end < taps) {
    next_taps(&b, STEPS);
    int units = ceiling(b.k, TILE_ROWS) * ceiling(columns, TILE_COLUMNS);
    b.unit = share(units, v->thread, v->threads);
    b.unit_end = share(units, v->thread + 1, v->threads);
    if (b.unit < b.unit_end) each_patch(&b, 0, v->n * v->rows, patch_gradient);
    finish_gradient(&b);
  }
}
