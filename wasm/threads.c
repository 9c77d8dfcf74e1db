// One program on every thread: launch, park, barrier, and commands for the helpers' hosts.
//
// The main thread counts `order` up; helpers wait on it, do what it orders, and count `done` up.
// Everybody spins for a while and then sleeps on the word; nobody is notified unless asleep.

#include "engine.h"
#include "simd.h"

typedef void (*program_t)(int thread, int *arguments);

#ifdef __wasm_atomics__

enum { RUN = 0, QUIT = 2 };

// A look takes about 0.35 ns (wasmtime, 2026-11). In 35 microseconds the other threads have nearly
// always come to a barrier; in 140 a training loop has nearly always begun its next step. Going to
// sleep and waking up costs 10 to 50.
enum { SPINS = 100000, PARK_SPINS = 400000 };
// A sleeper looks at `failed` this often, should the one that would wake it have died.
static const int64_t NAP_NS = 20 * 1000 * 1000;

// A word that threads wait on, with its sleepers, on a cache line of its own.
typedef struct {
  _Alignas(64) int value;
  int sleepers;
} signal_t;

static signal_t order, done, arrived, generation, failed;
static int command, first, second;  // what is ordered: RUN (program, arguments) or the host's
static int in_run, ordered;  // helpers are at a program, at an order; left so if the main thread
                             // trapped, or its host broke off
static struct {
  _Alignas(64) int order;  // the last one this thread has seen
} seen[MAX_THREADS];

static int read(signal_t *s) { return __atomic_load_n(&s->value, __ATOMIC_SEQ_CST); }

static void write(signal_t *s, int value) { __atomic_store_n(&s->value, value, __ATOMIC_SEQ_CST); }

static int count_up(signal_t *s) { return __atomic_add_fetch(&s->value, 1, __ATOMIC_SEQ_CST); }

static void wake(signal_t *s) {
  if (__atomic_load_n(&s->sleepers, __ATOMIC_SEQ_CST))
    __builtin_wasm_memory_atomic_notify(&s->value, UINT32_MAX);
}

// Return once *s is no longer `value`, or a nap has passed.
static void doze(signal_t *s, int value) {
  __atomic_add_fetch(&s->sleepers, 1, __ATOMIC_SEQ_CST);
  __builtin_wasm_memory_atomic_wait32(&s->value, value, NAP_NS);
  __atomic_sub_fetch(&s->sleepers, 1, __ATOMIC_SEQ_CST);
}

// Wait until all helpers have done what was ordered.
static void wait_for_helpers(void) {
  int helpers = thread_count() - 1, now = read(&done);
  for (int i = 0; i < SPINS && now != helpers; i++) now = read(&done);
  for (; now != helpers; now = read(&done)) doze(&done, now);
  in_run = ordered = 0;
}

// Whatever went wrong with the last order, make an end of it. After a trap of the main thread
// helpers may still stand in a barrier: `failed` lets them through.
static void settle(void) {
  if (in_run) {
    write(&failed, 1);
    wake(&generation);
  }
  if (ordered) wait_for_helpers();
  if (read(&failed)) write(&arrived, 0);
  write(&failed, 0);
}

static void give_order(int what, int a, int b) {
  settle();
  command = what, first = a, second = b;
  in_run = what == RUN;
  ordered = 1;
  write(&done, 0);
  count_up(&order);
  wake(&order);
}

int launch(int program, int *arguments) {
  // A program that wants one thread, arguments[1], does not wake the others.
  int alone = thread_count() == 1 || arguments[1] == 1;
  if (alone)
    settle();
  else
    give_order(RUN, program, (int)arguments);
  ((program_t)program)(0, arguments);
  if (alone) return 0;
  wait_for_helpers();
  return read(&failed);
}

void publish(int what, int a, int b) {
  if (thread_count() > 1) give_order(what, a, b);
}

int join(void) {
  if (ordered) wait_for_helpers();
  return read(&failed);
}

int load_address(void) { return first; }

int load_size(void) { return second; }

void acknowledge(int ok) {
  if (!ok) {
    write(&failed, 1);
    wake(&generation);
  }
  count_up(&done);
  wake(&done);
}

static void wait_for_order(int last) {
  for (int i = 0; i < PARK_SPINS; i++)
    if (read(&order) != last) return;
  while (read(&order) == last) doze(&order, last);
}

int park(int thread) {
  for (;;) {
    wait_for_order(seen[thread].order);
    seen[thread].order++;
    if (command != RUN) return command;
    ((program_t)first)(thread, (int *)second);
    acknowledge(1);
  }
}

void barrier(void) {
  if (!in_run) return;  // the main thread is alone
  int threads = thread_count();
  int now = read(&generation);
  if (count_up(&arrived) == threads) {
    write(&arrived, 0);
    write(&generation, now + 1);
    wake(&generation);
    return;
  }
  for (int i = 0; i < SPINS; i++)
    if (read(&generation) != now) return;
  while (read(&generation) == now && !read(&failed)) doze(&generation, now);
}

#else  // a build without threads has the same exports; its host never parks anybody

int launch(int program, int *arguments) {
  ((program_t)program)(0, arguments);
  return 0;
}

int park(int thread) { return (void)thread, 2; }

void publish(int what, int a, int b) { (void)what, (void)a, (void)b; }

int join(void) { return 0; }

int load_address(void) { return 0; }

int load_size(void) { return 0; }

void acknowledge(int ok) { (void)ok; }

void barrier(void) {}

#endif
