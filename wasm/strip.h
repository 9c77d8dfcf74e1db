// Strips: a few rows of A times many columns of B.
#pragma once

#include "simd.h"

// out[i * out_row + j] (+)= the sum over p < k of A(i, p) B(p, j), for j < columns.
typedef struct {
  const float *a;  // A(i, p) = a[i * a_row + p * a_column]
  int a_row, a_column;
  // B(p, j) = b[p * b_row + j / 8 * panel + j % 8]; if `last`, the eighth of the columns that is
  // not whole stands there: last[8 * p + j % 8]. Panels are always eight wide.
  const float *b, *last;
  int b_row, panel, columns, k, add;
  float *out;
  int out_row;
} strip_t;

// One to TILE_ROWS rows of A.
void multiply_strip(const strip_t *s, int rows);

// How many of the rows that are left the next strip takes: one row or two are as slow as four, so
// the last two strips are about as high.
int next_rows(int left);
