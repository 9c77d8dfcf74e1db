// Cumulative sums along the lines of x (OUTER, N, INNER); EXCLUSIVE: without the element itself;
// REVERSE: from the end.

alias element = f32;

override OUTER: u32;
override N: u32;
override INNER: u32;
override EXCLUSIVE: bool;
override REVERSE: bool;
override LANES: u32;

@group(0) @binding(0) var<storage, read> x: array<element>;
@group(0) @binding(1) var<storage, read_write> out: array<element>;

// The index of element i of a line, in scan order.
fn element_index(line: u32, i: u32) -> u32 {
  return (line / INNER * N + select(i, N - 1 - i, REVERSE)) * INNER + line % INNER;
}

// Store an element of the result; returns the sum of the elements up to it.
fn accumulate(index: u32, sum: element) -> element {
  let next = sum + x[index];
  out[index] = select(next, sum, EXCLUSIVE);
  return next;
}
