// Sums along the lines of x (OUTER, N, INNER); if EXCLUSIVE without the element itself; if REVERSE
// from the end on.

alias element = f32;

override OUTER: u32;
override N: u32;
override INNER: u32;
override EXCLUSIVE: bool;
override REVERSE: bool;
override LANES: u32;

@group(0) @binding(0) var<storage, read> x: array<element>;
@group(0) @binding(1) var<storage, read_write> out: array<element>;

// Where the i-th element on the way along a line lies.
fn at(line: u32, i: u32) -> u32 {
  return (line / INNER * N + select(i, N - 1 - i, REVERSE)) * INNER + line % INNER;
}

// Leave an element of the result, and give the sum that the next one begins with.
fn put(place: u32, sum: element) -> element {
  let next = sum + x[place];
  out[place] = select(next, sum, EXCLUSIVE);
  return next;
}
