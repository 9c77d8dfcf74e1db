// Multi-threaded execution: the worker loop, commands for workers, and the barrier.
//
// The main thread increments `epoch`; workers wait for that, execute the command and increment
// `completed`. A waiting thread spins first and then sleeps in memory.atomic.wait32. A futex is
// notified only if a thread sleeps on it.

#include "engine.h"
#include "simd.h"

typedef void (*program_t)(int thread, int *arguments);

// worker_loop executes RUN; the host of a worker executes the other commands.
enum { RUN, LOAD, QUIT };

#ifdef __wasm_atomics__

// One spin takes about 0.35 ns (wasmtime, 2026-11). SPIN_LIMIT is 35 us: the other threads nearly
// always reach a barrier within that time. IDLE_SPIN_LIMIT is 140 us: a training loop nearly always
// begins its next step within that time. To sleep and wake up takes 10 to 50 us.
enum { SPIN_LIMIT = 100000, IDLE_SPIN_LIMIT = 400000 };
// A sleeping thread wakes up this often to check `failed`: its notifier may have trapped.
static const int64_t WAIT_TIMEOUT_NS = 20 * 1000 * 1000;

// A word that threads wait on, and the number of threads that sleep, on a separate cache line.
typedef struct {
  _Alignas(64) int value;
  int sleepers;
} futex_t;

static futex_t epoch, completed, arrived, generation, failed;
static int command, operand_a, operand_b;  // RUN: the program and its arguments
// Set while workers run a program, or execute any command. Both remain set if the main thread
// traps, or if its host interrupts it.
static int program_running, command_pending;
static struct {
  _Alignas(64) int epoch;  // of the last command that this thread has received
} last[MAX_THREADS];

static int load(futex_t *f) { return __atomic_load_n(&f->value, __ATOMIC_SEQ_CST); }

static void store(futex_t *f, int value) { __atomic_store_n(&f->value, value, __ATOMIC_SEQ_CST); }

static int increment(futex_t *f) { return __atomic_add_fetch(&f->value, 1, __ATOMIC_SEQ_CST); }

static void futex_wake(futex_t *f) {
  if (__atomic_load_n(&f->sleepers, __ATOMIC_SEQ_CST))
    __builtin_wasm_memory_atomic_notify(&f->value, UINT32_MAX);
}

// Sleep while the futex holds `value`, at most WAIT_TIMEOUT_NS.
static void futex_wait(futex_t *f, int value) {
  __atomic_add_fetch(&f->sleepers, 1, __ATOMIC_SEQ_CST);
  __builtin_wasm_memory_atomic_wait32(&f->value, value, WAIT_TIMEOUT_NS);
  __atomic_sub_fetch(&f->sleepers, 1, __ATOMIC_SEQ_CST);
}

// Wait until all workers have completed the last command.
static void wait_for_workers(void) {
  int workers = thread_count() - 1, done = load(&completed);
  for (int i = 0; i < SPIN_LIMIT && done != workers; i++) done = load(&completed);
  for (; done != workers; done = load(&completed)) futex_wait(&completed, done);
  program_running = command_pending = 0;
}

// Complete the last command, even if it failed. If the main thread trapped, workers may still wait
// at a barrier: `failed` releases them.
static void recover(void) {
  if (program_running) {
    store(&failed, 1);
    futex_wake(&generation);
  }
  if (command_pending) wait_for_workers();
  if (load(&failed)) store(&arrived, 0);
  store(&failed, 0);
}

static void post(int new_command, int a, int b) {
  recover();
  command = new_command, operand_a = a, operand_b = b;
  program_running = new_command == RUN;
  command_pending = 1;
  store(&completed, 0);
  increment(&epoch);
  futex_wake(&epoch);
}

int run_program(int program, int *arguments) {
  // A single-threaded program does not wake the workers; arguments[1] is its number of threads.
  int single_threaded = thread_count() == 1 || arguments[1] == 1;
  if (single_threaded)
    recover();
  else
    post(RUN, program, (int)arguments);
  ((program_t)program)(0, arguments);
  if (single_threaded) return 0;
  wait_for_workers();
  return load(&failed);
}

void post_command(int new_command, int a, int b) {
  if (thread_count() > 1) post(new_command, a, b);
}

int wait_command(void) {
  if (command_pending) wait_for_workers();
  return load(&failed);
}

int load_address(void) { return operand_a; }

int load_size(void) { return operand_b; }

void command_done(int ok) {
  if (!ok) {
    store(&failed, 1);
    futex_wake(&generation);
  }
  increment(&completed);
  futex_wake(&completed);
}

static void wait_for_epoch_after(int old) {
  for (int i = 0; i < IDLE_SPIN_LIMIT; i++)
    if (load(&epoch) != old) return;
  while (load(&epoch) == old) futex_wait(&epoch, old);
}

int worker_loop(int thread) {
  for (;;) {
    wait_for_epoch_after(last[thread].epoch);
    last[thread].epoch++;
    if (command != RUN) return command;
    ((program_t)operand_a)(thread, (int *)operand_b);
    command_done(1);
  }
}

void barrier(void) {
  if (!program_running) return;  // a single-threaded program
  int threads = thread_count();
  int old = load(&generation);
  if (increment(&arrived) == threads) {
    store(&arrived, 0);
    store(&generation, old + 1);
    futex_wake(&generation);
    return;
  }
  for (int i = 0; i < SPIN_LIMIT; i++)
    if (load(&generation) != old) return;
  while (load(&generation) == old && !load(&failed)) futex_wait(&generation, old);
}

#else  // Single-threaded builds have the same exports; their hosts start no workers.

int run_program(int program, int *arguments) {
  ((program_t)program)(0, arguments);
  return 0;
}

int worker_loop(int thread) { return (void)thread, QUIT; }

void post_command(int new_command, int a, int b) { (void)new_command, (void)a, (void)b; }

int wait_command(void) { return 0; }

int load_address(void) { return 0; }

int load_size(void) { return 0; }

void command_done(int ok) { (void)ok; }

void barrier(void) {}

#endif
