// Scatter-add of sorted updates, as in scatter_by_search.wgsl: one lane sums the updates of an
// element, in order. Rows of more than MAX_SHORT updates are left to scatter_sorted_long.wgsl.

// include "include/sorted_updates.wgsl"

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = (group.y * groups.x + group.x) * LANES + lane;
  if (index >= ROWS * INNER) { return; }
  let begin = starts[index / INNER];
  let end = starts[index / INNER + 1];
  if (end - begin > MAX_SHORT) { return; }
  var sum = element();
  for (var p = begin; p < end; p++) { sum += updates[items[p].x * INNER + index % INNER]; }
  out[index] = sum;
}
