// Peak rate of multiply-adds: four independent chains of a vec4 per invocation, to hide the latency
// of a multiply-add. The number of chains is a heuristic; not tuned on hardware.

@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;

override LANES: u32;
override STEPS: u32;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
  let factor = vec4<f32>(0.5 + f32(lane) / 1024.0);
  var a = factor;
  var b = factor + 1.0;
  var c = factor + 2.0;
  var d = factor + 3.0;
  for (var i = 0u; i < STEPS; i++) {
    a = fma(a, factor, factor);
    b = fma(b, factor, factor);
    c = fma(c, factor, factor);
    d = fma(d, factor, factor);
  }
  out[lane] = a + b + c + d;  // a use of the results; every workgroup stores the same
}
