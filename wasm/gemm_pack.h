// Packing of matrices into panels, which the micro-kernel reads sequentially.
//
// A panel holds `width` adjacent columns: panel[p * width + j] for p < panel_depth. Panels are
// contiguous; the last panel is padded with zeros. Each call fills `depth` rows of all panels.
#pragma once

#include "simd.h"

// Pack rows [p, end) of one panel, of which the source has `columns` columns; width >= 4.
INLINE void pack_panel(const float *source, int stride, int p, int end, int columns, float *panel,
                       int width) {
  for (; p < end; p++)
    for (int v = 0; v < width; v += 4) {
      int j = min_int(v, width - 4);  // in a panel of six columns, the two vectors overlap
      wasm_v128_store(panel + p * width + j, load_lanes(source + p * stride + j, columns - j));
    }
}

// Pack source[p * stride + j]: rows of the source are rows of the panels.
INLINE void pack_columns(const float *source, int stride, int depth, int columns, float *panels,
                         int panel_depth, int width) {
  // Eight rows at a time: the second panel of a cache line reads it while it is still cached.
  for (int p = 0; p < depth; p += 8) {
    int end = min_int(p + 8, depth), j = 0;
    for (; j + width <= columns; j += width)
      pack_panel(source + j, stride, p, end, width, panels + j * panel_depth, width);
    if (j < columns)
      pack_panel(source + j, stride, p, end, columns - j, panels + j * panel_depth, width);
  }
}

// Transpose a block of 4 x 4, of which `rows` and `columns` are within the source.
INLINE void pack_block(const float *source, int stride, int rows, int columns, float *panel,
                       int width) {
  f32x4 row[4];
  for (int i = 0; i < 4; i++)
    row[i] = i < rows ? load_lanes(source + i * stride, columns) : wasm_f32x4_splat(0);
  transpose_4x4(row);
  for (int i = 0; i < min_int(4, columns); i++) wasm_v128_store(panel + i * width, row[i]);
}

// Pack source[j * stride + p]: columns of the source are rows of the panels. `width` is a multiple
// of 4.
INLINE void pack_rows(const float *source, int stride, int depth, int columns, float *panels,
                      int panel_depth, int width) {
  for (int j = 0; j < ceil_div(columns, width) * width; j += 4, source += 4 * stride) {
    float *panel = panels + j / width * width * panel_depth + j % width;
    int p = 0;
    if (j + 4 <= columns)
      for (; p + 4 <= depth; p += 4) pack_block(source + p, stride, 4, 4, panel + p * width, width);
    for (; p < depth; p += 4)
      pack_block(source + p, stride, columns - j, depth - p, panel + p * width, width);
  }
}
