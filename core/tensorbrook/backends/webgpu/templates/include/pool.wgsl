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

// A cell or a window of a channel: which image, and where in it.
struct Place { image: u32, row: u32, column: u32, channel: u32 }

fn place_of(at: u32, height: u32, width: u32) -> Place {
  let line = at / C / width;
  return Place(line / height, line % height, at / C % width, at % C);
}

// Where a cell lies in x, or a window in the result, of the image and channel of a place.
fn cell_at(p: Place, row: u32, column: u32) -> u32 {
  return ((p.image * H + row) * W + column) * C + p.channel;
}

fn window_at(p: Place, row: u32, column: u32) -> u32 {
  return ((p.image * OH + row) * OW + column) * C + p.channel;
}

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
