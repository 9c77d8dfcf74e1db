// How often each digit occurs among the keys of each part of a row: counts (ROWS, PARTS, DIGITS) of
// items (ROWS, N). A workgroup counts one part.

@group(0) @binding(0) var<storage, read> items: array<vec2u>;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;

// include "include/radix_digits.wgsl"

var<workgroup> found: array<atomic<u32>, DIGITS>;

@compute @workgroup_size(DIGITS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let unit = group.y * groups.x + group.x;
  if (unit >= ROWS * PARTS) { return; }
  let row = unit / PARTS * N;
  let end = begin_of(unit % PARTS + 1);
  atomicStore(&found[lane], 0u);           // not every implementation hands memory over cleared
  workgroupBarrier();
  for (var i = begin_of(unit % PARTS) + lane; i < end; i += DIGITS) {
    atomicAdd(&found[digit_of(items[row + i].y)], 1u);
  }
  workgroupBarrier();
  counts[unit * DIGITS + lane] = atomicLoad(&found[lane]);
}
