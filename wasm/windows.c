// Windows of images times a filter, as a matrix product without the matrix of windows.
//
// The value of a window is found at pixel + step: `pixel` depends on the output alone and `step`
// on tap and channel alone. So two tables stand for all of im2col, and tile_indirect reads the
// images where they are. Where a window leaves its image, the part of the images that is needed
// is first copied into scratch with zeros around it.

#include "windows.h"

#include "pack.h"
#include "tile.h"

enum {
  PIXELS = 1024,           // outputs of one patch
  STEPS = 16384,           // window values of one block
  BLOCK_STEPS = 2048,      // the same, if a tap does not have more channels: a panel of 64 KB
  FILTER_FLOATS = 131072,  // packed columns of the filter, 512 KB
  COPY_FLOATS = 160000,    // copied images, 640 KB
};

typedef struct {
  float filter[FILTER_FLOATS];
  float copy[COPY_FLOATS];
  int pixels[PIXELS + TILE_ROWS], outs[PIXELS + TILE_ROWS];
  int steps[STEPS + TILE_ROWS];
} windows_scratch_t;

_Static_assert(sizeof(windows_scratch_t) <= SCRATCH_BYTES, "windows need more scratch");

// A part of the outputs; several images only if each is complete.
typedef struct {
  int image, images, row, rows, column, columns;
} patch_t;

// -- patches and what they read -----------------------------------------------------------------

static int span(int outputs, int step, int taps, int gap) {
  return (outputs - 1) * step + (taps - 1) * gap + 1;
}

static int leaves_image(const windows_t *v) {
  return v->start_y < 0 || v->start_x < 0 ||
         v->start_y + span(v->rows, v->step_y, v->taps_y, v->gap_y) > v->h ||
         v->start_x + span(v->columns, v->step_x, v->taps_x, v->gap_x) > v->w;
}

// Floats to copy for a patch of one image.
static int64_t copy_size(const windows_t *v, int rows, int columns) {
  return (int64_t)span(rows, v->step_y, v->taps_y, v->gap_y) *
         span(columns, v->step_x, v->taps_x, v->gap_x) * v->channels;
}

int windows_fit(const windows_t *v) {
  return v->channels <= STEPS && (!leaves_image(v) || copy_size(v, 1, 1) <= COPY_FLOATS);
}

static patch_t largest_patch(const windows_t *v, int copied) {
  patch_t p = {.images = 1, .columns = smaller(v->columns, PIXELS)};
  while (copied && copy_size(v, 1, p.columns) > COPY_FLOATS) p.columns = ceiling(p.columns, 2);
  p.rows = p.columns < v->columns ? 1 : smaller(v->rows, PIXELS / p.columns);
  while (copied && copy_size(v, p.rows, p.columns) > COPY_FLOATS) p.rows = ceiling(p.rows, 2);
  if (p.rows == v->rows && p.columns == v->columns) {
    p.images = PIXELS / (p.rows * p.columns);
    if (copied) p.images = smaller(p.images, COPY_FLOATS / (int)copy_size(v, p.rows, p.columns));
  }
  return p;
}

// The images as the tables see them: in place, or the copy of a patch.
typedef struct {
  int copied, image, row, pixel;  // floats from one to the next
} layout_t;

static layout_t layout_of(const windows_t *v, const patch_t *p, int copied) {
  if (!copied) return (layout_t){0, v->h * v->w * v->c, v->w * v->c, v->c};
  int row = span(p->columns, v->step_x, v->taps_x, v->gap_x) * v->channels;
  return (layout_t){1, span(p->rows, v->step_y, v->taps_y, v->gap_y) * row, row, v->channels};
}

static void copy_row(const windows_t *v, const float *from, int x, int width, float *to) {
  int before = smaller(width, larger(0, -x)), end = larger(before, smaller(width, v->w - x));
  fill_zero(to, before * v->channels);
  for (int i = before; i < end; i++)
    for (int k = 0; k < v->channels; k += 4)
      store_lanes(to + i * v->channels + k, load_lanes(from + (x + i) * v->c + k, v->channels - k),
                  v->channels - k);
  fill_zero(to + end * v->channels, (width - end) * v->channels);
}

static void copy_patch(const windows_t *v, const patch_t *p, const layout_t *l, float *to) {
  int y = v->start_y + p->row * v->step_y, x = v->start_x + p->column * v->step_x;
  int height = l->image / l->row, width = l->row / l->pixel;
  for (int image = p->image; image < p->image + p->images; image++)
    for (int i = 0; i < height; i++, to += l->row) {
      const float *from = v->from + (image * v->h + y + i) * v->w * v->c + v->channel;
      if (y + i >= 0 && y + i < v->h)
        copy_row(v, from, x, width, to);
      else
        fill_zero(to, l->row);
    }
}

// Where the patch's first output finds tap (0, 0) of channel 0.
static const float *patch_origin(const windows_t *v, const patch_t *p, const layout_t *l,
                                 windows_scratch_t *s) {
  if (l->copied) {
    copy_patch(v, p, l, s->copy);
    return s->copy;
  }
  return v->from + p->image * l->image + (v->start_y + p->row * v->step_y) * l->row +
         (v->start_x + p->column * v->step_x) * l->pixel + v->channel;
}

// -- tables ---------------------------------------------------------------------------------------

// table[i] = image * a + row * b + column * c over the outputs of a patch; filled up to whole
// tiles with its last entry.
static int pixel_table(const patch_t *p, int a, int b, int c, int *table) {
  int count = 0;
  for (int image = 0; image < p->images; image++)
    for (int y = 0; y < p->rows; y++)
      for (int x = 0; x < p->columns; x++) table[count++] = image * a + y * b + x * c;
  for (int i = 0; i < TILE_ROWS; i++) table[count + i] = table[count - 1];
  return count;
}

// The steps of taps [tap, end), numbered row by row, and their channels.
static int step_table(const windows_t *v, const layout_t *l, int tap, int end, int *table) {
  int count = 0;
  for (; tap < end; tap++) {
    int at = tap / v->taps_x * v->gap_y * l->row + tap % v->taps_x * v->gap_x * l->pixel;
    for (int k = 0; k < v->channels; k++) table[count++] = at + k;
  }
  for (int i = 0; i < TILE_ROWS; i++) table[count + i] = table[count - 1];
  return count;
}

static int same_form(const patch_t *a, const patch_t *b) {
  return a->images == b->images && a->rows == b->rows && a->columns == b->columns;
}

// -- the outputs: rows of A are pixels ------------------------------------------------------------

// One block of the product: some taps, some columns, for the outputs [begin, end) in rows.
typedef struct {
  const windows_t *v;
  const target_t *target;
  windows_scratch_t *s;
  patch_t patch;  // its largest
  layout_t layout;
  int tap, tap_end, column, columns, k;
} block_t;

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

static void patch_product(const block_t *b, const patch_t *p, const float *origin, int pixels) {
  const target_t *t = b->target;
  float *out = t->to + p->image * t->image + p->row * t->row + p->column * t->pixel + b->column;
  product_t product = {.b_step = TILE_COLUMNS, .k = b->k, .add = b->tap > 0};
  for (int j = 0; j < b->columns; j += TILE_COLUMNS) {
    product.b = b->s->filter + j * b->k;
    product.columns = smaller(TILE_COLUMNS, b->columns - j);
    for (int i = 0; i < pixels; i += TILE_ROWS) {
      product.rows = smaller(TILE_ROWS, pixels - i);
      tile_indirect(&product, origin, b->s->pixels + i, b->s->steps, out + j, b->s->outs + i);
    }
  }
}

// The next patch of the rows [row, end) of outputs of all images.
static patch_t next_patch(const block_t *b, int row, int end) {
  int rows = b->v->rows;
  patch_t p = b->patch;
  p.image = row / rows, p.row = row % rows;
  if (p.row == 0 && p.rows == rows && end - row >= rows)
    p.images = smaller(p.images, (end - row) / rows);
  else
    p.images = 1, p.rows = smaller(smaller(p.rows, rows - p.row), end - row);
  return p;
}

// Tables for a patch, unless they are there from the last one.
static int patch_tables(const block_t *b, const patch_t *p, patch_t *form, int pixels) {
  if (same_form(p, form)) return pixels;
  const layout_t *l = &b->layout;
  const target_t *t = b->target;
  *form = *p;
  pixel_table(p, t->image, t->row, t->pixel, b->s->outs);
  return pixel_table(p, l->image, b->v->step_y * l->row, b->v->step_x * l->pixel, b->s->pixels);
}

// body for the patches of the rows [row, end) of all images, with their tables and their origin.
#define EACH_PATCH(b, row, end, body)                                                           \
  do {                                                                                          \
    int pixels = 0;                                                                             \
    patch_t p, form = {0};                                                                      \
    for (int at = (row); at < (end); at += p.images * p.rows) {                                 \
      p = next_patch(b, at, end);                                                               \
      for (p.column = 0; p.column < (b)->v->columns; p.column += (b)->patch.columns) {          \
        p.columns = smaller((b)->patch.columns, (b)->v->columns - p.column);                    \
        pixels = patch_tables(b, &p, &form, pixels);                                            \
        const float *origin = patch_origin((b)->v, &p, &(b)->layout, (b)->s);                   \
        body                                                                                    \
      }                                                                                         \
    }                                                                                           \
  } while (0)

static void block_rows(const block_t *b, int row, int end) {
  EACH_PATCH(b, row, end, { patch_product(b, &p, origin, pixels); });
}

// A window without taps or channels: all outputs are zero.
static void write_zeros(const windows_t *v, const target_t *t, int columns) {
  int end = share((int64_t)v->n * v->rows, v->thread + 1, v->threads);
  for (int row = share((int64_t)v->n * v->rows, v->thread, v->threads); row < end; row++)
    for (int x = 0; x < v->columns; x++)
      fill_zero(t->to + row / v->rows * t->image + row % v->rows * t->row + x * t->pixel, columns);
}

static block_t first_block(const windows_t *v, const target_t *t) {
  block_t b = {.v = v, .target = t, .s = (windows_scratch_t *)scratch(v->thread)};
  int copied = leaves_image(v);
  b.patch = largest_patch(v, copied);
  b.layout = layout_of(v, &b.patch, copied);
  return b;
}

void correlate(const windows_t *v, const filter_t *f, const target_t *t) {
  int taps = v->taps_y * v->taps_x, all_rows = v->n * v->rows;
  if (!all_rows || !v->columns || !f->columns) return;
  if (!taps || !v->channels) {
    write_zeros(v, t, f->columns);
    return;
  }
  block_t b = first_block(v, t);
  // The rows of output are shared out, unless there are fewer of them than columns.
  int panels = ceiling(f->columns, TILE_COLUMNS);
  int by_rows = all_rows >= panels || all_rows >= 4 * v->threads;
  int row = by_rows ? share(all_rows, v->thread, v->threads) : 0;
  int row_end = by_rows ? share(all_rows, v->thread + 1, v->threads) : all_rows;
  int first = by_rows ? 0 : share(panels, v->thread, v->threads) * TILE_COLUMNS;
  int end = by_rows ? panels : share(panels, v->thread + 1, v->threads);
  end = smaller(f->columns, end * TILE_COLUMNS);
  int block_taps = larger(1, BLOCK_STEPS / v->channels);
  for (; b.tap < taps; b.tap = b.tap_end) {
    b.tap_end = smaller(taps, b.tap + block_taps);
    b.k = step_table(v, &b.layout, b.tap, b.tap_end, b.s->steps);
    int block_columns = FILTER_FLOATS / b.k / TILE_COLUMNS * TILE_COLUMNS;
    for (b.column = first; b.column < end; b.column += b.columns) {
      b.columns = smaller(block_columns, end - b.column);
      pack_filter(&b, f);
      block_rows(&b, row, row_end);
    }
  }
}

// -- the filter's gradient: rows of A are taps and channels, its columns are pixels ---------------

typedef struct {
  const float *g;
  int columns, stride;
  float *out;
} gradient_t;

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

// The tiles [unit, end) of a block: down the rows of a panel of columns, then the next panel.
static void patch_gradient(const block_t *b, const patch_t *p, const gradient_t *g,
                           const float *origin, int pixels, int unit, int end) {
  int tiles = ceiling(b->k, TILE_ROWS), first_row = b->tap * b->v->channels;
  const int out_rows[TILE_ROWS] = {0, g->stride, 2 * g->stride, 3 * g->stride};
  product_t product = {.b = b->s->filter, .b_step = TILE_COLUMNS, .k = pixels,
                       .add = p->image + p->row + p->column > 0};
  for (int panel = -1; unit < end; unit++) {
    int column = unit / tiles * TILE_COLUMNS, row = unit % tiles * TILE_ROWS;
    if (unit / tiles != panel) pack_gradient(b->v, p, g, column, b->s->filter);
    panel = unit / tiles;
    product.rows = smaller(TILE_ROWS, b->k - row);
    product.columns = smaller(TILE_COLUMNS, g->columns - column);
    tile_indirect(&product, origin, b->s->steps + row, b->s->pixels,
                  g->out + (first_row + row) * g->stride + column, out_rows);
  }
}

static void block_gradient(const block_t *b, const gradient_t *g) {
  const windows_t *v = b->v;
  int units = ceiling(b->k, TILE_ROWS) * ceiling(g->columns, TILE_COLUMNS);
  int unit = share(units, v->thread, v->threads), end = share(units, v->thread + 1, v->threads);
  if (unit == end) return;
  EACH_PATCH(b, 0, v->n * v->rows, {
    patch_gradient(b, &p, g, origin, pixels, unit, end);
  });
}

void correlate_filter(const windows_t *v, const float *g, int columns, int stride, float *out) {
  int taps = v->taps_y * v->taps_x;
  if (!taps || !v->channels || !columns) return;
  if (!v->n || !v->rows || !v->columns) {
    int end = share(taps * v->channels, v->thread + 1, v->threads);
    for (int row = share(taps * v->channels, v->thread, v->threads); row < end; row++)
      fill_zero(out + row * stride, columns);
    return;
  }
  gradient_t gradient = {g, columns, stride, out};
  target_t unused = {0};
  block_t b = first_block(v, &unused);
  for (int block_taps = STEPS / v->channels; b.tap < taps; b.tap = b.tap_end) {
    b.tap_end = smaller(taps, b.tap + block_taps);
    b.k = step_table(v, &b.layout, b.tap, b.tap_end, b.s->steps);
    block_gradient(&b, &gradient);
  }
}
