// Zero fill, for kernels without input elements.

alias element = u32;

override COUNT: u32;
override WIDTH: u32;
override LANES: u32;

@group(0) @binding(0) var<storage, read_write> out: array<element>;

fn store(row: u32, column: u32, value: f32) { out[row * WIDTH + column] = element(value); }

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = (group.y * groups.x + group.x) * LANES + lane;
  if (index < COUNT) { store(index / WIDTH, index % WIDTH, 0.0); }
}
