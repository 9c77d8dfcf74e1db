// The mathematical functions of generated loops; formulas.py takes those that a loop uses, and what
// they use. A name ends in the type of its arguments; u8 is a uint8 in a u32, 0 to 255.
//
// WGSL promises little of its own functions (w3.org/TR/WGSL, "Accuracy of concrete floating point
// expressions"): exp 3 + 2 |x| units in the last place (ulp), log an absolute 2^-21 near 1, sin and
// cos an absolute 2^-11, tanh 1e-5, pow what exp2 and log2 together do. So these are polynomials;
// abs, ceil, floor, fma, max, min, round (half to even), sign of i32 and sqrt are WGSL's own. An fma
// may round twice, and everything here allows for it. WGSL may also take it that there are neither
// NaN nor infinities: they are known by their bits here, and made of bits. And it may take sums in
// another order (Mesa does): where the order matters, a step goes through `kept`, or a max that
// changes nothing.
//
// Sources: Cephes, single precision, by S. L. Moshier (netlib.org/cephes/single.tgz): the polynomials
// of log, sin and cos. The reduction x - n c1 - n c2 with a short c1 is Cody and Waite's ("Software
// Manual for the Elementary Functions", 1980), that of large angles Payne and Hanek's (ACM SIGNUM
// 18, 1983). erf is N. Juffa's pair of polynomials (stackoverflow.com/questions/35148198).

// ── numbers that WGSL has no words for ──

// Private variables, since a constant that is not finite is an error.
var<private> infinity_bits: u32 = 0x7f800000u;
var<private> nan_bits: u32 = 0x7fc00000u;

fn infinity() -> f32 { return bitcast<f32>(infinity_bits); }

fn nan() -> f32 { return bitcast<f32>(nan_bits); }

// x / 0, or x / -0 where `sign` is the highest bit.
fn over_zero(x: f32, sign: u32) -> f32 {
  let signed = bitcast<f32>(infinity_bits | ((bitcast<u32>(x) ^ sign) & 0x80000000u));
  return select(signed, nan(), is_nan(x) || x == 0.0);
}

fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }

fn is_finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) < 0x7f800000u; }

// Also of what may be flushed to 0 in arithmetic.
fn is_zero(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) == 0u; }

// A small number as it is: what a compiler cannot see through, it takes as it comes.
fn kept(x: f32) -> f32 { return min(x, 16.0); }

fn with_sign(x: f32, y: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) | (bitcast<u32>(y) & 0x80000000u));
}

// ── ordering ──

fn max_f32(x: f32, y: f32) -> f32 { return select(select(max(x, y), y, is_nan(y)), x, is_nan(x)); }

fn min_f32(x: f32, y: f32) -> f32 { return select(select(min(x, y), y, is_nan(y)), x, is_nan(x)); }

// Where y is known to be no NaN.
fn max_known_f32(x: f32, y: f32) -> f32 { return select(max(x, y), x, is_nan(x)); }

fn min_known_f32(x: f32, y: f32) -> f32 { return select(min(x, y), x, is_nan(x)); }

fn sign_f32(x: f32) -> f32 { return select(with_sign(1.0, x), x, is_nan(x) || is_zero(x)); }

// ── from type to type ──

// Beyond the range its nearest end; NaN is 0.
fn f32_to_i32(x: f32) -> i32 {
  let near = i32(clamp(x, -2147483648.0, 2147483520.0));
  return select(select(near, 0, is_nan(x)), 2147483647, x >= 2147483648.0);
}

// The nearest float16. WGSL may make of what lies beyond them an infinity or the largest of them,
// and of a scaled loss it must be known.
fn to_half(x: f32) -> f32 {
  return select(f32(f16(x)), with_sign(infinity(), x), abs(x) >= 65520.0);
}

fn f32_to_u8(x: f32) -> u32 { return bitcast<u32>(f32_to_i32(x)) & 255u; }

// ── exponentials ──
// x = n ln 2 + r with |r| <= ln 2 / 2, so exp x = 2^n exp r. exp r is 1 + r + r^2 p(r), p of degree 4
// fitted for the least relative error, 3e-9. Errors: exp 2 ulp, expm1 3, tanh and sigmoid 5.

fn exp_rest(r: f32) -> f32 {
  var p = fma(1.3814539416e-3, r, 8.3687454462e-3);
  p = fma(p, r, 4.1668388993e-2);
  p = fma(p, r, 1.6666521132e-1);
  p = fma(p, r, 4.9999994040e-1);
  return fma(p, r * r, r);
}

fn powers(x: f32) -> f32 { return round(x * 1.4426950408889634); }

fn reduced(x: f32, n: f32) -> f32 {
  return fma(n, 2.12194440e-4, kept(fma(n, -0.693359375, x)));
}

fn two_to(n: i32) -> f32 { return bitcast<f32>(bitcast<u32>(n + 127) << 23u); }

// (1 + rest) 2^n, the power as two factors: n may go from -250 to 250.
fn scaled(rest: f32, n: i32) -> f32 {
  let half = n >> 1u;
  return fma(rest, two_to(half), two_to(half)) * two_to(n - half);
}

fn exp_f32(x: f32) -> f32 {
  let near = clamp(x, -104.0, 89.0);
  let n = powers(near);
  return select(scaled(exp_rest(reduced(near, n)), i32(n)), x, is_nan(x));
}

fn expm1_f32(x: f32) -> f32 {
  let near = clamp(x, -20.0, 89.0);
  let n = powers(near);
  let half = two_to(i32(n) - 1);
  let y = fma(exp_rest(reduced(near, n)), half, max(half - 0.5, -0.5)) * 2.0;
  return select(y, x, is_nan(x) || abs(x) < 1e-30);
}

fn tanh_f32(x: f32) -> f32 {
  let near = min(abs(x) * 2.0, 20.0);
  let n = powers(near);
  let scale = two_to(i32(n));
  let above = fma(exp_rest(reduced(near, n)), scale, max(scale - 1.0, 0.0));
  return select(with_sign(above / (above + 2.0), x), x, is_nan(x));
}

fn sigmoid_f32(x: f32) -> f32 {
  let near = clamp(-x, -87.0, 88.0);
  let n = powers(near);
  let y = 1.0 / fma(exp_rest(reduced(near, n)) + 1.0, two_to(i32(n)), 1.0);
  return select(select(y, 0.0, x < -88.0), x, is_nan(x));
}

// ── logarithms ──
// x = 2^e m with m in [sqrt 1/2, sqrt 2). Errors: log 2 ulp, log1p 3.

struct Parts { exponent: f32, mantissa: f32 }

// Of x > 0, finite. What is too small to be normal is taken as the whole number its bits are.
fn parts_of(x: f32) -> Parts {
  let bits = bitcast<u32>(x);
  let small = bits < 0x00800000u;
  let whole = bitcast<i32>(select(bits, bitcast<u32>(f32(bits)), small));
  let e = (whole - 0x3f3504f3) >> 23u;
  return Parts(f32(e - select(0, 149, small)), bitcast<f32>(whole - (e << 23u)));
}

fn log_rest(r: f32) -> f32 {
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
  let p = parts_of(x);
  let r = p.mantissa - 1.0;
  let rest = fma(log_rest(r), r * r, p.exponent * -2.12194440e-4);
  return fma(p.exponent, 0.693359375, r + fma(r * r, -0.5, rest));
}

fn log1p_f32(x: f32) -> f32 {
  let y = max(x + 1.0, -1.0);
  let lost = select(0.0, (x - (y - 1.0)) / y, x > -1.0 && x < 16777216.0);
  return select(log_f32(y) + lost, x, is_zero(x));
}

// ── circular functions ──
// x = n pi/2 + r with |r| <= pi/4. Error 3 ulp, whatever the angle.

struct Angle { rest: f32, quarters: i32 }

fn high_product(x: u32, y: u32) -> u32 {
  let low = (x & 0xffffu) * (y & 0xffffu);
  let mid = (x >> 16u) * (y & 0xffffu) + (low >> 16u);
  let other = (x & 0xffffu) * (y >> 16u) + (mid & 0xffffu);
  return (x >> 16u) * (y >> 16u) + (mid >> 16u) + (other >> 16u);
}

// x = m 2^(e - 23). Bits of 2 / pi that give multiples of four turns are left out; of those that
// follow 96 are enough for r next to 0.
fn large_angle(x: f32) -> Angle {
  var digits = array<u32, 8>(0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u,
                             0x3c439041u, 0xfe5163abu);
  let bits = bitcast<u32>(x);
  let m = (bits & 0x7fffffu) | 0x800000u;
  let begin = ((bits >> 23u) & 255u) - 127u + 7u;
  let at = begin >> 5u;
  let left = begin & 31u;
  let right = 31u - left;
  let first = (digits[at] << left) | ((digits[at + 1u] >> right) >> 1u);
  let second = (digits[at + 1u] << left) | ((digits[at + 2u] >> right) >> 1u);
  let third = (digits[at + 2u] << left) | ((digits[at + 3u] >> right) >> 1u);
  let low = m * second + high_product(m, third);
  let high = m * first + high_product(m, second) + select(0u, 1u, low < m * second);
  let fraction = bitcast<i32>((high << 2u) | (low >> 30u));
  let turns = bitcast<i32>(high >> 30u) + select(0, 1, fraction < 0);
  let rest = fma(f32(low << 2u), 8.5153295e-20, f32(fraction) * 3.65729518e-10);
  return Angle(select(rest, -rest, x < 0.0), select(turns, -turns, x < 0.0));
}

fn angle(x: f32) -> Angle {
  if (abs(x) >= 4096.0) { return large_angle(x); }
  let n = round(x * 0.63661977236758134);
  let r = kept(fma(n, -4.837512969970703e-4, kept(fma(n, -1.5703125, x))));
  return Angle(fma(n, -7.54978995489e-8, r), i32(n));
}

fn sine(a: Angle) -> f32 {
  let z = a.rest * a.rest;
  let p = fma(fma(-1.9515295891e-4, z, 8.3321608736e-3), z, -1.6666654611e-1);
  let q = fma(fma(2.443315711809948e-5, z, -1.388731625493765e-3), z, 4.166664568298827e-2);
  let y = select(fma(q * z, z, fma(z, -0.5, 1.0)), fma(p * z, a.rest, a.rest), (a.quarters & 1) == 0);
  return select(y, -y, (a.quarters & 2) != 0);
}

fn sin_f32(x: f32) -> f32 {
  if (!is_finite(x)) { return nan(); }
  return select(sine(angle(x)), x, is_zero(x));
}

fn cos_f32(x: f32) -> f32 {
  if (!is_finite(x)) { return nan(); }
  let a = angle(x);
  return sine(Angle(a.rest, a.quarters + 1));
}

// ── error function ── Error 3 ulp.

fn erf_far(t: f32) -> f32 {
  let s = t * t;
  var p = fma(fma(-1.72853470e-5, t, 3.83197126e-4), s, fma(-3.88396438e-3, t, 2.42546219e-2));
  p = fma(fma(p, t, -1.06777877e-1), t, -6.34846687e-1);
  return 1.0 - exp_f32(max(fma(fma(p, t, -1.28717512e-1), t, -t), -20.0));
}

fn erf_near(x: f32) -> f32 {
  let s = x * x;
  var p = fma(fma(-5.96761703e-4, s, 4.99119423e-3), s, -2.67681349e-2);
  p = fma(fma(p, s, 1.12819925e-1), s, -3.76125336e-1);
  return fma(fma(p, s, 1.28379166e-1), x, x);
}

fn erf_f32(x: f32) -> f32 {
  let t = min(abs(x), 4.0);
  let y = select(erf_near(x), with_sign(erf_far(t), x), t > 0.927734375);
  return select(y, x, is_nan(x));
}

// ── powers ──
// 2^(y log2 x), the logarithm in pieces of 12 bits, whose products are exact, and a rest: e, then g +
// h with log2 m = g + h. Of each product only what is left beside the next whole number goes on.
// Error 8 ulp.

fn short(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) & 0xfffff000u); }

// x - round(x)
fn part_of(x: f32) -> f32 { return kept(x - round(x)); }

// For finite x > 0.
fn magnitude_power(x: f32, y: f32) -> f32 {
  let p = parts_of(x);
  let r = p.mantissa - 1.0;
  let cubic = log_rest(r) * r * r;
  // log2 e is a + b. r^2 / 2 is q and what stands in `rest`.
  let a = 1.44238281;
  let b = 0.000312228389;
  let s = short(r);
  let t = r - s;
  let q = short(s * s * 0.5);
  let g = short((r - (r * r * 0.5 - cubic)) * 1.44269504);
  let left = kept(fma(s, s * 0.5, -q)) + t * (s + r) * 0.5;
  let rest = fma(b, s - q, 1.44269504 * (t - left + cubic));
  let h = kept(kept(fma(a, s, -g)) - a * q) + rest;
  let most = clamp(y * (p.exponent + (g + h)), -200.0, 200.0);
  let u = short(y);
  let v = y - u;
  let parts = array<f32, 5>(u * p.exponent, v * p.exponent, u * g, v * g, y * h);
  let whole = round(parts[0]) + round(parts[1]) + round(parts[2]) + round(parts[3])
            + round(parts[4]);
  let sum = part_of(parts[0]) + part_of(parts[1]) + part_of(parts[2]) + part_of(parts[3])
          + part_of(parts[4]);
  let n = round(sum);
  let near = clamp(whole + n, -250.0, 250.0);
  return select(scaled(exp_rest((sum - n) * 0.693147181), i32(near)),
                select(0.0, infinity(), most > 0.0), abs(most) >= 200.0);
}

fn pow_f32(x: f32, y: f32) -> f32 {
  let size = bitcast<u32>(x) & 0x7fffffffu;
  let power = bitcast<u32>(y) & 0x7fffffffu;
  if (power == 0u || bitcast<u32>(x) == 0x3f800000u) { return 1.0; }
  if (size > 0x7f800000u || power > 0x7f800000u) { return nan(); }
  if (power == 0x7f800000u) {
    if (size == 0x3f800000u) { return 1.0; }
    return select(0.0, infinity(), (size > 0x3f800000u) == (y > 0.0));
  }
  let odd = round(y) == y && round(y * 0.5) != y * 0.5;
  var out = 0.0;
  if (size == 0u || size == 0x7f800000u) {
    out = select(0.0, infinity(), (size != 0u) == (y > 0.0));
  } else {
    if (x < 0.0 && round(y) != y) { return nan(); }
    out = magnitude_power(abs(x), y);
  }
  return select(out, with_sign(out, x), odd);
}

// A negative power of a whole number is 1 / x^n, cut off to a whole number.
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

// ── whole division: by 0 it gives 0 ──

fn floordiv_i32(x: i32, y: i32) -> i32 {
  if (y == 0) { return 0; }
  if (y == -1) { return -x; }
  let q = x / y;
  return q - select(0, 1, q * y != x && (x < 0) != (y < 0));
}

fn floordiv_u8(x: u32, y: u32) -> u32 { return select(x / max(y, 1u), 0u, y == 0u); }

// A quotient may be 2.5 ulp off, and must not be where it is a whole number.
fn quotient(x: f32, y: f32) -> f32 {
  let q = x / y;
  let rest = fma(-q, y, x);
  return select(q, q + rest / y, abs(rest) < abs(x) && abs(q) > 1e-30);
}

fn floordiv_f32(x: f32, y: f32) -> f32 { return floor(quotient(x, y)); }

fn mod_i32(x: i32, y: i32) -> i32 { return select(x - floordiv_i32(x, y) * y, 0, y == 0); }

fn mod_u8(x: u32, y: u32) -> u32 { return select(x % max(y, 1u), 0u, y == 0u); }

fn mod_f32(x: f32, y: f32) -> f32 { return x - floor(quotient(x, y)) * y; }

// ── shifts: by 32 or more, or by less than 0, what shifting by one over and over would leave ──

fn shift_left_i32(x: i32, y: i32) -> i32 {
  return select(0, x << (bitcast<u32>(y) & 31u), bitcast<u32>(y) < 32u);
}

fn shift_left_u8(x: u32, y: u32) -> u32 { return select(0u, (x << (y & 31u)) & 255u, y < 32u); }

fn shift_right_i32(x: i32, y: i32) -> i32 { return x >> min(bitcast<u32>(y), 31u); }

fn shift_right_u8(x: u32, y: u32) -> u32 { return x >> min(y, 31u); }
