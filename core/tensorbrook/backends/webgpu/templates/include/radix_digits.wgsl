// A pass over items (ROWS, N) by digit number DIGIT of their keys: rows are cut into PARTS.

override ROWS: u32;
override N: u32;
override PARTS: u32;
override DIGIT: u32;
override BITS: u32;         // of a digit
const DIGITS = 1u << BITS;

// Where a part of a row begins: N * part / PARTS, without its overflow.
fn begin_of(part: u32) -> u32 { return N / PARTS * part + N % PARTS * part / PARTS; }

fn digit_of(key: u32) -> u32 { return extractBits(key, BITS * DIGIT, BITS); }
