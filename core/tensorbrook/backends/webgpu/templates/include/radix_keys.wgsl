// Sort keys of elements.

override FLOATING: bool;
override DESCENDING: bool;

// Bits whose unsigned order is the order of the elements: -0 equals 0, and NaN is above all others.
fn sort_key(bits: u32) -> u32 {
  var key = bits ^ 0x80000000u;
  if (FLOATING) {
    let magnitude = bits & 0x7fffffffu;
    if (bits != magnitude) { key = ~bits; }
    if (magnitude == 0) { key = 0x80000000u; }
    if (magnitude > 0x7f800000u) { key = 0xffffffffu; }
  }
  return select(key, ~key, DESCENDING);
}
