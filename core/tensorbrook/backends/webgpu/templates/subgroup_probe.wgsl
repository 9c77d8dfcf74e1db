// Whether invocations whose numbers are neighbours share a subgroup, as kernels that shuffle take
// it: places[i] is the size of invocation i's, or 0 where another is where it was looked for.

@group(0) @binding(0) var<storage, read_write> places: array<u32>;

override LANES: u32;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(subgroup_size) subgroup: u32) {
  var right = true;
  for (var d = 1u; d < min(subgroup, LANES); d *= 2u) {
    let found = subgroupShuffleXor(lane, d);
    right = right && found == (lane ^ d);
  }
  places[lane] = select(0u, subgroup, right);
}
