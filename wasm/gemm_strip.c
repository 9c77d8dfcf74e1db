// Strips of a matrix product, with a specialization of the micro-kernel for each number of rows.

#include "gemm_strip.h"
#include "gemm_microkernel.h"

// The tile to compute next.
typedef struct {
  microtile_t tile;
  float *out;
  int columns_left, row_offsets[TILE_ROWS];
} strip_position_t;

// Compute as many tiles of `vectors` vectors as there are whole panels for.
INLINE void multiply_panels(const gemm_strip_t *s, strip_position_t *pos, int rows, int vectors) {
  int columns = 4 * vectors, whole = columns % TILE_COLUMNS ? 2 * columns : columns;
  pos->tile.columns = columns;
  for (int left = pos->columns_left / whole * whole; left > 0;
       left -= columns, pos->columns_left -= columns) {
    microkernel_strided(&pos->tile, s->a, s->a_row_stride, s->a_column_stride, pos->out,
                        pos->row_offsets, rows, vectors);
    pos->tile.b += s->panel_stride * vectors / 2;
    pos->out += columns;
  }
}

// Few rows have few independent accumulators, so their tiles have more columns if panels are
// contiguous.
INLINE void gemm_strip_inline(const gemm_strip_t *s, int rows) {
  strip_position_t pos = {{s->b, s->b_row_stride, s->k, s->accumulate, rows, 0}, s->out,
                          s->columns, {0}};
  UNROLLED_FOR(i, rows) pos.row_offsets[i] = i * s->out_row_stride;
  if (rows <= 3 && s->panel_stride == TILE_COLUMNS)
    multiply_panels(s, &pos, rows, rows == 3 ? 3 : 4);
  multiply_panels(s, &pos, rows, 2);
  if (pos.columns_left <= 0) return;
  pos.tile.columns = pos.columns_left;
  if (s->b_last) pos.tile.b = s->b_last, pos.tile.b_stride = TILE_COLUMNS;
  if (pos.columns_left > 4)
    microkernel_strided(&pos.tile, s->a, s->a_row_stride, s->a_column_stride, pos.out,
                        pos.row_offsets, rows, 2);
  else
    microkernel_strided(&pos.tile, s->a, s->a_row_stride, s->a_column_stride, pos.out,
                        pos.row_offsets, rows, 1);
}

#define GEMM_STRIP(rows)                                                           \
  static __attribute__((noinline)) void gemm_strip_##rows(const gemm_strip_t *s) { \
    gemm_strip_inline(s, rows);                                                    \
  }
GEMM_STRIP(1)
GEMM_STRIP(2)
GEMM_STRIP(3)
GEMM_STRIP(4)
GEMM_STRIP(5)
GEMM_STRIP(TILE_ROWS)

void gemm_strip(const gemm_strip_t *s, int rows) {
  switch (rows) {
    case 1: gemm_strip_1(s); break;
    case 2: gemm_strip_2(s); break;
    case 3: gemm_strip_3(s); break;
    case 4: gemm_strip_4(s); break;
    case 5: gemm_strip_5(s); break;
    default: gemm_strip_TILE_ROWS(s);
  }
}

int next_strip_rows(int left) {
  return left > TILE_ROWS && left < 2 * TILE_ROWS ? ceil_div(left, 2) : min_int(left, TILE_ROWS);
}
