// The same as cumsum.wgsl for long lines: a workgroup takes BLOCK elements of a line. If SUMS it
// leaves their sum in out (OUTER * INNER, BLOCKS); else each element's sum, on top of that of all
// blocks before its own, which `before` (OUTER * INNER, BLOCKS) tells where there are MORE than
// one.

// include "include/scan_lines.wgsl"

// if SUMS
// else
// if MORE
@group(0) @binding(2) var<storage, read> before: array<element>;
// end
// end

override BLOCKS: u32;                       // of a line
override EACH: u32;                         // elements of a lane, one after the other
const BLOCK = LANES * EACH;

// include "include/workgroup_sum.wgsl"

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let unit = group.y * groups.x + group.x;
  if (unit >= OUTER * INNER * BLOCKS) { return; }
  let line = unit / BLOCKS;
  let begin = unit % BLOCKS * BLOCK + lane * EACH;
  let end = min(N, begin + EACH);
  var own = element();
  for (var i = begin; i < end; i++) { own += x[at(line, i)]; }
  // if SUMS
  own = lanes_sum(own, lane, 1u);
  if (lane == 0) { out[unit] = own; }
  // else
  sums[lane] = own;
  for (var reach = 1u; reach < LANES; reach *= 2) {
    workgroupBarrier();
    var more = element();
    if (lane >= reach) { more = sums[lane - reach]; }
    workgroupBarrier();
    sums[lane] += more;
  }
  workgroupBarrier();
  // Not sums[lane] - own, which would make NaN of infinities.
  var sum = element();
  if (lane > 0) { sum = sums[lane - 1]; }
  // if MORE
  sum += before[unit];
  // end
  for (var i = begin; i < end; i++) { sum = put(at(line, i), sum); }
  // end
}
