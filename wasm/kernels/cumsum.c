// Cumulative sum along an axis.

#include "engine.h"
#include "simd.h"

#define CUMSUM_REFERENCE(name, type)                                                           \
  void name(const type *x, type *out, int outer, int n, int inner, int exclusive, int reverse, \
            int thread, int threads) {                                                         \
    for (int u = partition_begin((int64_t)outer * inner, thread, threads);                     \
         u < partition_begin((int64_t)outer * inner, thread + 1, threads); u++) {              \
      type sum = 0;                                                                            \
      for (int i = 0; i < n; i++) {                                                            \
        int index = (u / inner * n + (reverse ? n - 1 - i : i)) * inner + u % inner;           \
        if (exclusive) out[index] = sum;                                                       \
        sum += x[index];                                                                       \
        if (!exclusive) out[index] = sum;                                                      \
      }                                                                                        \
    }                                                                                          \
  }

CUMSUM_REFERENCE(cumsum_f32_reference, float)
CUMSUM_REFERENCE(cumsum_i32_reference, int)

// The cumulative sums of columns [column, end) of one (n, inner) matrix.
#define CUMSUM_COLUMNS(name, type, vector_add)                                                     \
  static void name(const type *x, type *out, int n, int inner, int column, int end, int exclusive, \
                   int reverse) {                                                                  \
    int step = reverse ? -inner : inner;                                                           \
    int j = column;                                                                                \
    for (; j + 4 <= end; j += 4) {                                                                 \
      v128_t sum = wasm_i32x4_splat(0);                                                            \
      int index = (reverse ? (n - 1) * inner : 0) + j;                                             \
      for (int i = 0; i < n; i++, index += step) {                                                 \
        v128_t next = vector_add(sum, wasm_v128_load(x + index));                                  \
        wasm_v128_store(out + index, exclusive ? sum : next);                                      \
        sum = next;                                                                                \
      }                                                                                            \
    }                                                                                              \
    for (; j < end; j++) {                                                                         \
      type sum = 0;                                                                                \
      int index = (reverse ? (n - 1) * inner : 0) + j;                                             \
      for (int i = 0; i < n; i++, index += step) {                                                 \
        type next = sum + x[index];                                                                \
        out[index] = exclusive ? sum : next;                                                       \
        sum = next;                                                                                \
      }                                                                                            \
    }                                                                                              \
  }

CUMSUM_COLUMNS(cumsum_columns_f32, float, wasm_f32x4_add)
CUMSUM_COLUMNS(cumsum_columns_i32, int, wasm_i32x4_add)

// Groups of four columns of all matrices are partitioned across threads.
#define CUMSUM(name, type, cumsum_columns)                                                     \
  void name(const type *x, type *out, int outer, int n, int inner, int exclusive, int reverse, \
            int thread, int threads) {                                                         \
    int groups = ceil_div(inner, 4);                                                           \
    int u = partition_begin((int64_t)outer * groups, thread, threads);                         \
    int end = partition_begin((int64_t)outer * groups, thread + 1, threads);                   \
    while (u < end) {                                                                          \
      int item = u / groups, first = u % groups, count = min_int(groups - first, end - u);     \
      cumsum_columns(x + item * n * inner, out + item * n * inner, n, inner, 4 * first,        \
                     min_int(inner, 4 * (first + count)), exclusive, reverse);                 \
      u += count;                                                                              \
    }                                                                                          \
  }

CUMSUM(cumsum_f32, float, cumsum_columns_f32)
CUMSUM(cumsum_i32, int, cumsum_columns_i32)
