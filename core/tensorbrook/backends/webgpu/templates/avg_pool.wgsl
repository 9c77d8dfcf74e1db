// The mean of the cells of each window that lie inside of x; 0 if none does. One invocation an
// element of out.

alias element = f32;

override N: u32 = 1;
override H: u32 = 8;
override W: u32 = 8;
override C: u32 = 4;
override OH: u32 = 4;
override OW: u32 = 4;
override KH: u32 = 2;
override KW: u32 = 2;
override SH: u32 = 2;
override SW: u32 = 2;
override PT: u32 = 0;
override PL: u32 = 0;

const LANES = 64u;

@group(0) @binding(0) var<storage, read> x: array<element>;
@group(0) @binding(1) var<storage, read_write> out: array<element>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let at = (block.y * blocks.x + block.x) * LANES + lane;
  let channel = at % C;
  let line = at / C / OW;
  if (line >= N * OH) { return; }
  let top = i32(line % OH * SH) - i32(PT);
  let left = i32(at / C % OW * SW) - i32(PL);
  var sum = 0.0;
  var count = 0u;
  for (var i = max(top, 0); i < min(top + i32(KH), i32(H)); i++) {
    for (var j = max(left, 0); j < min(left + i32(KW), i32(W)); j++) {
      sum += f32(x[((line / OH * H + u32(i)) * W + u32(j)) * C + channel]);
      count++;
    }
  }
  out[at] = element(sum / f32(max(count, 1)));
}
