// The sum of the partial results of a split product: out[i] = the sum of partials[split, i]. A
// workgroup sums COLUMNS elements, with LANES_PER_ELEMENT lanes for each, which a fixed tree
// combines. CONTIGUOUS elements are in neighbouring lanes: with subgroups a memory sector, so that
// a subgroup has several lanes of each element.

alias element = f32;

override SPLIT_K: u32;
override COUNT: u32;
override WIDTH: u32;                     // columns of the result
override COLUMNS: u32;
override LANES_PER_ELEMENT: u32;         // a power of two
override CONTIGUOUS: u32;                // divides COLUMNS

@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<element>;

var<workgroup> sums: array<f32, LANES_PER_ELEMENT * COLUMNS>;

fn store(row: u32, column: u32, value: f32) { out[row * WIDTH + column] = element(value); }

@compute @workgroup_size(LANES_PER_ELEMENT * COLUMNS)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        // if SUBGROUPS
        @builtin(subgroup_size) subgroup_size: u32,
        // end
        @builtin(local_invocation_index) lane: u32) {
  let element_lane = lane / CONTIGUOUS % LANES_PER_ELEMENT;
  let column = lane / (CONTIGUOUS * LANES_PER_ELEMENT) * CONTIGUOUS + lane % CONTIGUOUS;
  let index = (block.y * blocks.x + block.x) * COLUMNS + column;
  var sum = 0.0;
  if (index < COUNT) {
    for (var split = element_lane; split < SPLIT_K; split += LANES_PER_ELEMENT) {
      sum += partials[split * COUNT + index];
    }
  }
  // if SUBGROUPS
  let width = min(subgroup_size, CONTIGUOUS * LANES_PER_ELEMENT);
  for (var d = CONTIGUOUS; d < width; d *= 2u) { sum += subgroupShuffleXor(sum, d); }
  let combined = max(width / CONTIGUOUS, 1u);
  if (combined < LANES_PER_ELEMENT) {
    sums[lane] = sum;
    workgroupBarrier();
    if (element_lane == 0u) {
      for (var k = combined; k < LANES_PER_ELEMENT; k += combined) {
        sum += sums[lane + k * CONTIGUOUS];
      }
    }
  }
  // else
  sums[lane] = sum;
  for (var half = LANES_PER_ELEMENT / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (element_lane < half) { sums[lane] += sums[lane + half * CONTIGUOUS]; }
  }
  sum = sums[lane];
  // end
  if (element_lane == 0u && index < COUNT) { store(index / WIDTH, index % WIDTH, sum); }
}
