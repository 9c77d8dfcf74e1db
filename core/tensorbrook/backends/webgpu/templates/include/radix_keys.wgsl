// How numbers become keys.

override FLOATING: bool;
override DESCENDING: bool;

// Bits whose unsigned order is that of the numbers: -0 is 0, and NaN lies above all others.
fn key_of(bits: u32) -> u32 {
  var key = bits ^ 0x80000000u;
  if (FLOATING) {
    let size = bits & 0x7fffffffu;
    if (bits != size) { key = ~bits; }
    if (size == 0) { key = 0x80000000u; }
    if (size > 0x7f800000u) { key = 0xffffffffu; }
  }
  return select(key, ~key, DESCENDING);
}
