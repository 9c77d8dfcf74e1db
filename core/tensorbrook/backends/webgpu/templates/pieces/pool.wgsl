// The sizes of a pool, from the cells of x to windows, and which of them meet.

alias element = f32;

override N: u32;
override H: u32;
override W: u32;
override C: u32;
override OH: u32;
override OW: u32;
override KH: u32;
override KW: u32;
override SH: u32;
override SW: u32;
override PT: u32;
override PL: u32;
override LANES: u32;

// What lies from `begin` up to `end` along an axis, without `end`.
struct Span { begin: u32, end: u32 }

// The cells of a window, among `count` of them.
fn cells_of(window: u32, size: u32, stride: u32, padding: u32, count: u32) -> Span {
  let begin = max(window * stride, padding);             // with the padding counted, too
  let end = min(window * stride + size, count + padding);
  return Span(begin - padding, max(begin, end) - padding);
}

// The windows that a cell is in, among `count` of them.
fn windows_of(cell: u32, size: u32, stride: u32, padding: u32, count: u32) -> Span {
  let at = cell + padding;
  let begin = select(0u, (at - size) / stride + 1, at >= size);
  return Span(begin, min(at / stride + 1, count));
}
