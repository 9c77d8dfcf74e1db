// An item for each of COUNT numbers in rows of N: its place in the row, and its key. With INDICES
// the numbers are indices and their own keys; all that lie outside of 0..ROWS-1 are ROWS.

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> items: array<vec2u>;

override COUNT: u32;
override N: u32;
override LANES: u32;

// if INDICES
override ROWS: u32;

fn key_of(index: u32) -> u32 { return min(index, ROWS); }
// else
// include "include/radix_keys.wgsl"
// end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let at = (group.y * groups.x + group.x) * LANES + lane;
  if (at < COUNT) { items[at] = vec2u(at % N, key_of(x[at])); }
}
