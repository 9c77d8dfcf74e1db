// Parts of the outputs of sliding windows, and the tables by which tiles read what they see.
//
// The value of a window is found at pixel + step: `pixel` depends on the output alone and `step`
// on tap and channel alone. So two tables stand for all of im2col, and tile_indirect reads the
// images where they are. Where a window leaves its image, the part of the images that is needed
// is first copied into scratch with zeros around it.
#pragma once

#include "engine.h"
#include "tile.h"
#include "windows.h"

enum {
  PIXELS = 1024,           // outputs of one patch
  STEPS = MOST_CHANNELS,   // window values of one block
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

// The gradient of the outputs, of which `columns` lie side by side, where the filter's goes, and
// what follows it.
typedef struct {
  const float *g;
  int columns, stride;
  float *out;
  const after_t *after;
} gradient_t;

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

// Patches of one form share their tables.
static int same_form(const patch_t *a, const patch_t *b) {
  return a->images == b->images && a->rows == b->rows && a->columns == b->columns;
}

// -- blocks ---------------------------------------------------------------------------------------

// One block of the product: some taps, and some columns of the filter or tiles of its gradient.
typedef struct {
  const windows_t *v;
  windows_scratch_t *s;
  patch_t patch;  // the largest
  layout_t layout;
  target_t target;
  int tap, tap_end, k;  // k window values
  int column, columns;
  gradient_t gradient;
  int unit, unit_end;
} block_t;

static block_t first_block(const windows_t *v) {
  block_t b = {.v = v, .s = (windows_scratch_t *)scratch(v->thread)};
  int copied = leaves_image(v);
  b.patch = largest_patch(v, copied);
  b.layout = layout_of(v, &b.patch, copied);
  return b;
}

// Go on to as many of the next taps as have at most `most` values, but to one at least.
static void next_taps(block_t *b, int most) {
  b->tap = b->tap_end;
  b->tap_end = smaller(b->v->taps_y * b->v->taps_x, b->tap + larger(1, most / b->v->channels));
  b->k = step_table(b->v, &b->layout, b->tap, b->tap_end, b->s->steps);
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
  const target_t *t = &b->target;
  *form = *p;
  pixel_table(p, t->image, t->row, t->pixel, b->s->outs);
  return pixel_table(p, l->image, b->v->step_y * l->row, b->v->step_x * l->pixel, b->s->pixels);
}

typedef void (*visit_t)(const block_t *, const patch_t *, const float *origin, int pixels);

// Visit the patches of the rows [row, end) of outputs of all images, with their tables.
INLINE void each_patch(const block_t *b, int row, int end, visit_t visit) {
  int pixels = 0;
  for (patch_t p, form = {0}; row < end; row += p.images * p.rows) {
    p = next_patch(b, row, end);
    for (p.column = 0; p.column < b->v->columns; p.column += b->patch.columns) {
      p.columns = smaller(b->patch.columns, b->v->columns - p.column);
      pixels = patch_tables(b, &p, &form, pixels);
      visit(b, &p, patch_origin(b->v, &p, &b->layout, b->s), pixels);
    }
  }
}
