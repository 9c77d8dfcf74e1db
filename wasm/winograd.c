// Windows of three by three by Winograd's minimal filtering F(2x2, 3x3) (Lavin and Gray, "Fast
// Algorithms for Convolutional Neural Networks", CVPR 2016).
//
// A tile of 2 x 2 outputs sees 4 x 4 pixels. With `values` = B' pixels B and `filter` = G taps G',
// both 4 x 4, the outputs are A' (values * filter) A: 16 products where the sum over taps has 36.
// Over channels, each of the 16 places is a matrix product, tiles x channels times channels x
// columns. An output is made only from what its own window sees, as without it: so where a window
// is all zero, so is the output. The transforms, by their estimated cycles, are a fifth of it at 16
// channels and a sixteenth at 64; the whole was measured 1.6 to 2.3 times as fast as nine taps
// (Chromium, 2026-11).
//
//   B' = 1  0 -1  0     G = 1   0   0     A' = 1  1  1  0
//        0  1  1  0         1/2 1/2 1/2        0  1 -1 -1
//        0 -1  1  0         1/2 -1/2 1/2
//        0  1  0 -1         0   0   1

#include "pack.h"
#include "tile.h"
#include "windows.h"

enum {
  PLACES = 16,
  CHANNELS = 256,
  FILTER = 8192,  // channels x columns of one place of the filter: 512 KB for all
  VALUES = 2048,  // tiles x channels, or tiles x columns, of one place: 128 KB for all
  // From place to place. At powers of two all places would share the same few lines of L1.
  FILTER_STEP = FILTER + 16,
  STEP = VALUES + 16,
};

typedef struct {
  float filter[PLACES * FILTER_STEP];
  float values[PLACES * STEP];
  float products[9 * FILTER];  // the filter's taps before
  float zeros[CHANNELS];
} winograd_scratch_t;

_Static_assert(sizeof(winograd_scratch_t) <= SCRATCH_BYTES, "Winograd needs more scratch");
_Static_assert(9 * FILTER >= PLACES * STEP, "products need more room");

static int tiles_down(const windows_t *v) { return ceiling(v->rows, 2); }
static int tiles_across(const windows_t *v) { return ceiling(v->columns, 2); }
static int count_tiles(const windows_t *v) { return v->n * tiles_down(v) * tiles_across(v); }

int winograd_fits(const windows_t *v, int columns) {
  return v->taps_y == 3 && v->taps_x == 3 && v->step_y == 1 && v->step_x == 1 && v->gap_y == 1 &&
         v->gap_x == 1 && v->channels % 4 == 0 && columns % 4 == 0 && v->channels >= 8 &&
         columns >= 8 && v->channels <= CHANNELS && v->rows >= 4 && v->columns >= 4 &&
         count_tiles(v) >= 16 * v->threads;
}

// -- tiles --------------------------------------------------------------------------------------

typedef struct {
  int image, y, x;
} tile_t;

static tile_t tile_at(const windows_t *v, int tile) {
  int across = tiles_across(v), down = tiles_down(v);
  return (tile_t){tile / across / down, tile / across % down * 2, tile % across * 2};
}

// The pixels (y + i, x + j), i and j < size, of an image; outside lie zeros.
INLINE void find_pixels(const float *image, int h, int w, int c, int y, int x, int size,
                        const float *zeros, const float **pixels) {
  for (int i = 0; i < size; i++)
    for (int j = 0; j < size; j++) {
      int inside = (uint32_t)(y + i) < (uint32_t)h && (uint32_t)(x + j) < (uint32_t)w;
      pixels[i * size + j] = inside ? image + ((y + i) * w + x + j) * c : zeros;
    }
}

// Row i of one side of B' pixels B.
INLINE f32x4 values_row(int i, f32x4 d0, f32x4 d1, f32x4 d2, f32x4 d3) {
  return i == 0   ? wasm_f32x4_sub(d0, d2)
         : i == 1 ? wasm_f32x4_add(d1, d2)
         : i == 2 ? wasm_f32x4_sub(d2, d1)
                  : wasm_f32x4_sub(d1, d3);
}

// Values of `channels` channels of one tile; `place` floats from place to place.
static void transform_pixels(const float *const *pixels, int channels, float *to, int place) {
  for (int c = 0; c < channels; c += 4)
    for (int i = 0; i < 4; i++) {
      f32x4 r[4];
      for (int j = 0; j < 4; j++)
        r[j] = values_row(i, wasm_v128_load(pixels[j] + c), wasm_v128_load(pixels[4 + j] + c),
                          wasm_v128_load(pixels[8 + j] + c), wasm_v128_load(pixels[12 + j] + c));
      for (int j = 0; j < 4; j++)
        wasm_v128_store(to + (4 * i + j) * place + c, values_row(j, r[0], r[1], r[2], r[3]));
    }
}

// Values of channels [first, first + channels) of tiles [tile, end): a row for each tile.
static void transform_tiles(const windows_t *v, int tile, int end, int first, int channels,
                            winograd_scratch_t *s) {
  for (float *to = s->values; tile < end; tile++, to += channels) {
    tile_t at = tile_at(v, tile);
    const float *pixels[PLACES];
    find_pixels(v->from + at.image * v->h * v->w * v->c + v->channel + first, v->h, v->w, v->c,
                v->start_y + at.y, v->start_x + at.x, 4, s->zeros, pixels);
    transform_pixels(pixels, channels, to, STEP);
  }
}

// -- windows x filter ---------------------------------------------------------------------------

// One side of G taps G'.
INLINE void filter_rows(const f32x4 g[3], f32x4 out[4]) {
  f32x4 half = wasm_f32x4_splat(0.5f), outer = wasm_f32x4_mul(wasm_f32x4_add(g[0], g[2]), half);
  f32x4 inner = wasm_f32x4_mul(g[1], half);
  out[0] = g[0];
  out[1] = wasm_f32x4_add(outer, inner);
  out[2] = wasm_f32x4_sub(outer, inner);
  out[3] = g[2];
}

// The filter's columns [column, column + columns) in panels, as tiles of products read them.
static void transform_filter(const windows_t *v, const filter_t *f, int column, int columns,
                             winograd_scratch_t *s) {
  int size = v->channels * ceiling(columns, TILE_COLUMNS) * TILE_COLUMNS;
  for (int t = 0; t < 9; t++) {
    const float *at = f->at + t / 3 * f->tap_y + t % 3 * f->tap_x;
    if (f->transposed)
      pack_rows(at + column * f->stride, f->stride, v->channels, columns, s->products + t * size,
                v->channels, TILE_COLUMNS);
    else
      pack_columns(at + column, f->stride, v->channels, columns, s->products + t * size,
                   v->channels, TILE_COLUMNS);
  }
  for (int at = 0; at < size; at += 4) {
    f32x4 rows[3][4];
    for (int i = 0; i < 3; i++) {
      f32x4 taps[3];
      for (int j = 0; j < 3; j++)
        taps[j] = wasm_v128_load(s->products + (3 * i + j) * size + at);
      filter_rows(taps, rows[i]);
    }
    for (int j = 0; j < 4; j++) {
      f32x4 taps[3] = {rows[0][j], rows[1][j], rows[2][j]}, out[4];
      filter_rows(taps, out);
      for (int i = 0; i < 4; i++)
        wasm_v128_store(s->filter + (4 * i + j) * FILTER_STEP + at, out[i]);
    }
  }
}

// products = values x filter in each place; rows of `wide` floats, whole panels.
static void multiply_places(const windows_t *v, int tiles, int wide, winograd_scratch_t *s) {
  int c = v->channels;
  int out_rows[TILE_ROWS];
  for (int i = 0; i < TILE_ROWS; i++) out_rows[i] = i * wide;
  product_t p = {.b_step = TILE_COLUMNS, .k = c, .rows = TILE_ROWS, .columns = TILE_COLUMNS};
  for (int place = 0; place < PLACES; place++)
    for (int j = 0; j < wide; j += TILE_COLUMNS) {
      p.b = s->filter + place * FILTER_STEP + j * c;
      float *out = s->products + place * STEP + j;
      for (int i = 0; i < tiles; i += TILE_ROWS)
        tile_strided(&p, s->values + place * STEP + i * c, c, 1, out + i * wide, out_rows,
                     TILE_ROWS, TILE_COLUMNS / 4);
    }
}

// One side of A' products A.
INLINE void output_rows(const f32x4 m[4], f32x4 out[2]) {
  out[0] = wasm_f32x4_add(wasm_f32x4_add(m[0], m[1]), m[2]);
  out[1] = wasm_f32x4_sub(wasm_f32x4_sub(m[1], m[2]), m[3]);
}

// The rows x columns (1 or 2) outputs of a tile that there are.
INLINE void transform_products(const float *from, int columns, const target_t *t, float *to,
                               int rows, int pixels) {
  for (int k = 0; k < columns; k += 4) {
    f32x4 half[4][2];
    for (int i = 0; i < 4; i++) {
      f32x4 m[4];
      for (int j = 0; j < 4; j++) m[j] = wasm_v128_load(from + (4 * i + j) * STEP + k);
      output_rows(m, half[i]);
    }
    for (int x = 0; x < pixels; x++) {
      f32x4 m[4] = {half[0][x], half[1][x], half[2][x], half[3][x]}, out[2];
      output_rows(m, out);
      for (int y = 0; y < rows; y++) wasm_v128_store(to + y * t->row + x * t->pixel + k, out[y]);
    }
  }
}

// The outputs of `tiles` tiles side by side are final.
static void finish_tiles(const windows_t *v, const target_t *t, tile_t at, int tiles, int column,
                         int columns) {
  int pixels = smaller(2 * tiles, v->columns - at.x);
  int together = t->pixel == t->after.columns ? pixels : 1;
  for (int y = at.y; y < smaller(at.y + 2, v->rows); y++)
    for (int x = at.x; x < at.x + pixels; x += together)
      finish(&t->after, t->to + at.image * t->image + y * t->row + x * t->pixel + column, together,
             columns);
}

static void write_tiles(const windows_t *v, const target_t *t, int tile, int end, int column,
                        int columns, int wide, const winograd_scratch_t *s) {
  int across = tiles_across(v);
  const float *from = s->products;
  for (int next; tile < end; tile = next) {
    tile_t first = tile_at(v, tile);
    next = smaller(end, (tile / across + 1) * across);
    for (int i = 0; i < next - tile; i++, from += wide) {
      float *to = t->to + first.image * t->image + first.y * t->row +
                  (first.x + 2 * i) * t->pixel + column;
      int rows = smaller(2, v->rows - first.y), pixels = smaller(2, v->columns - first.x - 2 * i);
      if (rows == 2 && pixels == 2)
        transform_products(from, columns, t, to, 2, 2);
      else
        transform_products(from, columns, t, to, rows, pixels);
    }
    if (t->after.call) finish_tiles(v, t, first, next - tile, column, columns);
  }
}

static winograd_scratch_t *winograd_scratch(const windows_t *v) {
  winograd_scratch_t *s = (winograd_scratch_t *)scratch(v->thread);
  fill_zero(s->zeros, CHANNELS);
  return s;
}

// Tiles are shared out; the filter is transformed by every thread.
void correlate_winograd(const windows_t *v, const filter_t *f, const target_t *t) {
  winograd_scratch_t *s = winograd_scratch(v);
  int begin = share(count_tiles(v), v->thread, v->threads);
  int end = share(count_tiles(v), v->thread + 1, v->threads);
  int most = FILTER / v->channels / TILE_COLUMNS * TILE_COLUMNS;
  for (int column = 0; column < f->columns; column += most) {
    int columns = smaller(most, f->columns - column);
    int wide = ceiling(columns, TILE_COLUMNS) * TILE_COLUMNS;
    int tiles = VALUES / larger(v->channels, wide) / TILE_ROWS * TILE_ROWS;
    transform_filter(v, f, column, columns, s);
    for (int tile = begin; tile < end; tile += tiles) {
      int last = smaller(end, tile + tiles);
      transform_tiles(v, tile, last, 0, v->channels, s);
      multiply_places(v, last - tile, wide, s);
      write_tiles(v, t, tile, last, column, columns, wide, s);
    }
  }
}

// -- the filter's gradient ----------------------------------------------------------------------
//
// That of `filter` is, in each place, channels x tiles times tiles x columns: values times the
// outputs' gradients A g A', summed over all tiles. The taps' gradient is G' (that) G.

// One side of A g A'.
INLINE void gradient_rows(f32x4 g0, f32x4 g1, f32x4 out[4]) {
  out[0] = g0;
  out[1] = wasm_f32x4_add(g0, g1);
  out[2] = wasm_f32x4_sub(g0, g1);
  out[3] = wasm_f32x4_neg(g1);
}

static void transform_gradient(const float *const *pixels, int columns, float *to) {
  for (int k = 0; k < columns; k += 4) {
    f32x4 half[2][4];
    for (int x = 0; x < 2; x++)
      gradient_rows(wasm_v128_load(pixels[x] + k), wasm_v128_load(pixels[2 + x] + k), half[x]);
    for (int i = 0; i < 4; i++) {
      f32x4 out[4];
      gradient_rows(half[0][i], half[1][i], out);
      for (int j = 0; j < 4; j++) wasm_v128_store(to + (4 * i + j) * STEP + k, out[j]);
    }
  }
}

// A row of `wide` floats for each tile, of which `columns` count.
static void transform_gradients(const windows_t *v, const float *g, int stride, int tile, int end,
                                int columns, int wide, winograd_scratch_t *s) {
  for (float *to = s->products; tile < end; tile++, to += wide) {
    tile_t at = tile_at(v, tile);
    const float *pixels[4];
    find_pixels(g + at.image * v->rows * v->columns * stride, v->rows, v->columns, stride, at.y,
                at.x, 2, s->zeros, pixels);
    transform_gradient(pixels, columns, to);
  }
}

// filter += values' x products in each place, `channels` rows of `wide` floats.
static void add_places(int tiles, int channels, int wide, winograd_scratch_t *s) {
  int out_rows[TILE_ROWS];
  for (int i = 0; i < TILE_ROWS; i++) out_rows[i] = i * wide;
  product_t p = {.b_step = wide, .k = tiles, .add = 1, .columns = TILE_COLUMNS};
  for (int place = 0; place < PLACES; place++)
    for (int j = 0; j < wide; j += TILE_COLUMNS) {
      p.b = s->products + place * STEP + j;
      float *out = s->filter + place * FILTER_STEP + j;
      for (int i = 0; i < channels; i += TILE_ROWS) {
        p.rows = smaller(TILE_ROWS, channels - i);
        tile_strided(&p, s->values + place * STEP + i, 1, channels, out + i * wide, out_rows,
                     TILE_ROWS, TILE_COLUMNS / 4);
      }
    }
}

// One side of G' (gradient of `filter`) G.
INLINE void tap_rows(const f32x4 u[4], f32x4 out[3]) {
  f32x4 half = wasm_f32x4_splat(0.5f);
  f32x4 sum = wasm_f32x4_mul(wasm_f32x4_add(u[1], u[2]), half);
  out[0] = wasm_f32x4_add(u[0], sum);
  out[1] = wasm_f32x4_mul(wasm_f32x4_sub(u[1], u[2]), half);
  out[2] = wasm_f32x4_add(u[3], sum);
}

// `channels` channels of the taps, from the first one at `out` on.
static void write_taps(const windows_t *v, const winograd_scratch_t *s, int channels, int columns,
                       int wide, int stride, float *out) {
  for (int c = 0; c < channels; c++)
    for (int k = 0; k < columns; k += 4) {
      f32x4 half[4][3];
      for (int i = 0; i < 4; i++) {
        f32x4 u[4];
        for (int j = 0; j < 4; j++)
          u[j] = wasm_v128_load(s->filter + (4 * i + j) * FILTER_STEP + c * wide + k);
        tap_rows(u, half[i]);
      }
      for (int j = 0; j < 3; j++) {
        f32x4 u[4] = {half[0][j], half[1][j], half[2][j], half[3][j]}, taps[3];
        tap_rows(u, taps);
        for (int i = 0; i < 3; i++)
          wasm_v128_store(out + ((3 * i + j) * v->channels + c) * stride + k, taps[i]);
      }
    }
}

// Channels [first, first + channels) and some columns of the taps' gradient.
static void correlate_part(const windows_t *v, const float *g, int first, int channels, int columns,
                           int stride, float *out, winograd_scratch_t *s) {
  int wide = ceiling(columns, TILE_COLUMNS) * TILE_COLUMNS, all = count_tiles(v);
  int tiles = VALUES / larger(channels, wide);
  for (int place = 0; place < PLACES; place++)
    fill_zero(s->filter + place * FILTER_STEP, channels * wide);
  for (int tile = 0; tile < all; tile += tiles) {
    int end = smaller(all, tile + tiles);
    transform_tiles(v, tile, end, first, channels, s);
    transform_gradients(v, g, stride, tile, end, columns, wide, s);
    add_places(end - tile, channels, wide, s);
  }
  write_taps(v, s, channels, columns, wide, stride, out + first * stride);
}

// Channels, four at a time, are shared out.
void correlate_filter_winograd(const windows_t *v, const float *g, int columns, int stride,
                               float *out, const after_t *after) {
  winograd_scratch_t *s = winograd_scratch(v);
  int begin = share(v->channels / 4, v->thread, v->threads) * 4;
  int end = share(v->channels / 4, v->thread + 1, v->threads) * 4;
  int most = FILTER / larger(1, end - begin) / TILE_COLUMNS * TILE_COLUMNS;
  for (int column = 0; begin < end && column < columns; column += most) {
    int part = smaller(most, columns - column);
    correlate_part(v, g + column, begin, end - begin, part, stride, out + column, s);
    for (int tap = 0; tap < 9; tap++)
      finish(after, out + (tap * v->channels + begin) * stride + column, end - begin, part);
  }
}
