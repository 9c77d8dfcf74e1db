// out = 0, for kernels that have nothing to read.

// if F16
enable f16;
alias Element = f16;
// else
alias Element = u32;
// end

@group(0) @binding(0) var<storage, read_write> out: array<Element>;

override COUNT: u32 = 1;
const LANES: u32 = 256;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let at = (group.y * groups.x + group.x) * LANES + lane;
  if (at < COUNT) { out[at] = Element(); }
}
