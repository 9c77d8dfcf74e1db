// As many multiply-adds as a GPU can do: four chains an invocation, each of one vec4, which hide
// what one of them takes. Estimates; not tuned, for want of a GPU.

@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;

override LANES: u32;
override TURNS: u32;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
  let factor = vec4<f32>(0.5 + f32(lane) / 1024.0);
  var a = factor;
  var b = factor + 1.0;
  var c = factor + 2.0;
  var d = factor + 3.0;
  for (var turn = 0u; turn < TURNS; turn++) {
    a = fma(a, factor, factor);
    b = fma(b, factor, factor);
    c = fma(c, factor, factor);
    d = fma(d, factor, factor);
  }
  out[lane] = a + b + c + d;  // the same in every workgroup: so that nobody finds it useless
}
