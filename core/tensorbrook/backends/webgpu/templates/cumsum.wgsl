// out[o, i, j] = the sum of x[o, 0..i, j], x (OUTER, N, INNER); if EXCLUSIVE without
// x[o, i, j] itself; if REVERSE from the end on. An invocation goes along one line.

alias element = f32;

@group(0) @binding(0) var<storage, read> x: array<element>;
@group(0) @binding(1) var<storage, read_write> out: array<element>;

override OUTER: u32 = 1;
override N: u32 = 1;
override INNER: u32 = 1;
override EXCLUSIVE: bool = false;
override REVERSE: bool = false;
const LANES: u32 = 64;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let line = (group.y * groups.x + group.x) * LANES + lane;
  if (line >= OUTER * INNER) { return; }
  var sum = element();
  for (var i = 0u; i < N; i++) {
    let at = (line / INNER * N + select(i, N - 1 - i, REVERSE)) * INNER + line % INNER;
    let next = sum + x[at];
    out[at] = select(next, sum, EXCLUSIVE);
    sum = next;
  }
}
