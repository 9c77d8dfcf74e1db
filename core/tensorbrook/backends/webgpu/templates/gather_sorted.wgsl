// The first K of each row of N sorted items: the elements of `x` and their indices in the row.

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> items: array<vec2u>;
@group(0) @binding(2) var<storage, read_write> values: array<u32>;
@group(0) @binding(3) var<storage, read_write> indices: array<u32>;

override ROWS: u32;
override N: u32;
override K: u32;
override LANES: u32;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = (group.y * groups.x + group.x) * LANES + lane;
  if (index >= ROWS * K) { return; }
  let row_begin = index / K * N;
  let in_row = items[row_begin + index % K].x;
  values[index] = x[row_begin + in_row];
  indices[index] = in_row;
}
