// Cumulative sum of long lines: a workgroup scans a block of BLOCK elements of a line.
// ONLY_BLOCK_SUMS stores the sum of each block in out (OUTER * INNER, BLOCKS). Otherwise out is the
// result, for which ADD_BLOCK_SUMS adds earlier_sums (OUTER * INNER, BLOCKS), the sums of all
// earlier blocks, if there are several blocks.

// include "include/scan_lines.wgsl"

// if ONLY_BLOCK_SUMS
// else
// if ADD_BLOCK_SUMS
@group(0) @binding(2) var<storage, read> earlier_sums: array<element>;
// end
// end

override BLOCKS: u32;                       // of a line
override ELEMENTS_PER_LANE: u32;            // consecutive elements
const BLOCK = LANES * ELEMENTS_PER_LANE;

// include "include/workgroup_sum.wgsl"

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let block = group.y * groups.x + group.x;
  if (block >= OUTER * INNER * BLOCKS) { return; }
  let line = block / BLOCKS;
  let begin = block % BLOCKS * BLOCK + lane * ELEMENTS_PER_LANE;
  let end = min(N, begin + ELEMENTS_PER_LANE);
  var lane_sum = element();
  for (var i = begin; i < end; i++) { lane_sum += x[element_index(line, i)]; }
  // if ONLY_BLOCK_SUMS
  lane_sum = workgroup_sum(lane_sum, lane, 1u);
  if (lane == 0) { out[block] = lane_sum; }
  // else
  sums[lane] = lane_sum;
  for (var distance = 1u; distance < LANES; distance *= 2) {
    workgroupBarrier();
    var earlier = element();
    if (lane >= distance) { earlier = sums[lane - distance]; }
    workgroupBarrier();
    sums[lane] += earlier;
  }
  workgroupBarrier();
  // Not sums[lane] - lane_sum, which is NaN for infinities.
  var sum = element();
  if (lane > 0) { sum = sums[lane - 1]; }
  // if ADD_BLOCK_SUMS
  sum += earlier_sums[block];
  // end
  for (var i = begin; i < end; i++) { sum = accumulate(element_index(line, i), sum); }
  // end
}
