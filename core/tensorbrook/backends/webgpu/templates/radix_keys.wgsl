// Sort items of COUNT elements in rows of N: the index in the row and the key. With INDICES the
// elements are indices and their own keys; indices outside of 0..ROWS-1 have key ROWS.

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> items: array<vec2u>;

override COUNT: u32;
override N: u32;
override LANES: u32;

// if INDICES
override ROWS: u32;

fn sort_key(index: u32) -> u32 { return min(index, ROWS); }
// else
// include "include/radix_keys.wgsl"
// end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = (group.y * groups.x + group.x) * LANES + lane;
  if (index < COUNT) { items[index] = vec2u(index % N, sort_key(x[index])); }
}
