// The sizes of a convolution. x is the image and the other side is the result, or the gradient of
// the result; or x is the gradient of the result and the other side is the gradient of the image.

override N: u32;
// rows of x, columns of x, channels of x in a group
override IN_Y: u32;
override IN_X: u32;
override CHANNELS: u32;
// the same of the other side
override OUT_Y: u32;
override OUT_X: u32;
override COLUMNS: u32;
override GROUPS: u32;
override TAPS_Y: u32;
override TAPS_X: u32;
override STRIDE_Y: u32;
override STRIDE_X: u32;
override DILATION_Y: u32;
override DILATION_X: u32;
override PADDING_Y: u32;
override PADDING_X: u32;

const IN_C = CHANNELS * GROUPS;
const OUT_C = COLUMNS * GROUPS;
