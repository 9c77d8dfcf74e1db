// Sorting along rows: rows that fit into a thread's memory, long rows in passes that all threads
// share, and the first k of a row.
//
// Everything sorts items: 64 bits, the key above and the place in the row below. No two are equal,
// and so an order of items is a stable order of keys.

#include "engine.h"
#include "simd.h"

typedef uint64_t item_t;

// Bits whose unsigned order is that of the numbers: -0 is 0, and NaN lies above all others.
INLINE uint32_t key_of(int bits, int floating, int descending) {
  uint32_t key = (uint32_t)bits ^ 0x80000000u;
  if (floating) {
    uint32_t size = (uint32_t)bits & 0x7fffffffu;
    key = bits < 0 ? ~(uint32_t)bits : key;
    key = size == 0 ? 0x80000000u : size > 0x7f800000u ? 0xffffffffu : key;
  }
  return descending ? ~key : key;
}

INLINE item_t item_of(uint32_t key, uint32_t place) { return (item_t)key << 32 | place; }

// -- references -------------------------------------------------------------------------------

// Whether element i comes before element j of a row.
static int comes_before(const int *x, int i, int j, int floating, int descending) {
  uint32_t a = key_of(x[i], floating, descending), b = key_of(x[j], floating, descending);
  return a < b || (a == b && i < j);
}

// The place of each element is the number of those before it.
static void place_by_counting(const int *x, int *values, int *indices, int n, int k, int floating,
                              int descending) {
  for (int i = 0; i < n; i++) {
    int at = 0;
    for (int j = 0; j < n; j++) at += comes_before(x, j, i, floating, descending);
    if (at < k) values[at] = x[i], indices[at] = i;
  }
}

void sort_ref(const int *x, int *values, int *indices, int rows, int n, int floating,
              int descending, int thread, int threads) {
  for (int r = share(rows, thread, threads); r < share(rows, thread + 1, threads); r++)
    place_by_counting(x + r * n, values + r * n, indices + r * n, n, n, floating, descending);
}

void top_k_ref(const int *x, int *values, int *indices, int rows, int n, int k, int floating,
               int thread, int threads) {
  for (int r = share(rows, thread, threads); r < share(rows, thread + 1, threads); r++)
    place_by_counting(x + r * n, values + r * k, indices + r * k, n, k, floating, 1);
}

void sort_items_ref(const int *x, item_t *items, int rows, int n, int floating, int descending,
                    int thread, int threads) {
  for (int i = share((int64_t)rows * n, thread, threads);
       i < share((int64_t)rows * n, thread + 1, threads); i++)
    items[i] = item_of(key_of(x[i], floating, descending), (uint32_t)(i % n));
}

enum { DIGITS = 256 };

INLINE int digit_of(item_t item, int digit) { return (int)(item >> (32 + 8 * digit)) & 255; }

void sort_count_ref(const item_t *items, int *counts, int rows, int n, int parts, int digit,
                    int thread, int threads) {
  for (int u = share(rows * parts, thread, threads); u < share(rows * parts, thread + 1, threads);
       u++) {
    const item_t *row = items + u / parts * n;
    for (int d = 0; d < DIGITS; d++) {
      counts[u * DIGITS + d] = 0;
      for (int i = share(n, u % parts, parts); i < share(n, u % parts + 1, parts); i++)
        counts[u * DIGITS + d] += digit_of(row[i], digit) == d;
    }
  }
}

void sort_place_ref(const item_t *items, const int *counts, item_t *out, int rows, int n,
                    int parts, int digit, int thread, int threads) {
  (void)counts, (void)parts;
  for (int r = share(rows, thread, threads); r < share(rows, thread + 1, threads); r++) {
    item_t *to = out + r * n;
    for (int d = 0; d < DIGITS; d++)
      for (int i = 0; i < n; i++)
        if (digit_of(items[r * n + i], digit) == d) *to++ = items[r * n + i];
  }
}

// -- rows that fit into a thread's memory -----------------------------------------------------

// Rows of up to this length are sorted by insertion: 0.49 us for 40 floats, by digits 0.47; for 32
// 0.36 and 0.44, for 64 0.98 and 0.61 (wasmtime, random floats, 2026-11).
enum { FEW = 40 };

INLINE void make_items(const int *x, item_t *items, int n, int floating, int descending) {
  for (int i = 0; i < n; i++)
    items[i] = item_of(key_of(x[i], floating, descending), (uint32_t)i);
}

static void fill_items(const int *x, item_t *items, int n, int floating, int descending) {
  if (floating)
    make_items(x, items, n, 1, descending);
  else
    make_items(x, items, n, 0, descending);
}

static void sort_few(item_t *items, int n) {
  for (int i = 1; i < n; i++) {
    item_t item = items[i];
    int j = i;
    for (; j > 0 && items[j - 1] > item; j--) items[j] = items[j - 1];
    items[j] = item;
  }
}

// By one digit after the other, the lowest first; returns where the sorted items are.
static item_t *sort_many(item_t *items, item_t *spare, int n) {
  int counts[4][DIGITS] = {{0}};
  for (int i = 0; i < n; i++) {
    uint32_t key = (uint32_t)(items[i] >> 32);
    counts[0][key & 255]++, counts[1][key >> 8 & 255]++;
    counts[2][key >> 16 & 255]++, counts[3][key >> 24]++;
  }
  for (int digit = 0; digit < 4; digit++) {
    int *at = counts[digit];
    if (at[digit_of(items[0], digit)] == n) continue;  // the same digit throughout
    for (int d = 0, sum = 0; d < DIGITS; d++) {
      int count = at[d];
      at[d] = sum, sum += count;
    }
    for (int i = 0; i < n; i++) spare[at[digit_of(items[i], digit)]++] = items[i];
    item_t *sorted = spare;
    spare = items, items = sorted;
  }
  return items;
}

void sort(const int *x, int *values, int *indices, int rows, int n, int floating, int descending,
          int thread, int threads) {
  item_t *space = (item_t *)scratch(thread);
  for (int r = share(rows, thread, threads); r < share(rows, thread + 1, threads); r++) {
    const int *row = x + r * n;
    const item_t *items = space;
    fill_items(row, space, n, floating, descending);
    if (n <= FEW)
      sort_few(space, n);
    else
      items = sort_many(space, space + n, n);
    for (int i = 0; i < n; i++) {
      int from = (int)items[i];
      indices[r * n + i] = from, values[r * n + i] = row[from];
    }
  }
}

// -- long rows, one digit at a time -----------------------------------------------------------

void sort_items(const int *x, item_t *items, int rows, int n, int floating, int descending,
                int thread, int threads) {
  int end = share((int64_t)rows * n, thread + 1, threads);
  for (int i = share((int64_t)rows * n, thread, threads); i < end;) {
    int place = i % n, count = smaller(n - place, end - i);
    for (int j = 0; j < count; j++)
      items[i + j] = item_of(key_of(x[i + j], floating, descending), (uint32_t)(place + j));
    i += count;
  }
}

void sort_count(const item_t *items, int *counts, int rows, int n, int parts, int digit,
                int thread, int threads) {
  int end = share(rows * parts, thread + 1, threads);
  for (int u = share(rows * parts, thread, threads); u < end; u++) {
    // Two counts, so that equal neighbours need not wait for each other.
    int even[DIGITS] = {0}, odd[DIGITS] = {0};
    const item_t *row = items + u / parts * n;
    int i = share(n, u % parts, parts), last = share(n, u % parts + 1, parts);
    for (; i + 2 <= last; i += 2)
      even[digit_of(row[i], digit)]++, odd[digit_of(row[i + 1], digit)]++;
    if (i < last) even[digit_of(row[i], digit)]++;
    for (int d = 0; d < DIGITS; d++) counts[u * DIGITS + d] = even[d] + odd[d];
  }
}

// Where the items of one part with each digit go: after all lower digits, and after those of the
// parts before it.
static void first_places(const int *counts, int *at, int parts, int part) {
  int all[DIGITS] = {0};
  for (int d = 0; d < DIGITS; d++) at[d] = 0;
  for (int p = 0; p < parts; p++)
    for (int d = 0; d < DIGITS; d++) {
      int count = counts[p * DIGITS + d];
      all[d] += count, at[d] += p < part ? count : 0;
    }
  for (int d = 0, sum = 0; d < DIGITS; d++) at[d] += sum, sum += all[d];
}

void sort_place(const item_t *items, const int *counts, item_t *out, int rows, int n, int parts,
                int digit, int thread, int threads) {
  int end = share(rows * parts, thread + 1, threads);
  for (int u = share(rows * parts, thread, threads); u < end; u++) {
    int r = u / parts, part = u % parts, at[DIGITS];
    first_places(counts + r * parts * DIGITS, at, parts, part);
    const item_t *row = items + r * n;
    item_t *to = out + r * n;
    int last = share(n, part + 1, parts);
    for (int i = share(n, part, parts); i < last; i++) to[at[digit_of(row[i], digit)]++] = row[i];
  }
}

// -- the first k of a row ---------------------------------------------------------------------

// A heap: no item is above those it leads to, 2i + 1 and 2i + 2; so the first is the lowest.
static void sink(item_t *heap, int k, int i, item_t item) {
  for (;;) {
    int next = 2 * i + 1;
    if (next >= k) break;
    next += next + 1 < k && heap[next + 1] < heap[next];
    if (item <= heap[next]) break;
    heap[i] = heap[next], i = next;
  }
  heap[i] = item;
}

// Of equal keys the first place is the highest item.
INLINE item_t ranked(const int *x, int i, int floating) {
  return item_of(key_of(x[i], floating, 0), ~(uint32_t)i);
}

INLINE int place_of(item_t item) { return (int)~(uint32_t)item; }

// A bit for each of four numbers that are above t: floats that are not at most t, as NaN is above.
INLINE uint32_t above(const int *x, v128_t t, int floating) {
  v128_t v = wasm_v128_load(x);
  return wasm_i32x4_bitmask(floating ? wasm_v128_not(wasm_f32x4_le(v, t)) : wasm_i32x4_gt(v, t));
}

INLINE void keep_highest(const int *x, item_t *heap, int n, int k, int floating) {
  for (int i = 0; i < k; i++) heap[i] = ranked(x, i, floating);
  for (int i = k / 2 - 1; i >= 0; i--) sink(heap, k, i, heap[i]);
  v128_t lowest = wasm_i32x4_splat(x[place_of(heap[0])]);
  int i = k;
  for (; i + 16 <= n; i += 16) {
    uint32_t found = 0;
    for (int j = 0; j < 4; j++) found |= above(x + i + 4 * j, lowest, floating) << 4 * j;
    if (found == 0) continue;
    for (; found; found &= found - 1) {
      item_t item = ranked(x, i + __builtin_ctz(found), floating);
      if (item > heap[0]) sink(heap, k, 0, item);
    }
    lowest = wasm_i32x4_splat(x[place_of(heap[0])]);
  }
  for (; i < n; i++)
    if (ranked(x, i, floating) > heap[0]) sink(heap, k, 0, ranked(x, i, floating));
}

void top_k(const int *x, int *values, int *indices, int rows, int n, int k, int floating,
           int thread, int threads) {
  item_t *heap = (item_t *)scratch(thread);
  if (k == 0) return;
  for (int r = share(rows, thread, threads); r < share(rows, thread + 1, threads); r++) {
    const int *row = x + r * n;
    if (floating)
      keep_highest(row, heap, n, k, 1);
    else
      keep_highest(row, heap, n, k, 0);
    for (int left = k; left > 0; left--) {
      int from = place_of(heap[0]);
      indices[r * k + left - 1] = from, values[r * k + left - 1] = row[from];
      sink(heap, left - 1, 0, heap[left - 1]);
    }
  }
}
