// COUNT vectors of each item times a matrix whose rows lie along k: LANES invocations make the
// products of one row with all vectors. Sums in f32: every LANES-th of k (or four of them), then a
// tree: by shuffles where the device has subgroups, of LEAST or more. Tolerance 1e-5.

override LANES: u32;
override ROWS: u32;                      // rows that a workgroup takes
// if SUBGROUPS
override LEAST: u32;                     // invocations of a subgroup
// end

// if FOUR_VECTORS
@group(0) @binding(1) var<storage, read> vectors: array<vec4<second_type>>;
// else
@group(0) @binding(1) var<storage, read> vectors: array<second_type>;
// end
// include "include/gemv.wgsl"

const LINES = PARTS * BATCH * WIDTH;

// if SUBGROUPS
var<workgroup> partial: array<array<f32, max(LANES * ROWS / LEAST, 1u)>, COUNT>;
// else
var<workgroup> partial: array<array<f32, LANES * ROWS>, COUNT>;
// end

// The product of places k to k + 3 (or of place k) with a vector that begins at `first`.
// if FOUR
fn share(four: vec4f, first: u32, k: u32) -> f32 {
  // if FOUR_VECTORS
  return dot(four, taken_second(vec4f(vectors[(first + k) / 4u])));
  // else
  let at = first + k * STEP;
  let others = vec4f(f32(vectors[at]), f32(vectors[at + STEP]), f32(vectors[at + 2u * STEP]),
                     f32(vectors[at + 3u * STEP]));
  return dot(four, taken_second(others));
  // end
}
// else
fn share(one: f32, first: u32, k: u32) -> f32 {
  return one * taken_second(vec4f(f32(vectors[first + k * STEP]))).x;
}
// end

// if SUBGROUPS
// The sum of what `width` neighbours have.
fn together(x: f32, width: u32) -> f32 {
  var sum = x;
  for (var d = 1u; d < width; d *= 2u) { sum += subgroupShuffleXor(sum, d); }
  return sum;
}

// end
@compute @workgroup_size(LANES * ROWS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        // if SUBGROUPS
        @builtin(subgroup_size) subgroup: u32,
        // end
        @builtin(local_invocation_index) index: u32) {
  let line = (group.y * groups.x + group.x) * ROWS + index / LANES;
  let lane = index % LANES;
  let whole = line / WIDTH;
  let place = line % WIDTH;
  let item = whole % BATCH;
  let part = line / (WIDTH * BATCH);
  var sums: array<f32, COUNT>;
  if (line < LINES) {
    let row = item * STRIDE_MATRIX + place * K;
    let end = min(K, (part + 1u) * SPLIT);
    for (var k = part * SPLIT + lane * PLACES; k < end; k += LANES * PLACES) {
      let here = places(row + k);
      // unroll
      for (var v = 0u; v < COUNT; v++) {
        sums[v] += share(here, item * STRIDE_VECTORS + v * VECTOR, k);
      }
    }
  }
  // if SUBGROUPS
  let width = min(subgroup, LANES);
  // unroll
  for (var v = 0u; v < COUNT; v++) { sums[v] = together(sums[v], width); }
  if (width < LANES) {
    if (lane % width == 0u) {
      // unroll
      for (var v = 0u; v < COUNT; v++) { partial[v][index / width] = sums[v]; }
    }
    workgroupBarrier();
    let first = (index - lane) / width;
    // unroll
    for (var v = 0u; v < COUNT; v++) {
      sums[v] = 0.0;
      for (var i = lane % width; i < LANES / width; i += width) {
        sums[v] += partial[v][first + i];
      }
      sums[v] = together(sums[v], width);
    }
  }
  if (line >= LINES) { return; }
  // unroll
  for (var v = 0u; v < COUNT; v++) { if (lane == v % LANES) { put_one(whole, v, place, sums[v]); } }
  // else
  // unroll
  for (var v = 0u; v < COUNT; v++) { partial[v][index] = sums[v]; }
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      // unroll
      for (var v = 0u; v < COUNT; v++) { partial[v][index] += partial[v][index + half]; }
    }
  }
  workgroupBarrier();
  if (line >= LINES) { return; }
  for (var v = lane; v < COUNT; v += LANES) { put_one(whole, v, place, partial[v][index - lane]); }
  // end
}
