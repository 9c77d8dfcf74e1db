// Math library of generated loops. expression_codegen.py includes the functions that a loop uses.
// The suffix of a name is the type of its arguments; u8 is a uint8 in a u32, 0 to 255.
//
// WGSL guarantees little accuracy for its builtins (w3.org/TR/WGSL, "Accuracy of concrete floating
// point expressions"): exp 3 + 2 |x| units in the last place (ulp), log an absolute 2^-21 near 1,
// sin and cos an absolute 2^-11, tanh 1e-5, pow the errors of exp2 and log2 together. Therefore
// these functions are polynomials; only abs, ceil, floor, fma, max, min, round (half to even), sign
// of i32 and sqrt are WGSL's own. An fma may round twice, and the error bounds here allow for it.
// WGSL implementations may assume that no value is NaN or infinite: such values are tested and made
// by their bits. They may also reorder sums (Mesa does): where the order matters, an intermediate
// result passes through `identity_barrier`, or a max that does not change it.
//
// Sources: the polynomials of log, sin and cos are those of Cephes, single precision, by S. L.
// Moshier (netlib.org/cephes/single.tgz). The reduction x - n c1 - n c2 with a short c1 is Cody and
// Waite's ("Software Manual for the Elementary Functions", 1980), that of large angles Payne and
// Hanek's (ACM SIGNUM 18, 1983). erf is N. Juffa's pair of polynomials
// (stackoverflow.com/questions/35148198).

// ── special values ──

// Private variables, because a constant expression that is not finite is an error.
var<private> infinity_bits: u32 = 0x7f800000u;
var<private> nan_bits: u32 = 0x7fc00000u;

fn infinity() -> f32 { return bitcast<f32>(infinity_bits); }

fn nan() -> f32 { return bitcast<f32>(nan_bits); }

// x / 0, or x / -0 if `sign` is the sign bit.
fn over_zero(x: f32, sign: u32) -> f32 {
  let signed = bitcast<f32>(infinity_bits | ((bitcast<u32>(x) ^ sign) & 0x80000000u));
  return select(signed, nan(), is_nan(x) || x == 0.0);
}

fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }

fn is_finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) < 0x7f800000u; }

// False for denormals, which arithmetic may flush to 0.
fn is_zero(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) == 0u; }

// The identity for x <= 16: an optimization barrier, because compilers cannot simplify it.
fn identity_barrier(x: f32) -> f32 { return min(x, 16.0); }

fn with_sign(x: f32, y: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) | (bitcast<u32>(y) & 0x80000000u));
}

// ── ordering ──

fn max_f32(x: f32, y: f32) -> f32 { return select(select(max(x, y), y, is_nan(y)), x, is_nan(x)); }

fn min_f32(x: f32, y: f32) -> f32 { return select(select(min(x, y), y, is_nan(y)), x, is_nan(x)); }

// For a constant y that is not NaN.
fn max_with_constant_f32(x: f32, y: f32) -> f32 { return select(max(x, y), x, is_nan(x)); }

fn min_with_constant_f32(x: f32, y: f32) -> f32 { return select(min(x, y), x, is_nan(x)); }

fn sign_f32(x: f32) -> f32 { return select(with_sign(1.0, x), x, is_nan(x) || is_zero(x)); }

// ── conversions ──

// Saturates; NaN is 0.
fn f32_to_i32(x: f32) -> i32 {
  let clamped = i32(clamp(x, -2147483648.0, 2147483520.0));
  return select(select(clamped, 0, is_nan(x)), 2147483647, x >= 2147483648.0);
}

// The nearest float16. WGSL may convert a larger value to infinity or to the largest float16; the
// overflow of a scaled loss must be detectable, so that it is infinity here.
fn round_to_f16(x: f32) -> f32 {
  return select(f32(f16(x)), with_sign(infinity(), x), abs(x) >= 65520.0);
}

fn f32_to_u8(x: f32) -> u32 { return bitcast<u32>(f32_to_i32(x)) & 255u; }

// ── exponentials ──
// x = n ln 2 + r with |r| <= ln 2 / 2, so exp x = 2^n exp r. exp r is 1 + r + r^2 p(r), with p of
// degree 4 fitted for the least relative error, 3e-9. Errors: exp 2 ulp, expm1 3, tanh and sigmoid
// 5.

// exp r - 1
fn expm1_reduced(r: f32) -> f32 {
  var p = fma(1.3814539416e-3, r, 8.3687454462e-3);
  p = fma(p, r, 4.1668388993e-2);
  p = fma(p, r, 1.6666521132e-1);
  p = fma(p, r, 4.9999994040e-1);
  return fma(p, r * r, r);
}

// n of the reduction of x
fn exp_scale(x: f32) -> f32 { return round(x * 1.4426950408889634); }

// r of the reduction of x
fn reduce_argument(x: f32, n: f32) -> f32 {
  return fma(n, 2.12194440e-4, identity_barrier(fma(n, -0.693359375, x)));
}

fn exp2i(n: i32) -> f32 { return bitcast<f32>(bitcast<u32>(n + 127) << 23u); }

// (1 + x) 2^n for n from -250 to 250: the power is two factors.
fn scale_by_power(x: f32, n: i32) -> f32 {
  let half = n >> 1u;
  return fma(x, exp2i(half), exp2i(half)) * exp2i(n - half);
}

fn exp_f32(x: f32) -> f32 {
  let clamped = clamp(x, -104.0, 89.0);
  let n = exp_scale(clamped);
  return select(scale_by_power(expm1_reduced(reduce_argument(clamped, n)), i32(n)), x, is_nan(x));
}

fn expm1_f32(x: f32) -> f32 {
  let clamped = clamp(x, -20.0, 89.0);
  let n = exp_scale(clamped);
  let half = exp2i(i32(n) - 1);
  let y = fma(expm1_reduced(reduce_argument(clamped, n)), half, max(half - 0.5, -0.5)) * 2.0;
  return select(y, x, is_nan(x) || abs(x) < 1e-30);
}

fn tanh_f32(x: f32) -> f32 {
  let doubled = min(abs(x) * 2.0, 20.0);
  let n = exp_scale(doubled);
  let scale = exp2i(i32(n));
  let expm1 = fma(expm1_reduced(reduce_argument(doubled, n)), scale, max(scale - 1.0, 0.0));
  return select(with_sign(expm1 / (expm1 + 2.0), x), x, is_nan(x));
}

fn sigmoid_f32(x: f32) -> f32 {
  let negated = clamp(-x, -87.0, 88.0);
  let n = exp_scale(negated);
  let y = 1.0 / fma(expm1_reduced(reduce_argument(negated, n)) + 1.0, exp2i(i32(n)), 1.0);
  return select(select(y, 0.0, x < -88.0), x, is_nan(x));
}

// ── logarithms ──
// x = 2^e m with m in [sqrt 1/2, sqrt 2). Errors: log 2 ulp, log1p 3.

struct SplitFloat { exponent: f32, mantissa: f32 }

// For finite x > 0. A denormal is 2^-149 times the integer of its bits, which is converted to a
// float.
fn split_float(x: f32) -> SplitFloat {
  let bits = bitcast<u32>(x);
  let is_denormal = bits < 0x00800000u;
  let normal = bitcast<i32>(select(bits, bitcast<u32>(f32(bits)), is_denormal));
  let e = (normal - 0x3f3504f3) >> 23u;
  return SplitFloat(f32(e - select(0, 149, is_denormal)), bitcast<f32>(normal - (e << 23u)));
}

// (log(1 + r) - r + r^2 / 2) / r^2
fn log1p_reduced(r: f32) -> f32 {
  var p = fma(7.0376836292e-2, r, -1.1514610310e-1);
  p = fma(p, r, 1.1676998740e-1);
  p = fma(p, r, -1.2420140846e-1);
  p = fma(p, r, 1.4249322787e-1);
  p = fma(p, r, -1.6668057665e-1);
  p = fma(p, r, 2.0000714765e-1);
  p = fma(p, r, -2.4999993993e-1);
  p = fma(p, r, 3.3333331174e-1);
  return p * r;
}

fn log_f32(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  if (is_zero(x)) { return -infinity(); }
  if (bits == 0x7f800000u) { return x; }
  if (bits > 0x7f800000u) { return nan(); }
  let s = split_float(x);
  let r = s.mantissa - 1.0;
  let tail = fma(log1p_reduced(r), r * r, s.exponent * -2.12194440e-4);
  return fma(s.exponent, 0.693359375, r + fma(r * r, -0.5, tail));
}

fn log1p_f32(x: f32) -> f32 {
  let y = max(x + 1.0, -1.0);
  let correction = select(0.0, (x - (y - 1.0)) / y, x > -1.0 && x < 16777216.0);
  return select(log_f32(y) + correction, x, is_zero(x));
}

// ── trigonometric functions ──
// x = n pi/2 + r with |r| <= pi/4. Error 3 ulp for every angle.

struct ReducedAngle { r: f32, quadrant: i32 }

// The high word of x y.
fn mul_high(x: u32, y: u32) -> u32 {
  let low = (x & 0xffffu) * (y & 0xffffu);
  let mid = (x >> 16u) * (y & 0xffffu) + (low >> 16u);
  let other = (x & 0xffffu) * (y >> 16u) + (mid & 0xffffu);
  return (x >> 16u) * (y >> 16u) + (mid >> 16u) + (other >> 16u);
}

// x = m 2^(e - 23). Bits of 2 / pi whose products are multiples of 4 quadrants are skipped; 96 of
// the following bits suffice for r near 0.
fn reduce_large_angle(x: f32) -> ReducedAngle {
  var digits = array<u32, 8>(0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u,
                             0x3c439041u, 0xfe5163abu);
  let bits = bitcast<u32>(x);
  let m = (bits & 0x7fffffu) | 0x800000u;
  let begin = ((bits >> 23u) & 255u) - 127u + 7u;
  let word = begin >> 5u;
  let left = begin & 31u;
  let right = 31u - left;
  let first = (digits[word] << left) | ((digits[word + 1u] >> right) >> 1u);
  let second = (digits[word + 1u] << left) | ((digits[word + 2u] >> right) >> 1u);
  let third = (digits[word + 2u] << left) | ((digits[word + 3u] >> right) >> 1u);
  let low = m * second + mul_high(m, third);
  let high = m * first + mul_high(m, second) + select(0u, 1u, low < m * second);
  let fraction = bitcast<i32>((high << 2u) | (low >> 30u));
  let quadrant = bitcast<i32>(high >> 30u) + select(0, 1, fraction < 0);
  let r = fma(f32(low << 2u), 8.5153295e-20, f32(fraction) * 3.65729518e-10);
  return ReducedAngle(select(r, -r, x < 0.0), select(quadrant, -quadrant, x < 0.0));
}

fn reduce_angle(x: f32) -> ReducedAngle {
  if (abs(x) >= 4096.0) { return reduce_large_angle(x); }
  let n = round(x * 0.63661977236758134);
  let r = identity_barrier(
      fma(n, -4.837512969970703e-4, identity_barrier(fma(n, -1.5703125, x))));
  return ReducedAngle(fma(n, -7.54978995489e-8, r), i32(n));
}

fn sin_reduced(a: ReducedAngle) -> f32 {
  let z = a.r * a.r;
  let p = fma(fma(-1.9515295891e-4, z, 8.3321608736e-3), z, -1.6666654611e-1);
  let q = fma(fma(2.443315711809948e-5, z, -1.388731625493765e-3), z, 4.166664568298827e-2);
  let y = select(fma(q * z, z, fma(z, -0.5, 1.0)), fma(p * z, a.r, a.r), (a.quadrant & 1) == 0);
  return select(y, -y, (a.quadrant & 2) != 0);
}

fn sin_f32(x: f32) -> f32 {
  if (!is_finite(x)) { return nan(); }
  return select(sin_reduced(reduce_angle(x)), x, is_zero(x));
}

fn cos_f32(x: f32) -> f32 {
  if (!is_finite(x)) { return nan(); }
  let a = reduce_angle(x);
  return sin_reduced(ReducedAngle(a.r, a.quadrant + 1));
}

// ── error function ── Error 3 ulp.

fn erf_tail(t: f32) -> f32 {
  let s = t * t;
  var p = fma(fma(-1.72853470e-5, t, 3.83197126e-4), s, fma(-3.88396438e-3, t, 2.42546219e-2));
  p = fma(fma(p, t, -1.06777877e-1), t, -6.34846687e-1);
  return 1.0 - exp_f32(max(fma(fma(p, t, -1.28717512e-1), t, -t), -20.0));
}

fn erf_center(x: f32) -> f32 {
  let s = x * x;
  var p = fma(fma(-5.96761703e-4, s, 4.99119423e-3), s, -2.67681349e-2);
  p = fma(fma(p, s, 1.12819925e-1), s, -3.76125336e-1);
  return fma(fma(p, s, 1.28379166e-1), x, x);
}

fn erf_f32(x: f32) -> f32 {
  let t = min(abs(x), 4.0);
  let y = select(erf_center(x), with_sign(erf_tail(t), x), t > 0.927734375);
  return select(y, x, is_nan(x));
}

// ── powers ──
// 2^(y log2 x). The logarithm is e + g + h, with log2 m = g + h: e and g are short floats with 12
// mantissa bits, whose products with the two short halves of y are exact. The integers nearest to
// the products are summed separately from the remainders. Error 8 ulp.

fn truncate_mantissa(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) & 0xfffff000u); }

fn signed_fraction(x: f32) -> f32 { return identity_barrier(x - round(x)); }

// For finite x > 0.
fn pow_positive(x: f32, y: f32) -> f32 {
  let split = split_float(x);
  let r = split.mantissa - 1.0;
  let cubic = log1p_reduced(r) * r * r;
  // log2 e = a + b, r = s + t, and r^2 / 2 = q + a remainder that `tail` contains.
  let a = 1.44238281;
  let b = 0.000312228389;
  let s = truncate_mantissa(r);
  let t = r - s;
  let q = truncate_mantissa(s * s * 0.5);
  let g = truncate_mantissa((r - (r * r * 0.5 - cubic)) * 1.44269504);
  let square_tail = identity_barrier(fma(s, s * 0.5, -q)) + t * (s + r) * 0.5;
  let tail = fma(b, s - q, 1.44269504 * (t - square_tail + cubic));
  let h = identity_barrier(identity_barrier(fma(a, s, -g)) - a * q) + tail;
  let exponent = clamp(y * (split.exponent + (g + h)), -200.0, 200.0);
  let u = truncate_mantissa(y);
  let v = y - u;
  let terms = array<f32, 5>(u * split.exponent, v * split.exponent, u * g, v * g, y * h);
  let integers = round(terms[0]) + round(terms[1]) + round(terms[2]) + round(terms[3])
               + round(terms[4]);
  let fractions = signed_fraction(terms[0]) + signed_fraction(terms[1]) + signed_fraction(terms[2])
                + signed_fraction(terms[3]) + signed_fraction(terms[4]);
  let n = round(fractions);
  let clamped = clamp(integers + n, -250.0, 250.0);
  return select(scale_by_power(expm1_reduced((fractions - n) * 0.693147181), i32(clamped)),
                select(0.0, infinity(), exponent > 0.0), abs(exponent) >= 200.0);
}

fn pow_f32(x: f32, y: f32) -> f32 {
  let x_bits = bitcast<u32>(x) & 0x7fffffffu;
  let y_bits = bitcast<u32>(y) & 0x7fffffffu;
  if (y_bits == 0u || bitcast<u32>(x) == 0x3f800000u) { return 1.0; }
  if (x_bits > 0x7f800000u || y_bits > 0x7f800000u) { return nan(); }
  if (y_bits == 0x7f800000u) {
    if (x_bits == 0x3f800000u) { return 1.0; }
    return select(0.0, infinity(), (x_bits > 0x3f800000u) == (y > 0.0));
  }
  let is_odd = round(y) == y && round(y * 0.5) != y * 0.5;
  var out = 0.0;
  if (x_bits == 0u || x_bits == 0x7f800000u) {
    out = select(0.0, infinity(), (x_bits != 0u) == (y > 0.0));
  } else {
    if (x < 0.0 && round(y) != y) { return nan(); }
    out = pow_positive(abs(x), y);
  }
  return select(out, with_sign(out, x), is_odd);
}

// A negative power is 1 / x^n, truncated to an integer.
fn pow_i32(x: i32, y: i32) -> i32 {
  if (y < 0) { return select(select(0, 1 - 2 * (y & 1), x == -1), 1, x == 1); }
  var out = 1;
  var base = x;
  for (var n = y; n > 0; n >>= 1u) {
    out *= select(1, base, (n & 1) == 1);
    base *= base;
  }
  return out;
}

fn pow_u8(x: u32, y: u32) -> u32 { return bitcast<u32>(pow_i32(i32(x), i32(y))) & 255u; }

// ── integer division: division by 0 gives 0 ──

fn floordiv_i32(x: i32, y: i32) -> i32 {
  if (y == 0) { return 0; }
  if (y == -1) { return -x; }
  let q = x / y;
  return q - select(0, 1, q * y != x && (x < 0) != (y < 0));
}

fn floordiv_u8(x: u32, y: u32) -> u32 { return select(x / max(y, 1u), 0u, y == 0u); }

struct Mantissa { bits: u32, exponent: i32 }

// |x| = bits 2^(exponent - 23) for finite x != 0, with bit 23 as the highest bit.
fn normalized_mantissa(x: f32) -> Mantissa {
  let bits = bitcast<u32>(x) & 0x7fffffffu;
  let mantissa = mantissa_with_hidden_bit(bits);
  let shift = countLeadingZeros(mantissa) - 8u;
  return Mantissa(mantissa << shift, i32(max(bits >> 23u, 1u)) - 127 - i32(shift));
}

// The mantissa for an exponent of at least 1: a denormal has no hidden bit.
fn mantissa_with_hidden_bit(bits: u32) -> u32 {
  return (bits & 0x7fffffu) | select(0u, 0x800000u, (bits & 0x7f800000u) != 0u);
}

// x / y rounded to nearest even for finite x and y != 0, by long division; a denormal quotient is
// replaced by the smallest normal number. WGSL's quotients may be 2.5 ulp off, which is not
// acceptable for one that is an integer.
fn quotient(x: f32, y: f32) -> f32 {
  let a = normalized_mantissa(x);
  let b = normalized_mantissa(y);
  let sign = (bitcast<u32>(x) ^ bitcast<u32>(y)) & 0x80000000u;
  let is_below_one = a.bits < b.bits;
  let exponent = a.exponent - b.exponent - select(0, 1, is_below_one);
  var r = (a.bits << select(0u, 1u, is_below_one)) - b.bits;
  var q = 1u;                                                   // then 24 bits of the fraction
  for (var i = 0; i < 3; i++) {
    q = (q << 8u) | ((r << 8u) / b.bits);
    r = (r << 8u) % b.bits;
  }
  let is_rounded_up = (q & 1u) == 1u && (r != 0u || (q & 2u) == 2u);
  let biased = u32(clamp(exponent, -126, 128) + 126);           // the hidden bit adds 1
  let normal = (q >> 1u) + select(0u, 1u, is_rounded_up) + (biased << 23u);
  let is_zero = exponent < -150 || (exponent == -150 && q == 0x1000000u && r == 0u);
  let small = select(0x00800000u, 0u, is_zero);
  let magnitude = select(min(normal, 0x7f800000u), small, exponent < -126);
  return bitcast<f32>(magnitude | sign);
}

fn floordiv_f32(x: f32, y: f32) -> f32 {
  if (is_nan(x) || is_nan(y)) { return nan(); }
  if (is_zero(y)) { return over_zero(x, bitcast<u32>(y) & 0x80000000u); }
  let sign = (bitcast<u32>(x) ^ bitcast<u32>(y)) & 0x80000000u;
  if (!is_finite(x)) { return select(nan(), bitcast<f32>(infinity_bits | sign), is_finite(y)); }
  if (is_zero(x) || !is_finite(y)) { return bitcast<f32>(sign); }
  return floor(quotient(x, y));
}

fn mod_i32(x: i32, y: i32) -> i32 { return select(x - floordiv_i32(x, y) * y, 0, y == 0); }

fn mod_u8(x: u32, y: u32) -> u32 { return select(x % max(y, 1u), 0u, y == 0u); }

// The exact remainder of C's fmod, in integers: x and y are multiples of the smallest denormal, and
// the mantissa of x is shifted by 8 bits at a time.
fn fmod_f32(x: f32, y: f32) -> f32 {
  let x_bits = bitcast<u32>(x) & 0x7fffffffu;
  let y_bits = bitcast<u32>(y) & 0x7fffffffu;
  if (x_bits >= 0x7f800000u || y_bits > 0x7f800000u || y_bits == 0u) { return nan(); }
  if (x_bits < y_bits) { return x; }
  let y_exponent = max(y_bits >> 23u, 1u);
  let y_mantissa = mantissa_with_hidden_bit(y_bits);
  var r = mantissa_with_hidden_bit(x_bits) % y_mantissa;
  for (var d = max(x_bits >> 23u, 1u) - y_exponent; d > 0u; d -= min(d, 8u)) {
    r = (r << min(d, 8u)) % y_mantissa;
  }
  let shift = min(countLeadingZeros(r) - 8u, y_exponent - 1u);
  let mantissa = r << shift;                       // it has bit 23, except for a denormal
  let bits = mantissa + ((y_exponent - 1u - shift) << 23u);
  return bitcast<f32>(select(bits, 0u, r == 0u) | (bitcast<u32>(x) & 0x80000000u));
}

fn mod_f32(x: f32, y: f32) -> f32 {
  let r = fmod_f32(x, y);
  return select(r, r + y, !is_nan(r) && !is_zero(r) && (r < 0.0) != (y < 0.0));
}

// ── shifts: a shift by 32 or more, or by a negative count, shifts out all bits ──

fn shift_left_i32(x: i32, y: i32) -> i32 {
  return select(0, x << (bitcast<u32>(y) & 31u), bitcast<u32>(y) < 32u);
}

fn shift_left_u8(x: u32, y: u32) -> u32 { return select(0u, (x << (y & 31u)) & 255u, y < 32u); }

fn shift_right_i32(x: i32, y: i32) -> i32 { return x >> min(bitcast<u32>(y), 31u); }

fn shift_right_u8(x: u32, y: u32) -> u32 { return x >> min(y, 31u); }
