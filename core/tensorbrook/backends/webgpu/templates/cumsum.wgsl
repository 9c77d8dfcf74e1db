// out[o, i, j] = the sum of data[o, 0..i, j], data (OUTER, N, INNER); if EXCLUSIVE without
// data[o, i, j] itself; if REVERSE from the end on. An invocation goes along one line.

// if FLOAT
alias Element = f32;
// else
alias Element = i32;
// end

@group(0) @binding(0) var<storage, read> data: array<Element>;
@group(0) @binding(1) var<storage, read_write> out: array<Element>;

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
  var sum = Element();
  for (var i = 0u; i < N; i++) {
    let at = (line / INNER * N + select(i, N - 1 - i, REVERSE)) * INNER + line % INNER;
    let next = sum + data[at];
    out[at] = select(next, sum, EXCLUSIVE);
    sum = next;
  }
}
