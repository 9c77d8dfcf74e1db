"""The math library: functions in the scalar expression language, on four lanes at a time.

Errors are the largest seen against float64, in units in the last place (ulp), with `madd` fused
or not; tests/test_math_library.py checks them. Signs of zeros, infinities, NaN and denormals follow
IEEE 754 and C99 (annex F).

Sources: Cephes, single precision, by S. L. Moshier (netlib.org/cephes/single.tgz): the polynomials
of log, sin and cos. The argument reduction x - n c1 - n c2 with a short c1 is Cody and Waite's
("Software Manual for the Elementary Functions", 1980). pi/2 in two parts is fdlibm's
(netlib.org/fdlibm/e_rem_pio2.c). erf is N. Juffa's pair of polynomials
(stackoverflow.com/questions/35148198).
"""

BASIC = '''
def abs(x: float32): return f32x4.abs(x)
def abs(x: int32): return i32x4.abs(x)
def abs(x: uint8): return x
def sqrt(x: float32): return f32x4.sqrt(x)
def floor(x: float32): return f32x4.floor(x)
def floor(x: int32): return x
def floor(x: uint8): return x
def ceil(x: float32): return f32x4.ceil(x)
def ceil(x: int32): return x
def ceil(x: uint8): return x
def round(x: float32): return f32x4.nearest(x)
def round(x: int32): return x
def round(x: uint8): return x
def min(x: float32, y: float32): return f32x4.min(x, y)
def min(x: int32, y: int32): return i32x4.min_s(x, y)
def min(x: uint8, y: uint8): return as_uint8(i32x4.min_s(as_int32(x), as_int32(y)))
def min(x: bool, y: bool): return x & y
def max(x: float32, y: float32): return f32x4.max(x, y)
def max(x: int32, y: int32): return i32x4.max_s(x, y)
def max(x: uint8, y: uint8): return as_uint8(i32x4.max_s(as_int32(x), as_int32(y)))
def max(x: bool, y: bool): return x | y
def copysign(x: float32, y: float32):
    return v128.bitselect(y, x, as_float32(as_int32(0x80000000)))
def set_sign(x: float32, y: float32): return x | y & as_float32(as_int32(0x80000000))
def sign(x: float32): return select(f32x4.abs(x) > 0, copysign(1, x), x)
def sign(x: int32): return i32x4.max_s(i32x4.min_s(x, 1), -1)
def sign(x: uint8): return as_uint8(i32x4.min_s(as_int32(x), 1))
def isnan(x: float32): return x != x
def isfinite(x: float32): return f32x4.abs(x) < inf
def clamp(x: float32, low: float32, high: float32): return f32x4.pmax(f32x4.pmin(x, high), low)
'''

CASTS = '''
def float32(x: int32): return f32x4.convert_i32x4_s(x)
def float32(x: uint8): return as_float32(f32x4.convert_i32x4_s(x))
def float32(x: bool): return as_float32(as_int32(x) & as_int32(0x3f800000))
def int32(x: float32): return i32x4.trunc_sat_f32x4_s(x)
def int32(x: uint8): return as_int32(x)
def int32(x: bool): return as_int32(x) & 1
def uint8(x: float32): return as_uint8(i32x4.trunc_sat_f32x4_s(x) & 255)
def uint8(x: int32): return as_uint8(x & 255)
def uint8(x: bool): return as_uint8(as_int32(x) & 1)
def bool(x: float32): return x != 0
def bool(x: int32): return x != 0
def bool(x: uint8): return x != 0
'''

# x = n ln 2 + r with |r| <= ln 2 / 2, so exp x = 2^n exp r. Adding 1.5 * 2^23 + b to x / ln 2
# rounds it to the integer n and leaves n + b in the low bits; shifting them left by 23 gives the
# float 2^(n + b - 127). exp r = 1 + r + r^2 p(r), p of degree 4 fitted for the least relative
# error, 3e-9. exp x is 0 below -104 and infinite above 89. scale_by_power_of_two returns
# (1 + y) 2^(n - 254) and multiplies by two factors, so that denormal results are rounded only once.
# Errors: exp 1 ulp, expm1 2, tanh 3.
EXPONENTIALS = '''
def exp_scale(x: float32, bias: float32): return madd(x, 1.4426950408889634, bias)
def reduce_argument(x: float32, n: float32):
    return madd(n, 2.12194440e-4, madd(n, -0.693359375, x))
def expm1_reduced(r: float32):
    p = madd(1.3814539416e-3, r, 8.3687454462e-3)
    p = madd(p, r, 4.1668388993e-2)
    p = madd(p, r, 1.6666521132e-1)
    p = madd(p, r, 4.9999994040e-1)
    return madd(p, r * r, r)
def power_of_two(bits: float32): return as_float32(as_int32(bits) << 23)
def scale_by_power_of_two(y: float32, n: int32):
    half = n >> 1
    factor = as_float32(half << 23)
    return madd(y, factor, factor) * as_float32((n - half) << 23)

def exp(x: float32):
    x = clamp(x, -104, 89)
    bits = exp_scale(x, 12583166)
    return scale_by_power_of_two(expm1_reduced(reduce_argument(x, bits - 12583166)), as_int32(bits))
def expm1(x: float32):
    clamped = clamp(x, -20, 89)
    bits = exp_scale(clamped, 12583038)
    half_scale = power_of_two(bits)
    y = expm1_reduced(reduce_argument(clamped, bits - 12583038))
    y = madd(y, half_scale, half_scale - 0.5) * 2
    return select(f32x4.abs(x) < 1e-30, x, y)
def tanh(x: float32):
    t = f32x4.abs(x)
    clamped = f32x4.pmin(t + t, 20)
    bits = exp_scale(clamped, 12583039)
    scale = power_of_two(bits)
    e = madd(expm1_reduced(reduce_argument(clamped, bits - 12583039)), scale, scale - 1)
    return set_sign(e / (e + 2), x)
def sigmoid(x: float32):
    clamped = clamp(-x, -87, 89)
    bits = exp_scale(clamped, 12583039)
    y = expm1_reduced(reduce_argument(clamped, bits - 12583039))
    return 1 / ((y + 1) * power_of_two(bits) + 1)
'''

# x = 2^e m with m in [sqrt 1/2, sqrt 2). Errors: log 1 ulp, log1p 2.
LOGARITHMS = '''
def scale_denormals(x: float32): return select(x < 1.17549435e-38, x * 8388608, x)
def exponent(x: float32): return (as_int32(scale_denormals(x)) - as_int32(0x3f3504f3)) >> 23
def mantissa(x: float32): return as_float32(as_int32(scale_denormals(x)) - (exponent(x) << 23))
def log2_floor(x: float32): return float32(exponent(x) - (as_int32(x < 1.17549435e-38) & 23))
def log_polynomial(r: float32):
    p = madd(7.0376836292e-2, r, -1.1514610310e-1)
    p = madd(p, r, 1.1676998740e-1)
    p = madd(p, r, -1.2420140846e-1)
    p = madd(p, r, 1.4249322787e-1)
    p = madd(p, r, -1.6668057665e-1)
    p = madd(p, r, 2.0000714765e-1)
    p = madd(p, r, -2.4999993993e-1)
    p = madd(p, r, 3.3333331174e-1)
    return p * r

def log(x: float32):
    e = log2_floor(x)
    r = mantissa(x) - 1
    tail = madd(log_polynomial(r), r * r, e * -2.12194440e-4)
    y = madd(e, 0.693359375, r + madd(r * r, -0.5, tail))
    return select(x > 0, select(x < inf, y, x), select(x == 0, -inf, nan))
def log1p(x: float32):
    y = x + 1
    error = (x - (y - 1)) / y
    return select(x == 0, x, log(y) + select(error == error, error, 0))
'''

# x = n pi/2 + r, computed in float64. Error 2 ulp up to |x| = 1e6; for larger |x| the result is
# only guaranteed to be in -1..1.
TRIGONOMETRIC = '''
def reduce_by_half_pi(x: float64):
    n = f64x2.nearest(x * 0.63661977236758134)
    return (x - n * 1.57079632673412561417e+00) - n * 6.07710050650619224932e-11
def quadrant(x: float64):
    return i32x4.trunc_sat_f64x2_s_zero(f64x2.nearest(x * 0.63661977236758134))
def promote_low(x: float32): return f64x2.promote_low_f32x4(x)
def promote_high(x: float32): return f64x2.promote_low_f32x4(high(x))
def demote(low: float64, high: float64):
    return join(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high))

def sine(x: float32, quadrants: int32):
    r = demote(reduce_by_half_pi(promote_low(x)), reduce_by_half_pi(promote_high(x)))
    r = clamp(r, -0.8, 0.8)
    n = join(quadrant(promote_low(x)), quadrant(promote_high(x))) + quadrants
    z = r * r
    p = madd(madd(-1.9515295891e-4, z, 8.3321608736e-3), z, -1.6666654611e-1)
    odd = madd(p * z, r, r)
    q = madd(madd(2.443315711809948e-5, z, -1.388731625493765e-3), z, 4.166664568298827e-2)
    even = madd(q * z, z, madd(z, -0.5, 1))
    y = select((n & 1) == 0, odd, even)
    return as_float32(as_int32(y) ^ ((n & 2) << 30))
def sin(x: float32): return select(x == 0, x, sine(x, 0))
def cos(x: float32): return sine(x, 1)
'''

# Error 2 ulp.
ERROR_FUNCTION = '''
def erf(x: float32):
    t = f32x4.abs(x)
    s = x * x
    far = madd(madd(-1.72853470e-5, t, 3.83197126e-4), s, madd(-3.88396438e-3, t, 2.42546219e-2))
    far = madd(madd(far, t, -1.06777877e-1), t, -6.34846687e-1)
    far = f32x4.pmax(madd(madd(far, t, -1.28717512e-1), t, -t), -20)
    bits = exp_scale(far, 12583039)
    scale = power_of_two(bits)
    far = 1 - madd(expm1_reduced(reduce_argument(far, bits - 12583039)), scale, scale)
    near = madd(madd(-5.96761703e-4, s, 4.99119423e-3), s, -2.67681349e-2)
    near = madd(madd(near, s, 1.12819925e-1), s, -3.76125336e-1)
    near = madd(madd(near, s, 1.28379166e-1), x, x)
    return select(t > 0.927734375, set_sign(far, x), near)
'''

# 2^(y log2 |x|) with the logarithm from the series of artanh in float64. Error 2 ulp.
POWERS = '''
def log2_float64(m: float64, e: float64):
    s = (m - 1) / (m + 1)
    z = s * s
    p = ((0.22195308321 * z + 0.26230818925) * z + 0.32059889797) * z + 0.41219858311
    return e + s * (((p * z + 0.57707801636) * z + 0.96179669393) * z + 2.88539008178)
def clamp_exponent(x: float64): return f64x2.pmax(f64x2.pmin(x, 160), -160)
def fraction(x: float64): return clamp_exponent(x) - f64x2.nearest(clamp_exponent(x))
def nearest_int(x: float64): return i32x4.trunc_sat_f64x2_s_zero(f64x2.nearest(clamp_exponent(x)))
def exp2_float64(low: float64, high: float64):
    r = demote(fraction(low), fraction(high)) * 0.6931471805599453
    return scale_by_power_of_two(expm1_reduced(r), join(nearest_int(low), nearest_int(high)) + 254)
def pow_magnitude(x: float32, y: float32):
    m = mantissa(x)
    e = select(x == 0, -inf, select(x < inf, log2_floor(x), x))
    low = log2_float64(promote_low(m), promote_low(e)) * promote_low(y)
    return exp2_float64(low, log2_float64(promote_high(m), promote_high(e)) * promote_high(y))
def pow(x: float32, y: float32):
    odd = (f32x4.nearest(y) == y) & (f32x4.nearest(y * 0.5) != y * 0.5)
    out = pow_magnitude(f32x4.abs(x), y)
    out = select((x < 0) & (x > -inf) & (f32x4.nearest(y) != y), nan, out)
    out = as_float32(as_int32(out) ^ (as_int32(x) & as_int32(0x80000000) & as_int32(odd)))
    return select((y == 0) | (x == 1) | (x == -1) & (f32x4.abs(y) == inf), 1, out)
'''

# The float64 quotient of two int32 never rounds across an integer. Division by 0 gives 0.
INTEGER_DIVISION = '''
def to_float64(x: int32): return f64x2.convert_low_i32x4_s(x)
def floor_quotient(x: int32, y: int32):
    return i32x4.trunc_sat_f64x2_s_zero(f64x2.floor(to_float64(x) / to_float64(y)))
def floordiv(x: int32, y: int32):
    q = join(floor_quotient(x, y), floor_quotient(high(x), high(y)))
    return select(y == 0, 0, select(y == -1, -x, q))
def floordiv(x: uint8, y: uint8): return as_uint8(floordiv(as_int32(x), as_int32(y)))
def floordiv(x: float32, y: float32): return f32x4.floor(x / y)
def mod(x: int32, y: int32): return select(y == 0, 0, x - floordiv(x, y) * y)
def mod(x: uint8, y: uint8): return as_uint8(mod(as_int32(x), as_int32(y)))
'''

# The exact remainder of C's fmod. x = 2^d m with mantissas m of x and y of equal scale: each step
# multiplies the remainder by up to 2^29 of 2^d, at most 2^277, and subtracts a multiple of y.
# Products and differences of multiples of 2^-24 below 2^29 are exact in float64. The remainder is
# between -y / 2 and y / 2 until the last step.
_MODULO_STEPS = [
    f"    scale = scale_of_step(d - {28 + 29 * step})\n"
    "    left = reduce_modulo(left, promote_low(y_mantissa), promote_low(scale))\n"
    "    right = reduce_modulo(right, promote_high(y_mantissa), promote_high(scale))"
    for step in range(9)]
MODULO = '''
def binary_exponent(x: float32): return exponent(x) - (as_int32(x < 1.17549435e-38) & 23)
def scale_of_step(d: int32): return as_float32((i32x4.max_s(i32x4.min_s(d, 29), 0) + 127) << 23)
def reduce_modulo(r: float64, y: float64, scale: float64):
    scaled = r * scale
    return scaled - f64x2.nearest(scaled * (1 / y)) * y
def fmod_magnitude(x: float32, y: float32):
    y_mantissa = mantissa(y)
    y_exponent = binary_exponent(y)
    d = binary_exponent(x) - y_exponent
    scale = scale_of_step(i32x4.min_s(d, 28))
    left = reduce_modulo(promote_low(mantissa(x)), promote_low(y_mantissa), promote_low(scale))
    right = reduce_modulo(promote_high(mantissa(x)), promote_high(y_mantissa), promote_high(scale))
''' + "\n".join(_MODULO_STEPS) + '''
    r = demote(left, right)
    r = select(r < 0, r + y_mantissa, r)
    half = y_exponent >> 1
    return r * as_float32((half + 127) << 23) * as_float32((y_exponent - half + 127) << 23)
def fmod(x: float32, y: float32):
    a = f32x4.abs(x)
    b = f32x4.abs(y)
    return select(a < b, x, select((b > 0) & (a < inf), set_sign(fmod_magnitude(a, b), x), nan))
def mod(x: float32, y: float32):
    r = fmod(x, y)
    return select((r != 0) & ((r < 0) ^ (y < 0)), r + y, r)
'''

# A shift by 32 or more equals repeated shifts by one. A power with a negative exponent is 1 / x^n,
# truncated to an integer.
_SHIFT_STEPS = [f"    x = select((y & {1 << k}) == 0, x, x >> {1 << k})" for k in range(5)]
_POWER_STEPS = [f"    out = out * select((y & {1 << k}) == 0, 1, x)\n    x = x * x"
              for k in range(32)]
SHIFTS_AND_POWERS = '''
def shift_left(x: int32, y: int32):
    factor = i32x4.trunc_sat_f32x4_u(as_float32((y + 127) << 23))
    return select(as_bool(i32x4.lt_u(y, 32)), x * factor, 0)
def shift_left(x: uint8, y: uint8):
    return as_uint8(shift_left(as_int32(x), as_int32(y)) & 255)
def shift_right(x: int32, y: int32):
    y = i32x4.min_u(y, 31)
''' + "\n".join(_SHIFT_STEPS) + '''
    return x
def shift_right(x: uint8, y: uint8): return as_uint8(shift_right(as_int32(x), as_int32(y)))
def pow(x: int32, y: int32):
    is_exact = (y >= 0) | (x == 1) | (x == -1)
    out = select(y == y, 1, 0)
''' + "\n".join(_POWER_STEPS) + '''
    return select(is_exact, out, 0)
def pow(x: uint8, y: uint8): return as_uint8(pow(as_int32(x), as_int32(y)) & 255)
'''

LIBRARY = "".join((BASIC, CASTS, EXPONENTIALS, LOGARITHMS, TRIGONOMETRIC, ERROR_FUNCTION, POWERS,
                   INTEGER_DIVISION, MODULO, SHIFTS_AND_POWERS))
