// What follows a product, on each part of its output as soon as the sums there are final.
#pragma once

#include "engine.h"

// The output begins at `out` and has rows of `columns` floats.
typedef struct {
  epilogue_t call;  // 0: nothing follows
  int *arguments;
  const float *out;
  int columns;
} after_t;

// The `rows` x `columns` floats of the output that begin at `from` are final.
static inline void finish(const after_t *after, const float *from, int rows, int columns) {
  if (!after->call || !rows || !columns) return;
  int at = (int)(from - after->out);
  after->call(after->arguments, at / after->columns, rows, at % after->columns, columns);
}
