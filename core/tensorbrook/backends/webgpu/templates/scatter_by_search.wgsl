// out (ROWS, INNER) = 0, then out[indices[i], :] += updates[i, :]; indices outside are dropped. For
// few rows, or few indices: each element looks through all COUNT of them.
//
// SHARE lanes sum one element, and then add up what they have in a fixed tree; a single one adds in
// order of i.

alias element = f32;

@group(0) @binding(0) var<storage, read> updates: array<element>;
@group(0) @binding(1) var<storage, read> indices: array<i32>;
@group(0) @binding(2) var<storage, read_write> out: array<element>;

override ROWS: u32;
override COUNT: u32;
override INNER: u32;
override SHARE: u32;
override LANES: u32;
const ELEMENTS: u32 = LANES / SHARE;        // of the result, for each workgroup

// if SHARED
// include "include/workgroup_sum.wgsl"
// end

// What lane number `first` of SHARE has to add up.
fn sum_of(row: u32, column: u32, first: u32) -> element {
  var sum = element();
  for (var i = first; i < COUNT; i += SHARE) {
    if (indices[i] == i32(row)) { sum += updates[i * INNER + column]; }
  }
  return sum;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let at = (group.y * groups.x + group.x) * ELEMENTS + lane % ELEMENTS;
  let inside = at < ROWS * INNER;
  var sum = element();
  if (inside) { sum = sum_of(at / INNER, at % INNER, lane / ELEMENTS); }
  // if SHARED
  sum = lanes_sum(sum, lane, ELEMENTS);
  // end
  if (inside && lane < ELEMENTS) { out[at] = sum; }
}
