// The sizes of a pool, and which pixels of x are in which windows.

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

// The coordinates of a pixel or a window.
struct Coordinates { image: u32, row: u32, column: u32, channel: u32 }

fn coordinates_of(index: u32, height: u32, width: u32) -> Coordinates {
  let line = index / C / width;
  return Coordinates(line / height, line % height, index / C % width, index % C);
}

// The index of a pixel in x, or of a window in the result, in the image and the channel of p.
fn pixel_index(p: Coordinates, row: u32, column: u32) -> u32 {
  return ((p.image * H + row) * W + column) * C + p.channel;
}

fn window_index(p: Coordinates, row: u32, column: u32) -> u32 {
  return ((p.image * OH + row) * OW + column) * C + p.channel;
}

// The half-open interval from `begin` to `end` along an axis.
struct Interval { begin: u32, end: u32 }

// The pixels of a window, among `count`.
fn pixels_of(window: u32, size: u32, stride: u32, padding: u32, count: u32) -> Interval {
  let begin = max(window * stride, padding);             // in padded coordinates
  let end = min(window * stride + size, count + padding);
  return Interval(begin - padding, max(begin, end) - padding);
}

// The windows that contain a pixel, among `count`.
fn windows_of(pixel: u32, size: u32, stride: u32, padding: u32, count: u32) -> Interval {
  let padded = pixel + padding;
  let begin = select(0u, (padded - size) / stride + 1, padded >= size);
  return Interval(begin, min(padded / stride + 1, count));
}
