// Histogram of the digits of the keys in each chunk of a row: counts (ROWS, CHUNKS, DIGITS) of
// items (ROWS, N). One workgroup per chunk.

@group(0) @binding(0) var<storage, read> items: array<vec2u>;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;

// include "include/radix_digits.wgsl"

var<workgroup> histogram: array<atomic<u32>, DIGITS>;

@compute @workgroup_size(DIGITS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let chunk = group.y * groups.x + group.x;
  if (chunk >= ROWS * CHUNKS) { return; }
  let row = chunk / CHUNKS * N;
  let end = chunk_begin(chunk % CHUNKS + 1);
  atomicStore(&histogram[lane], 0u);       // some implementations do not zero workgroup memory
  workgroupBarrier();
  for (var i = chunk_begin(chunk % CHUNKS) + lane; i < end; i += DIGITS) {
    atomicAdd(&histogram[digit_of(items[row + i].y)], 1u);
  }
  workgroupBarrier();
  counts[chunk * DIGITS + lane] = atomicLoad(&histogram[lane]);
}
