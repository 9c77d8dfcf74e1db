// A step of a radix sort of items (ROWS, N) by digit DIGIT of their keys; rows are divided into
// CHUNKS chunks.

override ROWS: u32;
override N: u32;
override CHUNKS: u32;
override DIGIT: u32;
override BITS: u32;         // of a digit
const DIGITS = 1u << BITS;

// The begin of a chunk in its row: N * chunk / CHUNKS, without the overflow of the product.
fn chunk_begin(chunk: u32) -> u32 { return N / CHUNKS * chunk + N % CHUNKS * chunk / CHUNKS; }

fn digit_of(key: u32) -> u32 { return extractBits(key, BITS * DIGIT, BITS); }
