// Matrices cut into panels that the tiles read from end to end.
//
// A panel holds `width` columns side by side: panel[p * width + j] for p < panel_depth. Panels
// follow one another; the last one is filled up with zeros. Each call fills `depth` rows of them.
#pragma once

#include "simd.h"

// Rows [p, end) of one panel, `columns` of which the source has; the width is four or more.
INLINE void pack_panel(const float *from, int stride, int p, int end, int columns, float *panel,
                       int width) {
  for (; p < end; p++)
    for (int v = 0; v < width; v += 4) {
      int at = smaller(v, width - 4);  // the vectors of a width of six overlap
      wasm_v128_store(panel + p * width + at, load_lanes(from + p * stride + at, columns - at));
    }
}

// The source's rows are the panels' rows: from[p * stride + j].
INLINE void pack_columns(const float *from, int stride, int depth, int columns, float *to,
                         int panel_depth, int width) {
  // Eight rows at a time, so that a cache line that two panels share is read while it is near.
  for (int p = 0; p < depth; p += 8) {
    int end = smaller(p + 8, depth), j = 0;
    for (; j + width <= columns; j += width)
      pack_panel(from + j, stride, p, end, width, to + j * panel_depth, width);
    if (j < columns)
      pack_panel(from + j, stride, p, end, columns - j, to + j * panel_depth, width);
  }
}

// A block of four by four: rows of the source become columns of the panel. `rows` and `columns` of
// the source are there.
INLINE void pack_block(const float *from, int stride, int rows, int columns, float *to, int width) {
  f32x4 row[4];
  for (int i = 0; i < 4; i++)
    row[i] = i < rows ? load_lanes(from + i * stride, columns) : wasm_f32x4_splat(0);
  transpose_4x4(row);
  for (int i = 0; i < smaller(4, columns); i++) wasm_v128_store(to + i * width, row[i]);
}

// The source's columns are the panels' rows: from[j * stride + p]. The width divides by four.
INLINE void pack_rows(const float *from, int stride, int depth, int columns, float *to,
                      int panel_depth, int width) {
  for (int j = 0; j < ceiling(columns, width) * width; j += 4, from += 4 * stride) {
    float *panel = to + j / width * width * panel_depth + j % width;
    int p = 0;
    if (j + 4 <= columns)
      for (; p + 4 <= depth; p += 4) pack_block(from + p, stride, 4, 4, panel + p * width, width);
    for (; p < depth; p += 4)
      pack_block(from + p, stride, columns - j, depth - p, panel + p * width, width);
  }
}
