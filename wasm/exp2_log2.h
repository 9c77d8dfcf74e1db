// Base-2 exponential and logarithm of four floats, for softmax kernels.
#pragma once

#include "simd.h"

#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f

// 2^x for x <= 0: relative error 2.2e-7, exactly 1 at x = 0, 0 for x <= -126, NaN for NaN.
INLINE f32x4 exp2_f32x4(f32x4 x) {
  // Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits.
  f32x4 magic = wasm_f32x4_splat(12582912), clamped = wasm_f32x4_pmax(x, wasm_f32x4_splat(-126));
  f32x4 bits = wasm_f32x4_add(clamped, magic);
  f32x4 r = wasm_f32x4_sub(clamped, wasm_f32x4_sub(bits, magic));
  // The minimax polynomial of degree 5 for 2^r, -0.5 <= r <= 0.5, by Remez's algorithm.
  f32x4 p = wasm_f32x4_splat(1.3276472e-3f);
  p = multiply_add(p, r, wasm_f32x4_splat(9.6755413e-3f));
  p = multiply_add(p, r, wasm_f32x4_splat(5.5507133e-2f));
  p = multiply_add(p, r, wasm_f32x4_splat(2.4022120e-1f));
  p = multiply_add(p, r, wasm_f32x4_splat(6.9314697e-1f));
  p = multiply_add(p, r, wasm_f32x4_splat(1));
  p = wasm_i32x4_add(p, wasm_i32x4_shl(bits, 23));
  return wasm_v128_andnot(p, wasm_f32x4_le(x, wasm_f32x4_splat(-126)));
}

// log2(x) for normal x > 0, by the series of artanh: error 2e-7 * max(1, |result|). NaN for NaN.
INLINE f32x4 log2_f32x4(f32x4 x) {
  // x = 2^e m with m in [sqrt 1/2, sqrt 2).
  v128_t e = wasm_i32x4_shr(wasm_i32x4_sub(x, wasm_i32x4_splat(0x3f3504f3)), 23);
  f32x4 one = wasm_f32x4_splat(1), m = wasm_i32x4_sub(x, wasm_i32x4_shl(e, 23));
  f32x4 s = wasm_f32x4_div(wasm_f32x4_sub(m, one), wasm_f32x4_add(m, one));
  f32x4 z = wasm_f32x4_mul(s, s), p = wasm_f32x4_splat(0.41219858f);
  p = multiply_add(p, z, wasm_f32x4_splat(0.57707802f));
  p = multiply_add(p, z, wasm_f32x4_splat(0.96179669f));
  p = multiply_add(p, z, wasm_f32x4_splat(2.88539008f));
  return wasm_v128_or(multiply_add(p, s, wasm_f32x4_convert_i32x4(e)), wasm_f32x4_ne(x, x));
}

// -- references -------------------------------------------------------------------------------

// exp(x) for x <= 0, by its Taylor series.
static inline double exp_reference(double x) {
  if (!(x >= -700)) return x < 0 ? 0 : x;
  int n = (int)(x * 1.4426950408889634 - 0.5);
  double r = x - n * 0.6931471805599453, term = 1, sum = 1;
  for (int i = 1; i < 16; i++) sum += term *= r / i;
  for (; n < 0; n++) sum *= 0.5;
  return sum;
}

// log(x) for x >= 1, by the series of artanh.
static inline double log_reference(double x) {
  int n = 0;
  for (; x > 1.5; n++) x *= 0.5;
  double s = (x - 1) / (x + 1), term = s, sum = 0;
  for (int i = 1; i < 30; i += 2, term *= s * s) sum += term / i;
  return 2 * sum + n * 0.6931471805599453;
}
