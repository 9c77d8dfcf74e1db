// Strips of the output, by the height that the micro-kernel is compiled for.

#include "strip.h"
#include "tile.h"

// What goes on from tile to tile.
typedef struct {
  product_t product;
  float *out;
  int left, out_rows[TILE_ROWS];
} place_t;

// As many tiles of `vectors` as there are whole panels for.
INLINE void multiply_panels(const strip_t *s, place_t *at, int rows, int vectors) {
  int columns = 4 * vectors, even = columns % TILE_COLUMNS ? 2 * columns : columns;
  at->product.columns = columns;
  for (int todo = at->left / even * even; todo > 0; todo -= columns, at->left -= columns) {
    tile_strided(&at->product, s->a, s->a_row, s->a_column, at->out, at->out_rows, rows, vectors);
    at->product.b += s->panel * vectors / 2;
    at->out += columns;
  }
}

// Few rows have few sums under way, so they take more columns where panels lie side by side.
INLINE void multiply_rows(const strip_t *s, int rows) {
  place_t at = {{s->b, s->b_row, s->k, s->add, rows, 0}, s->out, s->columns, {0}};
  EACH(i, rows) at.out_rows[i] = i * s->out_row;
  if (rows <= 3 && s->panel == TILE_COLUMNS) multiply_panels(s, &at, rows, rows == 3 ? 3 : 4);
  multiply_panels(s, &at, rows, 2);
  if (at.left <= 0) return;
  at.product.columns = at.left;
  if (s->last) at.product.b = s->last, at.product.b_step = TILE_COLUMNS;
  if (at.left > 4)
    tile_strided(&at.product, s->a, s->a_row, s->a_column, at.out, at.out_rows, rows, 2);
  else
    tile_strided(&at.product, s->a, s->a_row, s->a_column, at.out, at.out_rows, rows, 1);
}

#define OF_HEIGHT(rows)                                                        \
  static __attribute__((noinline)) void multiply_##rows(const strip_t *s) { \
    multiply_rows(s, rows);                                                    \
  }
OF_HEIGHT(1)
OF_HEIGHT(2)
OF_HEIGHT(3)
OF_HEIGHT(4)
OF_HEIGHT(5)
OF_HEIGHT(TILE_ROWS)

void multiply_strip(const strip_t *s, int rows) {
  switch (rows) {
    case 1: multiply_1(s); break;
    case 2: multiply_2(s); break;
    case 3: multiply_3(s); break;
    case 4: multiply_4(s); break;
    case 5: multiply_5(s); break;
    default: multiply_TILE_ROWS(s);
  }
}

int next_rows(int left) {
  return left > TILE_ROWS && left < 2 * TILE_ROWS ? ceiling(left, 2) : smaller(left, TILE_ROWS);
}
