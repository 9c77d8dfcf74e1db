// Conversion of loaded operands: with ROUND_..., a value is rounded to the nearest float16, as if
// the operand had been cast before; otherwise it is unchanged.
// if ROUND
alias half_type = f32;

// Values beyond the range of float16 become infinite; WGSL may convert them to its largest number.
fn round_vec4_to_f16(x: vec4f) -> vec4f {
  let infinite = bitcast<vec4f>((bitcast<vec4u>(x) & vec4u(0x80000000u)) | vec4u(0x7f800000u));
  return select(vec4f(vec4<half_type>(x)), infinite, abs(x) >= vec4f(65520.0));
}

// end
// if ROUND_FIRST
fn load_first(x: vec4f) -> vec4f { return round_vec4_to_f16(x); }
// else
fn load_first(x: vec4f) -> vec4f { return x; }
// end
// if ROUND_SECOND
fn load_second(x: vec4f) -> vec4f { return round_vec4_to_f16(x); }
// else
fn load_second(x: vec4f) -> vec4f { return x; }
// end
