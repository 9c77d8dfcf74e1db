// The sum of PARTS matrices of COUNT elements: out[i] = the sum of pieces[part, i]. A
// workgroup adds up COLUMNS elements; LINES invocations share the parts of each, as a fixed tree.
// Those of BESIDE elements side by side are neighbours: with subgroups few, a sector of memory, so
// that a subgroup has several lines of each.

alias element = f32;

override PARTS: u32;
override COUNT: u32;
override WIDTH: u32;                     // of a matrix, in elements
override COLUMNS: u32;
override LINES: u32;                     // a power of two
override BESIDE: u32;                    // one that divides COLUMNS

@group(0) @binding(0) var<storage, read> pieces: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<element>;

var<workgroup> sums: array<f32, LINES * COLUMNS>;

fn put(row: u32, column: u32, value: f32) { out[row * WIDTH + column] = element(value); }

@compute @workgroup_size(LINES * COLUMNS)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        // if SUBGROUPS
        @builtin(subgroup_size) subgroup: u32,
        // end
        @builtin(local_invocation_index) lane: u32) {
  let line = lane / BESIDE % LINES;
  let column = lane / (BESIDE * LINES) * BESIDE + lane % BESIDE;
  let at = (block.y * blocks.x + block.x) * COLUMNS + column;
  var sum = 0.0;
  if (at < COUNT) {
    for (var part = line; part < PARTS; part += LINES) { sum += pieces[part * COUNT + at]; }
  }
  // if SUBGROUPS
  let width = min(subgroup, BESIDE * LINES);
  for (var d = BESIDE; d < width; d *= 2u) { sum += subgroupShuffleXor(sum, d); }
  let near = max(width / BESIDE, 1u);
  if (near < LINES) {
    sums[lane] = sum;
    workgroupBarrier();
    if (line == 0u) {
      for (var k = near; k < LINES; k += near) { sum += sums[lane + k * BESIDE]; }
    }
  }
  // else
  sums[lane] = sum;
  for (var half = LINES / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (line < half) { sums[lane] += sums[lane + half * BESIDE]; }
  }
  sum = sums[lane];
  // end
  if (line == 0u && at < COUNT) { put(at / WIDTH, at % WIDTH, sum); }
}
