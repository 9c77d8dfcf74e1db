// Stable sort along rows: short rows in the scratch of one thread, long rows in passes of a radix
// sort on all threads; and top-k.
//
// All of them order 64-bit items: a sort key in the upper half, the index in the row in the lower
// half. No two items of a row are equal, so any order of the items is a stable order of the keys.

#include "engine.h"
#include "simd.h"

typedef uint64_t key_index_t;

// Unsigned keys in the order of the values: -0 equals 0, and NaN is greater than all other values.
INLINE uint32_t sort_key(int bits, int floating, int descending) {
  uint32_t key = (uint32_t)bits ^ 0x80000000u;
  if (floating) {
    uint32_t magnitude = (uint32_t)bits & 0x7fffffffu;
    key = bits < 0 ? ~(uint32_t)bits : key;
    key = magnitude == 0 ? 0x80000000u : magnitude > 0x7f800000u ? 0xffffffffu : key;
  }
  return descending ? ~key : key;
}

INLINE key_index_t make_item(uint32_t key, uint32_t index) {
  return (key_index_t)key << 32 | index;
}

// -- references -------------------------------------------------------------------------------

// Whether element i comes before element j of a row.
static int comes_before(const int *x, int i, int j, int floating, int descending) {
  uint32_t a = sort_key(x[i], floating, descending), b = sort_key(x[j], floating, descending);
  return a < b || (a == b && i < j);
}

// The position of each element is the number of elements that come before it.
static void sort_by_counting(const int *x, int *values, int *indices, int n, int k, int floating,
                             int descending) {
  for (int i = 0; i < n; i++) {
    int position = 0;
    for (int j = 0; j < n; j++) position += comes_before(x, j, i, floating, descending);
    if (position < k) values[position] = x[i], indices[position] = i;
  }
}

void sort_reference(const int *x, int *values, int *indices, int rows, int n, int floating,
                    int descending, int thread, int threads) {
  int end = partition_begin(rows, thread + 1, threads);
  for (int r = partition_begin(rows, thread, threads); r < end; r++)
    sort_by_counting(x + r * n, values + r * n, indices + r * n, n, n, floating, descending);
}

void top_k_reference(const int *x, int *values, int *indices, int rows, int n, int k, int floating,
                     int thread, int threads) {
  int end = partition_begin(rows, thread + 1, threads);
  for (int r = partition_begin(rows, thread, threads); r < end; r++)
    sort_by_counting(x + r * n, values + r * k, indices + r * k, n, k, floating, 1);
}

void radix_keys_reference(const int *x, key_index_t *items, int rows, int n, int floating,
                          int descending, int thread, int threads) {
  for (int i = partition_begin((int64_t)rows * n, thread, threads);
       i < partition_begin((int64_t)rows * n, thread + 1, threads); i++)
    items[i] = make_item(sort_key(x[i], floating, descending), (uint32_t)(i % n));
}

enum { RADIX = 256 };

INLINE int digit_of(key_index_t item, int digit) { return (int)(item >> (32 + 8 * digit)) & 255; }

void radix_histogram_reference(const key_index_t *items, int *counts, int rows, int n, int chunks,
                               int digit, int thread, int threads) {
  for (int u = partition_begin(rows * chunks, thread, threads);
       u < partition_begin(rows * chunks, thread + 1, threads); u++) {
    const key_index_t *row = items + u / chunks * n;
    for (int d = 0; d < RADIX; d++) {
      counts[u * RADIX + d] = 0;
      for (int i = partition_begin(n, u % chunks, chunks);
           i < partition_begin(n, u % chunks + 1, chunks); i++)
        counts[u * RADIX + d] += digit_of(row[i], digit) == d;
    }
  }
}

void radix_scatter_reference(const key_index_t *items, const int *counts, key_index_t *out,
                             int rows, int n, int chunks, int digit, int thread, int threads) {
  (void)counts, (void)chunks;
  int end = partition_begin(rows, thread + 1, threads);
  for (int r = partition_begin(rows, thread, threads); r < end; r++) {
    key_index_t *next = out + r * n;
    for (int d = 0; d < RADIX; d++)
      for (int i = 0; i < n; i++)
        if (digit_of(items[r * n + i], digit) == d) *next++ = items[r * n + i];
  }
}

// -- short rows: sort in the scratch of one thread --------------------------------------------

// Rows up to this length are sorted by insertion. Insertion and radix sort take 0.36 and 0.44 us
// for 32 floats, 0.49 and 0.47 us for 40, 0.98 and 0.61 us for 64 (random floats, wasmtime,
// 2026-11).
enum { INSERTION_SORT_MAX = 40 };

INLINE void make_items_inline(const int *x, key_index_t *items, int n, int floating,
                              int descending) {
  for (int i = 0; i < n; i++)
    items[i] = make_item(sort_key(x[i], floating, descending), (uint32_t)i);
}

static void make_items(const int *x, key_index_t *items, int n, int floating, int descending) {
  if (floating)
    make_items_inline(x, items, n, 1, descending);
  else
    make_items_inline(x, items, n, 0, descending);
}

static void insertion_sort(key_index_t *items, int n) {
  for (int i = 1; i < n; i++) {
    key_index_t item = items[i];
    int j = i;
    for (; j > 0 && items[j - 1] > item; j--) items[j] = items[j - 1];
    items[j] = item;
  }
}

// LSD radix sort; returns the buffer that contains the sorted items, `items` or `spare`.
static key_index_t *radix_sort(key_index_t *items, key_index_t *spare, int n) {
  int counts[4][RADIX] = {{0}};
  for (int i = 0; i < n; i++) {
    uint32_t key = (uint32_t)(items[i] >> 32);
    counts[0][key & 255]++, counts[1][key >> 8 & 255]++;
    counts[2][key >> 16 & 255]++, counts[3][key >> 24]++;
  }
  for (int digit = 0; digit < 4; digit++) {
    int *offsets = counts[digit];
    if (offsets[digit_of(items[0], digit)] == n) continue;  // all items have the same digit
    for (int d = 0, sum = 0; d < RADIX; d++) {
      int count = offsets[d];
      offsets[d] = sum, sum += count;
    }
    for (int i = 0; i < n; i++) spare[offsets[digit_of(items[i], digit)]++] = items[i];
    key_index_t *sorted = spare;
    spare = items, items = sorted;
  }
  return items;
}

void sort(const int *x, int *values, int *indices, int rows, int n, int floating, int descending,
          int thread, int threads) {
  key_index_t *buffer = (key_index_t *)scratch(thread);
  int end = partition_begin(rows, thread + 1, threads);
  for (int r = partition_begin(rows, thread, threads); r < end; r++) {
    const int *row = x + r * n;
    const key_index_t *items = buffer;
    make_items(row, buffer, n, floating, descending);
    if (n <= INSERTION_SORT_MAX)
      insertion_sort(buffer, n);
    else
      items = radix_sort(buffer, buffer + n, n);
    for (int i = 0; i < n; i++) {
      int index = (int)items[i];
      indices[r * n + i] = index, values[r * n + i] = row[index];
    }
  }
}

// -- long rows: one pass for each digit --------------------------------------------------------

void radix_keys(const int *x, key_index_t *items, int rows, int n, int floating, int descending,
                int thread, int threads) {
  int end = partition_begin((int64_t)rows * n, thread + 1, threads);
  for (int i = partition_begin((int64_t)rows * n, thread, threads); i < end;) {
    int index = i % n, count = min_int(n - index, end - i);
    for (int j = 0; j < count; j++)
      items[i + j] = make_item(sort_key(x[i + j], floating, descending), (uint32_t)(index + j));
    i += count;
  }
}

void radix_histogram(const key_index_t *items, int *counts, int rows, int n, int chunks, int digit,
                     int thread, int threads) {
  int end = partition_begin(rows * chunks, thread + 1, threads);
  for (int u = partition_begin(rows * chunks, thread, threads); u < end; u++) {
    // Two histograms, so that increments for equal neighbours do not depend on each other.
    int even[RADIX] = {0}, odd[RADIX] = {0};
    const key_index_t *row = items + u / chunks * n;
    int i = partition_begin(n, u % chunks, chunks);
    int last = partition_begin(n, u % chunks + 1, chunks);
    for (; i + 2 <= last; i += 2)
      even[digit_of(row[i], digit)]++, odd[digit_of(row[i + 1], digit)]++;
    if (i < last) even[digit_of(row[i], digit)]++;
    for (int d = 0; d < RADIX; d++) counts[u * RADIX + d] = even[d] + odd[d];
  }
}

// Offsets in the sorted row of a chunk's items with each digit: after the items of all lower
// digits, and after the items of the same digit of the chunks before it.
static void chunk_offsets(const int *counts, int *offsets, int chunks, int chunk) {
  int totals[RADIX] = {0};
  for (int d = 0; d < RADIX; d++) offsets[d] = 0;
  for (int c = 0; c < chunks; c++)
    for (int d = 0; d < RADIX; d++) {
      int count = counts[c * RADIX + d];
      totals[d] += count, offsets[d] += c < chunk ? count : 0;
    }
  for (int d = 0, sum = 0; d < RADIX; d++) offsets[d] += sum, sum += totals[d];
}

void radix_scatter(const key_index_t *items, const int *counts, key_index_t *out, int rows, int n,
                   int chunks, int digit, int thread, int threads) {
  int end = partition_begin(rows * chunks, thread + 1, threads);
  for (int u = partition_begin(rows * chunks, thread, threads); u < end; u++) {
    int r = u / chunks, chunk = u % chunks, offsets[RADIX];
    chunk_offsets(counts + r * chunks * RADIX, offsets, chunks, chunk);
    const key_index_t *row = items + r * n;
    key_index_t *sorted = out + r * n;
    int last = partition_begin(n, chunk + 1, chunks);
    for (int i = partition_begin(n, chunk, chunks); i < last; i++)
      sorted[offsets[digit_of(row[i], digit)]++] = row[i];
  }
}

// -- top-k: the k greatest items of a row in a min-heap ----------------------------------------

// Insert `item` at or below position i, so that no item is greater than its children 2i + 1 and
// 2i + 2; heap[0] is the least item.
static void sift_down(key_index_t *heap, int k, int i, key_index_t item) {
  for (;;) {
    int child = 2 * i + 1;
    if (child >= k) break;
    child += child + 1 < k && heap[child + 1] < heap[child];
    if (item <= heap[child]) break;
    heap[i] = heap[child], i = child;
  }
  heap[i] = item;
}

// An item whose index is inverted: among equal keys, the first index is the greatest item.
INLINE key_index_t ranked(const int *x, int i, int floating) {
  return make_item(sort_key(x[i], floating, 0), ~(uint32_t)i);
}

INLINE int index_of(key_index_t ranked_item) { return (int)~(uint32_t)ranked_item; }

// A bit mask of the values among four that are greater than the threshold; floats are compared by
// "not less or equal", because NaN is greater.
INLINE uint32_t greater(const int *x, v128_t threshold, int floating) {
  v128_t v = wasm_v128_load(x);
  return wasm_i32x4_bitmask(floating ? wasm_v128_not(wasm_f32x4_le(v, threshold))
                                     : wasm_i32x4_gt(v, threshold));
}

INLINE void select_greatest(const int *x, key_index_t *heap, int n, int k, int floating) {
  for (int i = 0; i < k; i++) heap[i] = ranked(x, i, floating);
  for (int i = k / 2 - 1; i >= 0; i--) sift_down(heap, k, i, heap[i]);
  v128_t least = wasm_i32x4_splat(x[index_of(heap[0])]);
  int i = k;
  for (; i + 16 <= n; i += 16) {
    uint32_t candidates = 0;
    for (int j = 0; j < 4; j++) candidates |= greater(x + i + 4 * j, least, floating) << 4 * j;
    if (candidates == 0) continue;
    for (; candidates; candidates &= candidates - 1) {
      key_index_t item = ranked(x, i + __builtin_ctz(candidates), floating);
      if (item > heap[0]) sift_down(heap, k, 0, item);
    }
    least = wasm_i32x4_splat(x[index_of(heap[0])]);
  }
  for (; i < n; i++)
    if (ranked(x, i, floating) > heap[0]) sift_down(heap, k, 0, ranked(x, i, floating));
}

void top_k(const int *x, int *values, int *indices, int rows, int n, int k, int floating,
           int thread, int threads) {
  key_index_t *heap = (key_index_t *)scratch(thread);
  if (k == 0) return;
  int end = partition_begin(rows, thread + 1, threads);
  for (int r = partition_begin(rows, thread, threads); r < end; r++) {
    const int *row = x + r * n;
    if (floating)
      select_greatest(row, heap, n, k, 1);
    else
      select_greatest(row, heap, n, k, 0);
    for (int left = k; left > 0; left--) {
      int index = index_of(heap[0]);
      indices[r * k + left - 1] = index, values[r * k + left - 1] = row[index];
      sift_down(heap, left - 1, 0, heap[left - 1]);
    }
  }
}
