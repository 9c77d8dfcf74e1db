// The begin of each segment of sorted items: starts[r] = the number of keys below r among COUNT
// items, for r = 0..ROWS.

@group(0) @binding(0) var<storage, read> items: array<vec2u>;
@group(0) @binding(1) var<storage, read_write> starts: array<u32>;

override ROWS: u32;
override COUNT: u32;
override LANES: u32;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let row = (group.y * groups.x + group.x) * LANES + lane;
  if (row > ROWS) { return; }
  var begin = 0u;
  var end = COUNT;
  while (begin < end) {
    let middle = (begin + end) / 2;
    if (items[middle].y < row) { begin = middle + 1; } else { end = middle; }
  }
  starts[row] = begin;
}
