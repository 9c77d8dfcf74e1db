// How often each digit number DIGIT, of 8 bits, occurs among the keys of each part of a row: counts
// (ROWS, PARTS, 256) of items (ROWS, N). A workgroup counts one part.

@group(0) @binding(0) var<storage, read> items: array<vec2u>;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;

override ROWS: u32 = 1;
override N: u32 = 1;
override PARTS: u32 = 1;
override DIGIT: u32 = 0;
const DIGITS: u32 = 256;

var<workgroup> found: array<atomic<u32>, DIGITS>;

// N * part / PARTS, without its overflow.
fn share(part: u32) -> u32 { return N / PARTS * part + N % PARTS * part / PARTS; }

@compute @workgroup_size(DIGITS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let unit = group.y * groups.x + group.x;
  if (unit >= ROWS * PARTS) { return; }
  let row = unit / PARTS * N;
  let end = share(unit % PARTS + 1);
  atomicStore(&found[lane], 0u);           // not every implementation hands memory over cleared
  workgroupBarrier();
  for (var i = share(unit % PARTS) + lane; i < end; i += DIGITS) {
    atomicAdd(&found[extractBits(items[row + i].y, 8 * DIGIT, 8)], 1u);
  }
  workgroupBarrier();
  counts[unit * DIGITS + lane] = atomicLoad(&found[lane]);
}
