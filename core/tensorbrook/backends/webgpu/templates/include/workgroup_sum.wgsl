// Sums of what the lanes of a workgroup have, in a fixed tree.

var<workgroup> sums: array<element, LANES>;

// For each of the first `apart` lanes, the sum of its own and what all lanes have that stand a
// multiple of `apart`, a power of two, behind it.
fn lanes_sum(own: element, lane: u32, apart: u32) -> element {
  sums[lane] = own;
  for (var half = LANES / 2; half >= apart; half /= 2) {
    workgroupBarrier();
    if (lane < half) { sums[lane] += sums[lane + half]; }
  }
  return sums[lane];
}
