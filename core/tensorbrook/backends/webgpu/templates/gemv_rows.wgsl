// GEMV with a matrix whose rows are along k: LANES invocations compute the dot products of one row
// with all vectors. Sums in f32: each lane sums every LANES-th k (or vec4 of k), and a tree
// combines the lanes: by shuffles if the device has subgroups. Tolerance 1e-5.

override LANES: u32;
override ROWS: u32;                      // rows of a workgroup
// if SUBGROUPS
override MIN_SUBGROUP_SIZE: u32;
// end

// if VECTORS_ARE_VEC4
@group(0) @binding(1) var<storage, read> vectors: array<vec4<second_type>>;
// else
@group(0) @binding(1) var<storage, read> vectors: array<second_type>;
// end
// include "include/gemv.wgsl"

const TOTAL_ROWS = SPLIT_K * BATCH * WIDTH;

// if SUBGROUPS
var<workgroup> partials: array<array<f32, max(LANES * ROWS / MIN_SUBGROUP_SIZE, 1u)>, COUNT>;
// else
var<workgroup> partials: array<array<f32, LANES * ROWS>, COUNT>;
// end

// The dot product of k to k + 3 (or of k) of a row and of the vector that begins at `first`.
// if MATRIX_IS_VEC4
fn dot_at(elements: vec4f, first: u32, k: u32) -> f32 {
  // if VECTORS_ARE_VEC4
  return dot(elements, load_second(vec4f(vectors[(first + k) / 4u])));
  // else
  let index = first + k * K_STRIDE;
  let factors = vec4f(f32(vectors[index]), f32(vectors[index + K_STRIDE]),
                      f32(vectors[index + 2u * K_STRIDE]), f32(vectors[index + 3u * K_STRIDE]));
  return dot(elements, load_second(factors));
  // end
}
// else
fn dot_at(element: f32, first: u32, k: u32) -> f32 {
  return element * load_second(vec4f(f32(vectors[first + k * K_STRIDE]))).x;
}
// end

// if SUBGROUPS
// The sum over `width` neighbouring lanes.
fn sum_lanes(x: f32, width: u32) -> f32 {
  var sum = x;
  for (var d = 1u; d < width; d *= 2u) { sum += subgroupShuffleXor(sum, d); }
  return sum;
}

// end
@compute @workgroup_size(LANES * ROWS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        // if SUBGROUPS
        @builtin(subgroup_size) subgroup_size: u32,
        // end
        @builtin(local_invocation_index) index: u32) {
  let row = (group.y * groups.x + group.x) * ROWS + index / LANES;
  let lane = index % LANES;
  let split_item = row / WIDTH;
  let matrix_row = row % WIDTH;
  let item = split_item % BATCH;
  let split = row / (WIDTH * BATCH);
  var sums: array<f32, COUNT>;
  if (row < TOTAL_ROWS) {
    let begin = item * STRIDE_MATRIX + matrix_row * K;
    let end = min(K, (split + 1u) * K_PER_SPLIT);
    for (var k = split * K_PER_SPLIT + lane * MATRIX_WIDTH; k < end; k += LANES * MATRIX_WIDTH) {
      let elements = load_matrix(begin + k);
      // unroll
      for (var v = 0u; v < COUNT; v++) {
        sums[v] += dot_at(elements, item * STRIDE_VECTORS + v * VECTOR_STRIDE, k);
      }
    }
  }
  // if SUBGROUPS
  let width = min(subgroup_size, LANES);
  // unroll
  for (var v = 0u; v < COUNT; v++) { sums[v] = sum_lanes(sums[v], width); }
  if (width < LANES) {
    if (lane % width == 0u) {
      // unroll
      for (var v = 0u; v < COUNT; v++) { partials[v][index / width] = sums[v]; }
    }
    workgroupBarrier();
    let first = (index - lane) / width;
    // unroll
    for (var v = 0u; v < COUNT; v++) {
      sums[v] = 0.0;
      for (var i = lane % width; i < LANES / width; i += width) {
        sums[v] += partials[v][first + i];
      }
      sums[v] = sum_lanes(sums[v], width);
    }
  }
  if (row >= TOTAL_ROWS) { return; }
  // unroll
  for (var v = 0u; v < COUNT; v++) {
    if (lane == v % LANES) { store_element(split_item, v, matrix_row, sums[v]); }
  }
  // else
  // unroll
  for (var v = 0u; v < COUNT; v++) { partials[v][index] = sums[v]; }
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      // unroll
      for (var v = 0u; v < COUNT; v++) { partials[v][index] += partials[v][index + half]; }
    }
  }
  workgroupBarrier();
  if (row >= TOTAL_ROWS) { return; }
  for (var v = lane; v < COUNT; v += LANES) {
    store_element(split_item, v, matrix_row, partials[v][index - lane]);
  }
  // end
}
