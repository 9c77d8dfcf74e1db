// out = 0, for kernels that have nothing to read.

alias element = u32;

@group(0) @binding(0) var<storage, read_write> out: array<element>;

override COUNT: u32 = 1;
const LANES: u32 = 256;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let at = (group.y * groups.x + group.x) * LANES + lane;
  if (at < COUNT) { out[at] = element(); }
}
