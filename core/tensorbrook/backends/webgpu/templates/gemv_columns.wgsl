// COUNT vectors of each item times a matrix whose rows lie across k: an invocation goes down four
// columns (or one), SLICES of them share a column. Sums in f32: every SLICES-th of k, then a tree,
// of which the slices in one subgroup, where the device has them, shuffle theirs. Tolerance 1e-5.

override LANES: u32;                     // invocations side by side
override SLICES: u32;

@group(0) @binding(1) var<storage, read> vectors: array<second_type>;
// include "include/gemv.wgsl"

// if FOUR
alias Sum = vec4f;
// else
alias Sum = f32;
// end
const UNITS = WIDTH / PLACES;            // invocations for a row of the matrix

var<workgroup> partial: array<array<Sum, LANES * SLICES>, COUNT>;

// The numbers of a column, or of four.
fn put_all(whole: u32, vector: u32, column: u32, sum: Sum) {
  // if FOUR
  for (var i = 0u; i < 4u; i++) { put_one(whole, vector, column + i, sum[i]); }
  // else
  put_one(whole, vector, column, sum);
  // end
}

@compute @workgroup_size(LANES * SLICES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        // if SUBGROUPS
        @builtin(subgroup_size) subgroup: u32,
        // end
        @builtin(local_invocation_index) index: u32) {
  let unit = (group.y * groups.x + group.x) * LANES + index % LANES;
  let slice = index / LANES;
  let item = unit / UNITS % BATCH;
  let part = unit / (UNITS * BATCH);
  let column = unit % UNITS * PLACES;
  var sums: array<Sum, COUNT>;
  if (unit < PARTS * BATCH * UNITS) {
    let end = min(K, (part + 1u) * SPLIT);
    for (var k = part * SPLIT + slice; k < end; k += SLICES) {
      let here = places(item * STRIDE_MATRIX + k * WIDTH + column);
      let at = item * STRIDE_VECTORS + k * STEP;
      // unroll
      for (var v = 0u; v < COUNT; v++) {
        let one = taken_second(vec4f(f32(vectors[at + v * VECTOR]))).x;
        sums[v] = fma(Sum(one), here, sums[v]);
      }
    }
  }
  // if SUBGROUPS
  let width = min(subgroup, LANES * SLICES);
  // unroll
  for (var v = 0u; v < COUNT; v++) {
    for (var d = LANES; d < width; d *= 2u) { sums[v] += subgroupShuffleXor(sums[v], d); }
  }
  let near = max(width / LANES, 1u);
  if (near < SLICES) {
    // unroll
    for (var v = 0u; v < COUNT; v++) { partial[v][index] = sums[v]; }
    workgroupBarrier();
    // unroll
    for (var v = 0u; v < COUNT; v++) {
      if (slice == v % SLICES) {
        sums[v] = Sum();
        for (var i = index % LANES; i < LANES * SLICES; i += LANES * near) {
          sums[v] += partial[v][i];
        }
      }
    }
  }
  if (unit >= PARTS * BATCH * UNITS) { return; }
  // unroll
  for (var v = 0u; v < COUNT; v++) {
    if (slice == v % SLICES) { put_all(part * BATCH + item, v, column, sums[v]); }
  }
  // else
  // unroll
  for (var v = 0u; v < COUNT; v++) { partial[v][index] = sums[v]; }
  for (var half = SLICES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (slice < half) {
      // unroll
      for (var v = 0u; v < COUNT; v++) { partial[v][index] += partial[v][index + half * LANES]; }
    }
  }
  if (slice > 0u || unit >= PARTS * BATCH * UNITS) { return; }
  for (var v = 0u; v < COUNT; v++) { put_all(part * BATCH + item, v, column, partial[v][index]); }
  // end
}
