// GEMV with a matrix whose rows are across k: an invocation reduces four columns (or one) along k,
// and SLICES invocations share a column. Sums in f32: each slice sums every SLICES-th k, and a tree
// combines the slices, by shuffles for the slices of one subgroup if the device has subgroups.
// Tolerance 1e-5.

override LANES: u32;                     // neighbouring invocations, one per column unit
override SLICES: u32;

@group(0) @binding(1) var<storage, read> vectors: array<second_type>;
// include "include/gemv.wgsl"

// if MATRIX_IS_VEC4
alias Sum = vec4f;
// else
alias Sum = f32;
// end
const UNITS = WIDTH / MATRIX_WIDTH;      // invocations for a row of the matrix

var<workgroup> partials: array<array<Sum, LANES * SLICES>, COUNT>;

// Store the sum of a column, or of four.
fn store_columns(item: u32, vector: u32, column: u32, sum: Sum) {
  // if MATRIX_IS_VEC4
  for (var i = 0u; i < 4u; i++) { store_element(item, vector, column + i, sum[i]); }
  // else
  store_element(item, vector, column, sum);
  // end
}

@compute @workgroup_size(LANES * SLICES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        // if SUBGROUPS
        @builtin(subgroup_size) subgroup_size: u32,
        // end
        @builtin(local_invocation_index) index: u32) {
  let unit = (group.y * groups.x + group.x) * LANES + index % LANES;
  let slice = index / LANES;
  let item = unit / UNITS % BATCH;
  let split = unit / (UNITS * BATCH);
  let column = unit % UNITS * MATRIX_WIDTH;
  var sums: array<Sum, COUNT>;
  if (unit < SPLIT_K * BATCH * UNITS) {
    let end = min(K, (split + 1u) * K_PER_SPLIT);
    for (var k = split * K_PER_SPLIT + slice; k < end; k += SLICES) {
      let elements = load_matrix(item * STRIDE_MATRIX + k * WIDTH + column);
      let first = item * STRIDE_VECTORS + k * K_STRIDE;
      // unroll
      for (var v = 0u; v < COUNT; v++) {
        let factor = load_second(vec4f(f32(vectors[first + v * VECTOR_STRIDE]))).x;
        sums[v] = fma(Sum(factor), elements, sums[v]);
      }
    }
  }
  // if SUBGROUPS
  let width = min(subgroup_size, LANES * SLICES);
  // unroll
  for (var v = 0u; v < COUNT; v++) {
    for (var d = LANES; d < width; d *= 2u) { sums[v] += subgroupShuffleXor(sums[v], d); }
  }
  let combined = max(width / LANES, 1u);
  if (combined < SLICES) {
    // unroll
    for (var v = 0u; v < COUNT; v++) { partials[v][index] = sums[v]; }
    workgroupBarrier();
    // unroll
    for (var v = 0u; v < COUNT; v++) {
      if (slice == v % SLICES) {
        sums[v] = Sum();
        for (var i = index % LANES; i < LANES * SLICES; i += LANES * combined) {
          sums[v] += partials[v][i];
        }
      }
    }
  }
  if (unit >= SPLIT_K * BATCH * UNITS) { return; }
  // unroll
  for (var v = 0u; v < COUNT; v++) {
    if (slice == v % SLICES) { store_columns(split * BATCH + item, v, column, sums[v]); }
  }
  // else
  // unroll
  for (var v = 0u; v < COUNT; v++) { partials[v][index] = sums[v]; }
  for (var half = SLICES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (slice < half) {
      // unroll
      for (var v = 0u; v < COUNT; v++) { partials[v][index] += partials[v][index + half * LANES]; }
    }
  }
  if (slice > 0u || unit >= SPLIT_K * BATCH * UNITS) { return; }
  for (var v = 0u; v < COUNT; v++) {
    store_columns(split * BATCH + item, v, column, partials[v][index]);
  }
  // end
}
