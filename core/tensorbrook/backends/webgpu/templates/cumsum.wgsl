// Cumulative sum: out[o, i, j] = the sum of x[o, 0..i, j]. One invocation per line.

// include "include/scan_lines.wgsl"

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let line = (group.y * groups.x + group.x) * LANES + lane;
  if (line >= OUTER * INNER) { return; }
  var sum = element();
  for (var i = 0u; i < N; i++) { sum = accumulate(element_index(line, i), sum); }
}
