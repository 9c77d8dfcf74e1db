// out[i] = op(a[i]) @ op(b[i]), one element per invocation: for small products, and the reference
// of the other GEMM templates. Sums in f32, in the order of k. Tolerance 1e-5. UNROLLED as in
// gemm.wgsl.

// include "include/gemm_params.wgsl"

override ROW_STRIDE_A: u32;              // elements of a from one row of op(a) to the next
override K_STRIDE_A: u32;                // and from one k to the next
override COLUMN_STRIDE_B: u32;           // elements of b from one column of op(b) to the next
override K_STRIDE_B: u32;
override LANES: u32;

@group(0) @binding(0) var<storage, read> a: array<first_type>;
@group(0) @binding(1) var<storage, read> b: array<second_type>;
@group(0) @binding(2) var<storage, read_write> out: array<sum_type>;

// include "include/operand_load.wgsl"

fn store(row: u32, column: u32, value: f32) {
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
  var a_index = item * STRIDE_A + row * ROW_STRIDE_A;
  var b_index = item * STRIDE_B + column * COLUMN_STRIDE_B;
  var sum = 0.0;
  var k = 0u;
  // if UNROLLED
  // Four loads of each operand are in flight at a time.
  for (; k + 3u < K; k += 4u) {
    var x: vec4f;
    var y: vec4f;
    // unroll
    for (var i = 0u; i < 4u; i++) { x[i] = f32(a[a_index + i * K_STRIDE_A]); }
    // unroll
    for (var i = 0u; i < 4u; i++) { y[i] = f32(b[b_index + i * K_STRIDE_B]); }
    x = load_first(x);
    y = load_second(y);
    // unroll
    for (var i = 0u; i < 4u; i++) { sum = fma(x[i], y[i], sum); }
    a_index += 4u * K_STRIDE_A;
    b_index += 4u * K_STRIDE_B;
  }
  // end
  for (; k < K; k++) {
    let x = load_first(vec4f(f32(a[a_index]))).x;
    let y = load_second(vec4f(f32(b[b_index]))).x;
    sum = fma(x, y, sum);
    a_index += K_STRIDE_A;
    b_index += K_STRIDE_B;
  }
  store(item * M + row, column, sum);
}
