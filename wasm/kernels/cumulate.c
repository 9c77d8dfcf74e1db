// Sums along the way.

#include "engine.h"
#include "simd.h"

#define CUMSUM_REF(name, type)                                                                     \
  void name(const type *x, type *out, int outer, int n, int inner, int exclusive, int reverse,     \
            int thread, int threads) {                                                             \
    for (int u = share((int64_t)outer * inner, thread, threads);                                   \
         u < share((int64_t)outer * inner, thread + 1, threads); u++) {                            \
      type sum = 0;                                                                                \
      for (int i = 0; i < n; i++) {                                                                \
        int at = (u / inner * n + (reverse ? n - 1 - i : i)) * inner + u % inner;                  \
        if (exclusive) out[at] = sum;                                                              \
        sum += x[at];                                                                              \
        if (!exclusive) out[at] = sum;                                                             \
      }                                                                                            \
    }                                                                                              \
  }

CUMSUM_REF(cumsum_f32_ref, float)
CUMSUM_REF(cumsum_i32_ref, int)

// Columns [column, end) of one item: each row is the sum of the one before and its own.
#define CUMULATE(name, type, vector_add)                                                           \
  static void name(const type *x, type *out, int n, int inner, int column, int end, int exclusive, \
                   int reverse) {                                                                  \
    int step = reverse ? -inner : inner;                                                           \
    int j = column;                                                                                \
    for (; j + 4 <= end; j += 4) {                                                                 \
      v128_t sum = wasm_i32x4_splat(0);                                                            \
      int at = (reverse ? (n - 1) * inner : 0) + j;                                                \
      for (int i = 0; i < n; i++, at += step) {                                                    \
        v128_t next = vector_add(sum, wasm_v128_load(x + at));                                     \
        wasm_v128_store(out + at, exclusive ? sum : next);                                         \
        sum = next;                                                                                \
      }                                                                                            \
    }                                                                                              \
    for (; j < end; j++) {                                                                         \
      type sum = 0;                                                                                \
      int at = (reverse ? (n - 1) * inner : 0) + j;                                                \
      for (int i = 0; i < n; i++, at += step) {                                                    \
        type next = sum + x[at];                                                                   \
        out[at] = exclusive ? sum : next;                                                          \
        sum = next;                                                                                \
      }                                                                                            \
    }                                                                                              \
  }

CUMULATE(cumulate_f32, float, wasm_f32x4_add)
CUMULATE(cumulate_i32, int, wasm_i32x4_add)

// A thread's share are some strips of four columns among those of all items.
#define CUMSUM(name, type, cumulate)                                                               \
  void name(const type *x, type *out, int outer, int n, int inner, int exclusive, int reverse,     \
            int thread, int threads) {                                                             \
    int strips = ceiling(inner, 4);                                                                \
    int u = share((int64_t)outer * strips, thread, threads);                                       \
    int end = share((int64_t)outer * strips, thread + 1, threads);                                 \
    while (u < end) {                                                                              \
      int item = u / strips, first = u % strips, count = smaller(strips - first, end - u);         \
      cumulate(x + item * n * inner, out + item * n * inner, n, inner, 4 * first,                  \
               smaller(inner, 4 * (first + count)), exclusive, reverse);                           \
      u += count;                                                                                  \
    }                                                                                              \
  }

CUMSUM(cumsum_f32, float, cumulate_f32)
CUMSUM(cumsum_i32, int, cumulate_i32)
