// if SUBGROUPS
enable subgroups;

// end
// COUNT vectors of each item times a matrix whose rows lie across k: an invocation goes down four
// columns (or one), SLICES of them share a column. Sums in f32: every SLICES-th of k, then a tree,
// of which the slices in one subgroup, where the device has them, shuffle theirs. Tolerance 1e-5.
//
// out[i] is (COUNT, WIDTH), or (WIDTH, COUNT) with DOWN. As in gemm.wgsl, PARTS parts of k follow
// each other in `out`.

alias first_type = f32;
alias second_type = f32;
alias sum_type = f32;

override BATCH: u32 = 1;
override COUNT: u32 = 1;
override WIDTH: u32 = 1;
override N: u32 = 1;                     // of the result: WIDTH, or COUNT with DOWN
override K: u32 = 1;
override DOWN: bool = false;
override STRIDE_MATRIX: u32 = 0;         // numbers from one item's matrix to the next
override STRIDE_VECTORS: u32 = 0;
override VECTOR: u32 = 1;                // from one vector to the next
override STEP: u32 = 1;                  // from one place of k to the next in a vector
override PARTS: u32 = 1;
override SPLIT: u32 = 1;                 // of K

override LANES: u32 = 32;                // invocations side by side
override SLICES: u32 = 8;

// if FOUR
@group(0) @binding(0) var<storage, read> matrix: array<vec4<first_type>>;
const PLACES = 4u;
alias Sum = vec4f;
fn places(at: u32) -> vec4f { return taken_first(vec4f(matrix[at / 4u])); }
// else
@group(0) @binding(0) var<storage, read> matrix: array<first_type>;
const PLACES = 1u;
alias Sum = f32;
fn places(at: u32) -> f32 { return taken_first(vec4f(f32(matrix[at]))).x; }
// end
@group(0) @binding(1) var<storage, read> vectors: array<second_type>;
@group(0) @binding(2) var<storage, read_write> out: array<sum_type>;

// include "pieces/taken.wgsl"

const UNITS = WIDTH / PLACES;            // invocations for a row of the matrix

var<workgroup> partial: array<array<Sum, LANES * SLICES>, COUNT>;

fn put(row: u32, column: u32, value: f32) {
  out[row * N + column] = sum_type(value);
}

// A number of the result.
fn put_one(whole: u32, vector: u32, column: u32, value: f32) {
  if (DOWN) {
    put(whole * WIDTH + column, vector, value);
  } else {
    put(whole * COUNT + vector, column, value);
  }
}

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
        for (var i = index % LANES; i < LANES * SLICES; i += LANES * near) { sums[v] += partial[v][i]; }
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
