// The same as scatter_add.wgsl where `items` are the i in the order of their indices: the elements
// of a row add them up one after the other. Rows of more than LONG are left to scatter_long.wgsl.

// include "include/sorted_updates.wgsl"

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
