// Rows by index: gather, and its gradient, scatter-add.

#include "engine.h"
#include "simd.h"

void gather_ref(const uint8_t *x, const int *indices, uint8_t *out, int outer, int rows, int count,
                int inner_bytes, int thread, int threads) {
  int end = share((int64_t)outer * count, thread + 1, threads);
  for (int r = share((int64_t)outer * count, thread, threads); r < end; r++) {
    int row = indices[r % count], inside = row >= 0 && row < rows;
    const uint8_t *from = x + ((r / count) * rows + row) * inner_bytes;
    for (int i = 0; i < inner_bytes; i++) out[r * inner_bytes + i] = inside ? from[i] : 0;
  }
}

INLINE void copy_bytes(uint8_t *to, const uint8_t *from, int size) {
  int i = 0;
  for (; i + 16 <= size; i += 16) wasm_v128_store(to + i, wasm_v128_load(from + i));
  for (; i + 4 <= size; i += 4) *(int *)(to + i) = *(const int *)(from + i);
  for (; i < size; i++) to[i] = from[i];
}

INLINE void zero_bytes(uint8_t *to, int size) {
  for (int i = 0; i < size; i++) to[i] = 0;
}

// Single words of one item.
static void gather_words(const int *x, const int *indices, int *out, int rows, int begin, int end) {
  for (int i = begin; i < end; i++)
    out[i] = (uint32_t)indices[i] < (uint32_t)rows ? x[indices[i]] : 0;
}

void gather(const uint8_t *x, const int *indices, uint8_t *out, int outer, int rows, int count,
            int inner_bytes, int thread, int threads) {
  int begin = share((int64_t)outer * count, thread, threads);
  int end = share((int64_t)outer * count, thread + 1, threads);
  if (begin == end) return;
  if (outer == 1 && inner_bytes == 4) {
    gather_words((const int *)x, indices, (int *)out, rows, begin, end);
    return;
  }
  const uint8_t *item = x + (begin / count) * rows * inner_bytes;
  uint8_t *to = out + begin * inner_bytes;
  for (int r = begin, i = begin % count; r < end; r++, to += inner_bytes) {
    // As unsigned, a negative index is a large one.
    if ((uint32_t)indices[i] < (uint32_t)rows)
      copy_bytes(to, item + indices[i] * inner_bytes, inner_bytes);
    else
      zero_bytes(to, inner_bytes);
    if (++i == count) i = 0, item += rows * inner_bytes;
  }
}

// The share of one thread: some columns of all rows, which divide evenly whichever rows are named
// most; or all columns of some rows, where most rows are named by nobody, since zeros are written
// faster in one piece (30,000 x 256 of which 4,096 are named: 0.4 ms and 1.5, wasmtime, 2026-11),
// and where columns are few. Either way each element is summed by one thread, in order.
typedef struct {
  int row, row_end, column, column_end;
} area_t;

enum { LINE = 16 };  // floats

static area_t scatter_area(int rows, int count, int inner, int thread, int threads) {
  if (rows >= (inner < LINE * threads ? inner : count))
    return (area_t){share(rows, thread, threads), share(rows, thread + 1, threads), 0, inner};
  int lines = ceiling(inner, LINE);
  return (area_t){0, rows, smaller(inner, LINE * share(lines, thread, threads)),
                  smaller(inner, LINE * share(lines, thread + 1, threads))};
}

#define SCATTER_ADD_REF(name, type)                                                           \
  void name(const type *updates, const int *indices, type *out, int rows, int count, int inner, \
            int thread, int threads) {                                                        \
    int begin = share(rows, thread, threads), end = share(rows, thread + 1, threads);         \
    for (int i = begin * inner; i < end * inner; i++) out[i] = 0;                             \
    for (int i = 0; i < count; i++)                                                           \
      for (int j = 0; j < inner; j++)                                                         \
        if (indices[i] >= begin && indices[i] < end)                                          \
          out[indices[i] * inner + j] += updates[i * inner + j];                              \
  }

SCATTER_ADD_REF(scatter_add_f32_ref, float)
SCATTER_ADD_REF(scatter_add_i32_ref, int)

#define SCATTER_ADD(name, type, add)                                                          \
  void name(const type *updates, const int *indices, type *out, int rows, int count, int inner, \
            int thread, int threads) {                                                        \
    area_t my = scatter_area(rows, count, inner, thread, threads);                            \
    for (int r = my.row; r < my.row_end; r++)                                                 \
      for (int j = my.column; j < my.column_end; j++) out[r * inner + j] = 0;                 \
    for (int i = 0; i < count; i++) {                                                         \
      if (indices[i] < my.row || indices[i] >= my.row_end) continue;                          \
      const type *from = updates + i * inner;                                                 \
      type *to = out + indices[i] * inner;                                                    \
      int j = my.column;                                                                      \
      for (; j + 4 <= my.column_end; j += 4)                                                  \
        wasm_v128_store(to + j, add(wasm_v128_load(to + j), wasm_v128_load(from + j)));       \
      for (; j < my.column_end; j++) to[j] += from[j];                                        \
    }                                                                                         \
  }

SCATTER_ADD(scatter_add_f32, float, wasm_f32x4_add)
SCATTER_ADD(scatter_add_i32, int, wasm_i32x4_add)
