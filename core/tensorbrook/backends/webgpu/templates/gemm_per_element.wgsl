// out[i] = op(a[i]) @ op(b[i]), one of its numbers for each invocation: for small products, and to
// say what the others mean. Sums in f32, in the order of k. Tolerance 1e-5. NUMBERED as in gemm.

// include "include/gemm_params.wgsl"

override ROW: u32;                       // numbers of a from one row of op(a) to the next
override STEP_A: u32;                    // and from one place of k to the next
override COLUMN: u32;                    // numbers of b from one column of op(b) to the next
override STEP_B: u32;
override LANES: u32;

@group(0) @binding(0) var<storage, read> a: array<first_type>;
@group(0) @binding(1) var<storage, read> b: array<second_type>;
@group(0) @binding(2) var<storage, read_write> out: array<sum_type>;

// include "include/operand_load.wgsl"

fn put(row: u32, column: u32, value: f32) {
  out[row * N + column] = sum_type(value);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = (group.y * groups.x + group.x) * LANES + lane;
  if (index >= BATCH * M * N) { return; }
  let item = index / (M * N);
  let row = index / N % M;
  let column = index % N;
  var at_a = item * STRIDE_A + row * ROW;
  var at_b = item * STRIDE_B + column * COLUMN;
  var sum = 0.0;
  var k = 0u;
  // if NUMBERED
  // Four of each are on their way at a time.
  for (; k + 3u < K; k += 4u) {
    var x: vec4f;
    var y: vec4f;
    // unroll
    for (var i = 0u; i < 4u; i++) { x[i] = f32(a[at_a + i * STEP_A]); }
    // unroll
    for (var i = 0u; i < 4u; i++) { y[i] = f32(b[at_b + i * STEP_B]); }
    x = taken_first(x);
    y = taken_second(y);
    // unroll
    for (var i = 0u; i < 4u; i++) { sum = fma(x[i], y[i], sum); }
    at_a += 4u * STEP_A;
    at_b += 4u * STEP_B;
  }
  // end
  for (; k < K; k++) {
    let x = taken_first(vec4f(f32(a[at_a]))).x;
    let y = taken_second(vec4f(f32(b[at_b]))).x;
    sum = fma(x, y, sum);
    at_a += STEP_A;
    at_b += STEP_B;
  }
  put(item * M + row, column, sum);
}
