// Bands: outputs, side by side, that see the same taps inside of the image.
#pragma once

#include "windows.h"

typedef struct {
  int first, outputs, tap, taps;
} band_t;

INLINE band_t taps_of(int output, int step, int start, int taps, int gap, int size) {
  int origin = start + output * step;
  int tap = origin < 0 ? ceiling(-origin, gap) : 0;
  int end = origin < size ? smaller(taps, ceiling(size - origin, gap)) : 0;
  return tap < end ? (band_t){output, 1, tap, end - tap} : (band_t){output, 1, 0, 0};
}

// The band that begins with output `first`.
static inline band_t band_at(int first, int outputs, int step, int start, int taps, int gap,
                             int size) {
  band_t band = taps_of(first, step, start, taps, gap, size);
  for (int i = first + 1; i < outputs; i++, band.outputs++) {
    band_t next = taps_of(i, step, start, taps, gap, size);
    if (next.tap != band.tap || next.taps != band.taps) break;
  }
  return band;
}

// A single row as a band of its own.
INLINE band_t row_taps(const windows_t *v, int row) {
  return taps_of(row, v->step_y, v->start_y, v->taps_y, v->gap_y, v->h);
}

static inline band_t row_band(const windows_t *v, int first) {
  return band_at(first, v->rows, v->step_y, v->start_y, v->taps_y, v->gap_y, v->h);
}

static inline band_t column_band(const windows_t *v, int first) {
  return band_at(first, v->columns, v->step_x, v->start_x, v->taps_x, v->gap_x, v->w);
}
