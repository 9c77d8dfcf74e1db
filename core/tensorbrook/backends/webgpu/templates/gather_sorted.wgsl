// The first K of each row of N items: the numbers of `x` that they stand for, and their places.

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> items: array<vec2u>;
@group(0) @binding(2) var<storage, read_write> values: array<u32>;
@group(0) @binding(3) var<storage, read_write> places: array<u32>;

override ROWS: u32;
override N: u32;
override K: u32;
override LANES: u32;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let at = (group.y * groups.x + group.x) * LANES + lane;
  if (at >= ROWS * K) { return; }
  let row = at / K * N;
  let place = items[row + at % K].x;
  values[at] = x[row + place];
  places[at] = place;
}
