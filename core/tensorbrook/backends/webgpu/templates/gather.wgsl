// Gather: out[o, i, :] = x[o, indices[i], :]; x is (OUTER, ROWS, INNER), out (OUTER, COUNT, INNER).
// An index out of bounds gives zeros. Elements are copied bit by bit.

alias element = u32;

@group(0) @binding(0) var<storage, read> x: array<element>;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<element>;

override OUTER: u32;
override ROWS: u32;
override COUNT: u32;
override INNER: u32;
override LANES: u32;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = (group.y * groups.x + group.x) * LANES + lane;
  if (index >= OUTER * COUNT * INNER) { return; }
  let o = index / (COUNT * INNER);
  // As unsigned, a negative index is larger than ROWS.
  let row = indices[index / INNER % COUNT];
  var value = element();
  if (row < ROWS) { value = x[(o * ROWS + row) * INNER + index % INNER]; }
  out[index] = value;
}
