// What operands are taken as: what they are in memory, or with ROUND_... the nearest float16, as if
// they had been cast before.
// if ROUND
alias half_type = f32;

// An infinity is made of what lies beyond float16, where WGSL may make its largest number.
fn nearest_half(x: vec4f) -> vec4f {
  let beyond = bitcast<vec4f>((bitcast<vec4u>(x) & vec4u(0x80000000u)) | vec4u(0x7f800000u));
  return select(vec4f(vec4<half_type>(x)), beyond, abs(x) >= vec4f(65520.0));
}

// end
// if ROUND_FIRST
fn taken_first(x: vec4f) -> vec4f { return nearest_half(x); }
// else
fn taken_first(x: vec4f) -> vec4f { return x; }
// end
// if ROUND_SECOND
fn taken_second(x: vec4f) -> vec4f { return nearest_half(x); }
// else
fn taken_second(x: vec4f) -> vec4f { return x; }
// end
