// Strips of a matrix product: up to TILE_ROWS rows of A times any number of columns of B.
#pragma once

#include "simd.h"

// out[i * out_row_stride + j] (+)= sum over p < k of A(i, p) B(p, j), for j < columns.
typedef struct {
  const float *a;  // A(i, p) = a[i * a_row_stride + p * a_column_stride]
  int a_row_stride, a_column_stride;
  // B in panels of eight columns: B(p, j) = b[p * b_row_stride + j / 8 * panel_stride + j % 8].
  // If b_last is set, the last panel is separate if it is partial: b_last[8 * p + j % 8].
  const float *b, *b_last;
  int b_row_stride, panel_stride, columns, k, accumulate;
  float *out;
  int out_row_stride;
} gemm_strip_t;

// Compute a strip of one to TILE_ROWS rows.
void gemm_strip(const gemm_strip_t *s, int rows);

// The number of rows of the next strip, of `left` rows. One or two rows take as long as four, so
// the last two strips have about the same number of rows.
int next_strip_rows(int left);
