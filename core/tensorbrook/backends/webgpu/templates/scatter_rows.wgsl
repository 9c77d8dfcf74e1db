// The same as scatter_add.wgsl where `items` are the i in the order of their indices: row r has those
// from starts[r] up to starts[r + 1], and its elements add them up one after the other. Rows of more
// than LONG are left to scatter_long.wgsl.

alias element = f32;

@group(0) @binding(0) var<storage, read> updates: array<element>;
@group(0) @binding(1) var<storage, read> items: array<vec2u>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<element>;

override ROWS: u32 = 1;
override INNER: u32 = 1;
override LONG: u32 = 64;
const LANES: u32 = 256;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let at = (group.y * groups.x + group.x) * LANES + lane;
  if (at >= ROWS * INNER) { return; }
  let begin = starts[at / INNER];
  let end = starts[at / INNER + 1];
  if (end - begin > LONG) { return; }
  var sum = element();
  for (var p = begin; p < end; p++) { sum += updates[items[p].x * INNER + at % INNER]; }
  out[at] = sum;
}
