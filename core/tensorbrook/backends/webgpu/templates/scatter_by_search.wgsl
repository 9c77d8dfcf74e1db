// Scatter-add for few rows or few indices: out (ROWS, INNER) = 0, then out[indices[i], :] +=
// updates[i, :]; indices out of bounds are dropped. Each element searches all COUNT indices.
//
// LANES_PER_ELEMENT lanes sum one element, and a fixed tree combines them; a single lane sums in
// order of i.

alias element = f32;

@group(0) @binding(0) var<storage, read> updates: array<element>;
@group(0) @binding(1) var<storage, read> indices: array<i32>;
@group(0) @binding(2) var<storage, read_write> out: array<element>;

override ROWS: u32;
override COUNT: u32;
override INNER: u32;
override LANES_PER_ELEMENT: u32;
override LANES: u32;
const ELEMENTS: u32 = LANES / LANES_PER_ELEMENT;        // of a workgroup

// if SHARED
// include "include/workgroup_sum.wgsl"
// end

// The sum of the updates first + n * LANES_PER_ELEMENT.
fn partial_sum(row: u32, column: u32, first: u32) -> element {
  var sum = element();
  for (var i = first; i < COUNT; i += LANES_PER_ELEMENT) {
    if (indices[i] == i32(row)) { sum += updates[i * INNER + column]; }
  }
  return sum;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = (group.y * groups.x + group.x) * ELEMENTS + lane % ELEMENTS;
  let inside = index < ROWS * INNER;
  var sum = element();
  if (inside) { sum = partial_sum(index / INNER, index % INNER, lane / ELEMENTS); }
  // if SHARED
  sum = workgroup_sum(sum, lane, ELEMENTS);
  // end
  if (inside && lane < ELEMENTS) { out[index] = sum; }
}
