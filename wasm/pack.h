// Matrices cut into panels that the tiles read from end to end.
//
// A panel holds `width` columns side by side: panel[p * width + j] for p < panel_depth. Panels
// follow one another; the last one is filled up with zeros. Each call fills `depth` rows of them.
#pragma once

#include "simd.h"

// The source's rows are the panels' rows: from[p * stride + j].
INLINE void pack_columns(const float *from, int stride, int depth, int columns, float *to,
                         int panel_depth, int width) {
  // Eight rows at a time, so that a cache line that two panels share is read while it is near.
  for (int p = 0; p < depth; p += 8)
    for (int j = 0; j < columns; j += width)
      for (int q = p; q < smaller(p + 8, depth); q++)
        for (int v = 0; v < width; v += 4)
          wasm_v128_store(to + j * panel_depth + q * width + v,
                          load_lanes(from + q * stride + j + v, columns - j - v));
}

// The source's columns are the panels' rows: from[j * stride + p].
INLINE void pack_rows(const float *from, int stride, int depth, int columns, float *to,
                      int panel_depth, int width) {
  for (int j = 0; j < ceiling(columns, width) * width; j += 4) {
    float *panel = to + j / width * width * panel_depth + j % width;
    for (int p = 0; p < depth; p += 4) {
      f32x4 row[4];
      for (int i = 0; i < 4; i++)
        row[i] = j + i < columns ? load_lanes(from + (j + i) * stride + p, depth - p)
                                 : wasm_f32x4_splat(0);
      transpose_4x4(row);
      for (int i = 0; i < smaller(4, depth - p); i++)
        wasm_v128_store(panel + (p + i) * width, row[i]);
    }
  }
}
