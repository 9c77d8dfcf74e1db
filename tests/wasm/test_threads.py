"""Multi-threaded programs: runs, barriers, traps, loading, and process exit with an open host."""

import struct
import subprocess
import sys
import time

import pytest
import wasmtime
from kernels import ENGINE

from tensorbrook.backends.wasm.host_wasmtime import MAX_PAGES, PAGE_BYTES, Host

HEAD = """(module
  (import "env" "memory" (memory 0 65535 shared))
  (import "engine" "barrier" (func $barrier))
  (func (export "run") (param $thread i32) (param $block i32)
    (local $i i32) (local $sum i32)
"""

# Each thread adds 1 to the word at the address in slot 0.
COUNT = HEAD + """(drop (i32.atomic.rmw.add (i32.load offset=8 (local.get $block))
                                            (i32.const 1)))))"""

# Thread 0 increments the word at slot 0; after a barrier every thread must see the new value, and
# then increments the word at slot 2. A second barrier keeps thread 0 from running ahead. Slot 1 is
# the number of iterations.
IN_STEP = HEAD + """
    (loop $again
      (if (i32.eqz (local.get $thread)) (then
        (i32.store (i32.load offset=8 (local.get $block)) (i32.add (local.get $i) (i32.const 1)))))
      (call $barrier)
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (if (i32.eq (i32.load (i32.load offset=8 (local.get $block))) (local.get $i)) (then
        (drop (i32.atomic.rmw.add (i32.load offset=16 (local.get $block)) (i32.const 1)))))
      (call $barrier)
      (br_if $again (i32.lt_u (local.get $i) (i32.load offset=12 (local.get $block)))))))"""

# The thread whose index is in slot 0 traps; the other threads call three barriers.
TRAP = HEAD + """
    (if (i32.eq (local.get $thread) (i32.load offset=8 (local.get $block))) (then unreachable))
    (call $barrier) (call $barrier) (call $barrier)))"""


def assemble(text):
    return bytes(wasmtime.wat2wasm(text))


@pytest.fixture(params=[1, 2, 3], ids="{} threads".format)
def host(request, engine_files):
    host = Host(request.param, ENGINE)
    yield host
    host.close()


def word(host, address):
    return struct.unpack("<i", host.read(address, 4))[0]


def allocate(host):
    """Return the addresses of an arguments block and of a zeroed counter."""
    block = host.heap_base
    host.grow(block + 4096)
    host.write(block, struct.pack("<16i", 0, host.threads, *[0] * 14))
    host.write(block + 1024, bytes(64))
    return block, block + 1024


def test_every_thread_runs_every_program(host):
    block, counter = allocate(host)
    program = host.load(assemble(COUNT))
    for _ in range(1000):
        host.run(program, block, counter)
    assert word(host, counter) == 1000 * host.threads


def test_a_run_is_one_call(host):
    block, counter = allocate(host)
    program = host.load(assemble(COUNT))
    before = host.calls
    host.run(program, block, counter)
    host.run(program, block)  # the slots are unchanged
    assert host.calls - before == 2
    assert word(host, counter) == 2 * host.threads


def test_helpers_wake_after_a_pause(host):
    block, counter = allocate(host)
    program = host.load(assemble(COUNT))
    for _ in range(5):
        time.sleep(0.02)
        host.run(program, block, counter)
    assert word(host, counter) == 5 * host.threads


def test_barriers_keep_threads_in_step(host):
    block, counter = allocate(host)
    host.run(host.load(assemble(IN_STEP)), block, counter, 2000, counter + 4)
    assert word(host, counter) == 2000
    assert word(host, counter + 4) == 2000 * host.threads


@pytest.mark.parametrize("thread", [0, 1, 2])
def test_a_trap_fails_the_run_and_the_next_run_works(host, thread):
    block, counter = allocate(host)
    trap, count = host.load(assemble(TRAP)), host.load(assemble(COUNT))
    for _ in range(3):
        if thread < host.threads:
            with pytest.raises(RuntimeError, match=rf"program \d+: trapped on thread {thread}: .*"
                                                   "unreachable.*it can run again"):
                host.run(trap, block, thread)
        host.run(count, block, counter)
    assert word(host, counter) == 3 * host.threads


def test_a_single_threaded_program_runs_on_one_thread(host):
    block, counter = allocate(host)
    host.write(block + 4, struct.pack("<i", 1))
    host.run(host.load(assemble(COUNT)), block, counter)
    assert word(host, counter) == 1
    host.run(host.load(assemble(IN_STEP)), block, counter, 10, counter + 4)
    assert word(host, counter + 4) == 10


def test_barriers_work_after_a_trap(host):
    block, counter = allocate(host)
    trap, in_step = host.load(assemble(TRAP)), host.load(assemble(IN_STEP))
    for thread in range(host.threads):
        with pytest.raises(RuntimeError):
            host.run(trap, block, thread)
        host.write(block + 4, struct.pack("<i", 1))
        host.run(in_step, block, counter, 10, counter + 8)
        host.write(block + 4, struct.pack("<i", host.threads))
    host.run(in_step, block, counter, 100, counter + 4)
    assert word(host, counter + 4) == 100 * host.threads


def test_a_program_can_be_loaded_after_a_trap(host):
    block, counter = allocate(host)
    with pytest.raises(RuntimeError):
        host.run(host.load(assemble(TRAP)), block, host.threads - 1)
    host.run(host.load(assemble(COUNT)), block, counter)
    assert word(host, counter) == host.threads


def test_the_index_of_an_unloaded_program_is_reused(host):
    block, counter = allocate(host)
    first, second = host.load(assemble(COUNT)), host.load(assemble(COUNT))
    host.unload(first)
    third = host.load(assemble(IN_STEP))
    assert third == first
    host.run(second, block, counter)
    assert word(host, counter) == host.threads


def test_memory_grows_and_reports_its_limit(host):
    size = host.heap_base + 5 * PAGE_BYTES + 1
    host.grow(size)
    host.write(size - 1, b"\x07")
    assert host.read(size - 1, 1) == b"\x07"
    with pytest.raises(MemoryError, match=r"memory: it cannot grow to \d+ bytes "
                                          r"\(.*4 GB\); use a smaller batch or model"):
        host.grow((MAX_PAGES + 1) * PAGE_BYTES)


def test_threads_out_of_range_are_refused(engine_files):
    with pytest.raises(ValueError, match=r"threads: 0 is not within 1\.\.64"):
        Host(0, ENGINE)


def test_an_open_host_does_not_keep_the_process_alive(engine_files):
    script = (f"from tensorbrook.backends.wasm.host_wasmtime import Host; "
              f"from pathlib import Path; Host(3, Path({str(ENGINE)!r})); print('end')")
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                            timeout=60, check=True)
    assert result.stdout == "end\n"


def test_addresses_beyond_2_gb(host):
    block = 0x80000000 + 4096
    host.grow(block + 4096)
    host.write(block, struct.pack("<16i", 0, host.threads, *[0] * 14))
    host.write(block + 1024, bytes(64))
    host.run(host.load(assemble(COUNT)), block, block + 1024)
    assert word(host, block + 1024) == host.threads
