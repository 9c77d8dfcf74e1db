// Epilogues: functions of a program that run on each final rectangle of a result matrix.
#pragma once

#include "engine.h"

// The result matrix begins at `out` and has rows of `columns` floats.
typedef struct {
  epilogue_t function;  // 0: no epilogue
  int *arguments;
  const float *out;
  int columns;
} epilogue_args_t;

// Run the epilogue on the `rows` x `columns` rectangle that begins at `first`.
static inline void run_epilogue(const epilogue_args_t *args, const float *first, int rows,
                                int columns) {
  if (!args->function || !rows || !columns) return;
  int index = (int)(first - args->out);
  args->function(args->arguments, index / args->columns, rows, index % args->columns, columns);
}
