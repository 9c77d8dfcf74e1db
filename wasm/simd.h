// SIMD primitives of the kernels, and the partition of work over threads.
#pragma once

#include <stdint.h>
#include <wasm_simd128.h>

#define INLINE static inline __attribute__((always_inline))
// If LLVM unrolls the inner loops they spill registers: 4x8 tiles fall from 60 to 20-48 GFLOP/s.
#define NOT_UNROLLED _Pragma("clang loop unroll(disable)")
#define UNROLLED _Pragma("clang loop unroll(full)")

typedef v128_t f32x4;

#ifdef __wasm_relaxed_simd__
#define multiply_add(a, b, c) wasm_f32x4_relaxed_madd(a, b, c)
#else
#define multiply_add(a, b, c) wasm_f32x4_add(wasm_f32x4_mul(a, b), c)
#endif

INLINE int min_int(int a, int b) { return a < b ? a : b; }
INLINE int max_int(int a, int b) { return a > b ? a : b; }
INLINE int ceil_div(int a, int b) { return (a + b - 1) / b; }

// The first of the `n` units of this thread; the units of the next thread follow.
INLINE int partition_begin(int64_t n, int thread, int threads) {
  return (int)(n * thread / threads);
}

INLINE float horizontal_sum(f32x4 v) {
  return (wasm_f32x4_extract_lane(v, 0) + wasm_f32x4_extract_lane(v, 1)) +
         (wasm_f32x4_extract_lane(v, 2) + wasm_f32x4_extract_lane(v, 3));
}

// Load the first `lanes` (0 to 4) floats at p and zero the other lanes; read no other memory.
INLINE f32x4 load_lanes(const float *p, int lanes) {
  if (lanes >= 4) return wasm_v128_load(p);
  f32x4 v = wasm_f32x4_splat(0);
  if (lanes > 0) v = wasm_f32x4_replace_lane(v, 0, p[0]);
  if (lanes > 1) v = wasm_f32x4_replace_lane(v, 1, p[1]);
  if (lanes > 2) v = wasm_f32x4_replace_lane(v, 2, p[2]);
  return v;
}

INLINE void store_lanes(float *p, f32x4 v, int lanes) {
  if (lanes >= 4) {
    wasm_v128_store(p, v);
    return;
  }
  if (lanes > 0) p[0] = wasm_f32x4_extract_lane(v, 0);
  if (lanes > 1) p[1] = wasm_f32x4_extract_lane(v, 1);
  if (lanes > 2) p[2] = wasm_f32x4_extract_lane(v, 2);
}

// Transpose a 4 x 4 matrix in place.
INLINE void transpose_4x4(f32x4 row[4]) {
  f32x4 ab_low = wasm_i32x4_shuffle(row[0], row[1], 0, 4, 1, 5);
  f32x4 ab_high = wasm_i32x4_shuffle(row[0], row[1], 2, 6, 3, 7);
  f32x4 cd_low = wasm_i32x4_shuffle(row[2], row[3], 0, 4, 1, 5);
  f32x4 cd_high = wasm_i32x4_shuffle(row[2], row[3], 2, 6, 3, 7);
  row[0] = wasm_i64x2_shuffle(ab_low, cd_low, 0, 2);
  row[1] = wasm_i64x2_shuffle(ab_low, cd_low, 1, 3);
  row[2] = wasm_i64x2_shuffle(ab_high, cd_high, 0, 2);
  row[3] = wasm_i64x2_shuffle(ab_high, cd_high, 1, 3);
}

INLINE void fill_zero(float *p, int count) {
  for (int i = 0; i < count; i++) p[i] = 0;
}

// -- thread_scratch.c -------------------------------------------------------------------------

// The size of each scratch(), and the limit of thread_count().
enum { SCRATCH_BYTES = 1536 * 1024, MAX_THREADS = 64 };
int thread_count(void);
