"""The native host: wasmtime runs the engine and the programs on a pool of Python threads.

Every thread has a separate store with an instance of the engine and of each program; all share one
memory. A call into WebAssembly releases the GIL, so helper threads that wait in the engine's
`worker_loop` do not block Python.

A store releases its instances only when it is deleted itself. When most of its instances belong to
unloaded programs, each thread therefore replaces its store and instantiates the other programs
again.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import platform
import re
import struct
import threading
import time
from pathlib import Path
from typing import Any

import wasmtime
from wasmtime import _ffi as ffi

from ...ir import align_up
from .host import FIRST_SLOT_WORD, MAX_PAGES, PAGE_BYTES, WORD_BYTES

ENGINES = Path(__file__).parent / "engine"
CPU_INFO = Path("/proc/cpuinfo")
MAX_THREADS = 64  # the engine's limit, wasm/simd.h
LOAD, QUIT = 1, 2  # commands for helper threads, defined by the engine's threads.c
# Stores are replaced when they contain more instances of unloaded programs than this, and than
# programs in use. An instance takes about 10 KB and 0.1 ms.
MAX_UNLOADED = 256


def has_fused_multiply_add() -> bool:
    """Whether the CPU has FMA. Without it, wasmtime calls a function for each relaxed_madd."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not CPU_INFO.exists(): return True
    return re.search(r"^flags\b.*\bfma\b", CPU_INFO.read_text(), re.MULTILINE) is not None


class SharedMemory(wasmtime.SharedMemory):
    """wasmtime.SharedMemory with a fix: it passes the address of its pointer, not the pointer."""

    def _as_extern(self):
        union = ffi.wasmtime_extern_union(sharedmemory=self.ptr())
        return ffi.wasmtime_extern_t(ffi.WASMTIME_EXTERN_SHAREDMEMORY, union)


class Function:
    """An exported function over i32, called without wasmtime-py's generic conversions."""

    def __init__(self, store, function, arity: int):
        self._keepalive = store, function
        values = (ffi.wasmtime_val_raw_t * max(arity, 1))()  # the result overwrites the first
        self._pack = functools.partial(struct.Struct("I12x" * arity).pack_into, values, 0)
        self._result = ctypes.c_int32.from_buffer(values)
        self._trap = ctypes.POINTER(ffi.wasm_trap_t)()
        # Indexing the DLL creates a new function object, without argtypes to check.
        self._call = ffi.dll["wasmtime_func_call_unchecked"]  # pyright: ignore[reportIndexIssue]
        self._call.restype = ctypes.c_void_p
        self._call_args = (store._context(), ctypes.byref(function._func), values,
                          ctypes.c_size_t(len(values)), ctypes.byref(self._trap))

    def __call__(self, *args: int) -> int:
        self._pack(*args)
        error = self._call(*self._call_args)
        if error or self._trap:
            self._raise(error)
        return self._result.value

    def _raise(self, error):
        if error:
            raise wasmtime.WasmtimeError._from_ptr(
                ctypes.cast(error, ctypes.POINTER(ffi.wasmtime_error_t)))
        trap = ctypes.cast(self._trap, ctypes.POINTER(ffi.wasm_trap_t))
        ctypes.memset(ctypes.byref(self._trap), 0, ctypes.sizeof(self._trap))
        raise wasmtime.Trap._from_ptr(trap)


class ThreadInstance:
    """One thread's store, with its instance of the engine and of every program."""

    def __init__(self, engine, module, memory, stack_top: int | None = None):
        self._engine, self._module, self.memory = engine, module, memory
        self.store = wasmtime.Store(engine)
        exports = wasmtime.Instance(self.store, module, [memory]).exports(self.store)
        self.exports: dict[str, Any] = {name: exports[name] for name in exports}
        self.table = self.exports["__indirect_function_table"]
        self._stack_top = stack_top
        if stack_top is not None:
            self.set_stack(stack_top)
        self.run_program = self.function("run_program")
        self.post_command = self.function("post_command")
        self.wait_command = self.function("wait_command")
        self.worker_loop = self.function("worker_loop")
        self.command_done = self.function("command_done")

    def without_programs(self) -> ThreadInstance:
        """An instance of the engine in a new store, for the same thread."""
        return ThreadInstance(self._engine, self._module, self.memory, self._stack_top)

    def set_stack(self, top: int) -> None:
        """Let the thread use the stack that grows down from this address."""
        self._stack_top = top
        self.exports["__stack_pointer"].set_value(self.store, top)

    def function(self, name: str) -> Function:
        function = self.exports[name]
        return Function(self.store, function, len(function.type(self.store).params))

    def install(self, programs) -> None:
        """Instantiate programs and store the `run` of each at its index of the function table."""
        for index, module in programs.items():
            imports = [self._resolve(required) for required in module.imports]
            run = wasmtime.Instance(self.store, module, imports).exports(self.store)["run"]
            size = self.table.size(self.store)
            if index >= size:
                self.table.grow(self.store, index + 1 - size, None)
            self.table.set(self.store, index, run)

    def _resolve(self, required):
        if required.module == "env":
            return self.memory
        if required.module == "host":
            return _clock(self.store)
        export = self.exports.get(required.name)
        assert export is not None, f"the engine has no {required.name}"
        return export


class HelperThread(threading.Thread):
    """A Python thread that runs the engine's `worker_loop` and executes its commands."""

    def __init__(self, index: int, instance: ThreadInstance):
        super().__init__(name=f"tensorbrook-{index}", daemon=True)
        self.index, self.instance = index, instance
        # The programs to install, and whether in a new store; set before LOAD is posted.
        self.pending_load: tuple[dict[int, Any], bool] = {}, False
        self.error = ""

    def run(self):
        while (command := self._wait()) != QUIT:
            if command == LOAD:
                self._load()

    def _wait(self) -> int | None:
        try:
            return self.instance.worker_loop(self.index)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            self._report(error)
            return None

    def _load(self):
        programs, replaces_store = self.pending_load
        try:
            instance = self.instance.without_programs() if replaces_store else self.instance
            instance.install(programs)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            self._report(error)
        else:
            self.instance = instance
            instance.command_done(1)

    def _report(self, error):
        self.error = f"thread {self.index}: {_error_summary(error)}"
        self.instance.command_done(0)


class Host:
    """The native implementation of host.Host, with the build for this CPU, or `engine`."""

    shared = True

    def __init__(self, threads: int | None = None, engine: Path | None = None,
                 relaxed: bool | None = None):
        self.relaxed = has_fused_multiply_add() if relaxed is None else relaxed
        engine = engine or ENGINES / f"engine-threads{'' if self.relaxed else '-simd'}.wasm"
        self.threads = min(os.cpu_count() or 1, 8) if threads is None else threads
        if not 1 <= self.threads <= MAX_THREADS:
            raise ValueError(f"threads: {threads} is not within 1..{MAX_THREADS}")
        self.calls, self.program_cache = 0, None
        self._engine = wasmtime.Engine(_config())
        module = wasmtime.Module.from_file(self._engine, str(engine))
        self._memory = SharedMemory(self._engine, module.imports[0].type)
        self._bytes = _view(self._memory)
        instances = [ThreadInstance(self._engine, module, self._memory)
                     for _ in range(self.threads)]
        self._main = instances[0]
        self._reserve_thread_memory(instances)
        self._init_programs()
        self._helpers = [HelperThread(i, instances[i]) for i in range(1, self.threads)]
        for helper in self._helpers:
            helper.start()
        atexit.register(self.close)

    def _reserve_thread_memory(self, instances):
        """Reserve the helpers' stacks and the threads' scratch memory after the engine's data."""
        main = instances[0]
        stack, scratch = main.function("stack_size")(), main.function("scratch_size")()
        start = align_up(main.exports["__heap_base"].value(main.store))
        scratch_start = start + (self.threads - 1) * stack
        self.heap_base = scratch_start + self.threads * scratch
        self.grow(self.heap_base)
        for i, helper in enumerate(instances[1:], 1):
            # Stacks grow down: a stack pointer begins at the end of its stack.
            helper.set_stack(start + i * stack)
        main.function("setup")(self.threads, scratch_start)

    def _init_programs(self):
        self._lock = threading.Lock()  # one thread at a time acts as the engine's main thread
        self._next_index = self._main.table.size(self._main.store)
        self._programs: dict[int, wasmtime.Module] = {}  # by index of the function table
        self._unloaded: list[int] = []  # indices of programs that are still in `_programs`
        self._free_indices: list[int] = []
        self._num_instances = 0  # in the store of each thread

    def grow(self, size_bytes: int) -> None:
        """Grow the memory to at least `size_bytes`."""
        pages = -(-size_bytes // PAGE_BYTES)
        missing = pages - self._memory.data_len() // PAGE_BYTES
        if missing <= 0:
            return
        try:
            if pages > MAX_PAGES:
                raise wasmtime.WasmtimeError("WebAssembly memory is limited to 4 GB")
            self._memory.grow(missing)
        except wasmtime.WasmtimeError as error:
            raise MemoryError(f"memory: it cannot grow to {size_bytes} bytes "
                              f"({_error_summary(error)}); use a smaller batch or model") from None

    def load(self, module: bytes) -> int:
        """Instantiate a program on every thread; returns its index."""
        compiled = wasmtime.Module(self._engine, bytes(module))
        with self._lock:
            self.calls += 1
            self._drop_unloaded()
            index = self._free_indices.pop() if self._free_indices else self._next_index
            self._next_index = max(self._next_index, index + 1)
            self._programs[index] = compiled
            try:
                self._install(index)
            except BaseException:
                self._unloaded.append(index)
                raise
        return index

    def _install(self, index: int) -> None:
        """Install a program on every thread; with all others if the stores have to be replaced."""
        in_use = len(self._programs)
        replaces_store = self._num_instances - in_use > max(in_use, MAX_UNLOADED)
        programs = dict(self._programs) if replaces_store else {index: self._programs[index]}
        main = self._main.without_programs() if replaces_store else self._main
        main.install(programs)
        for helper in self._helpers:
            helper.pending_load = programs, replaces_store
        main.post_command(LOAD, 0, 0)
        if main.wait_command():
            raise RuntimeError(f"program: loading failed on {self._collect_errors()}")
        # An interrupt before this line leaves the previous store, whose programs are complete.
        self._main = main
        self._num_instances = len(programs) + (0 if replaces_store else self._num_instances)

    def _drop_unloaded(self) -> None:
        while self._unloaded:
            index = self._unloaded.pop()
            del self._programs[index]
            self._free_indices.append(index)

    def unload(self, program: int) -> None:
        """Release a program's index; a finalizer may call this at any time, on any thread."""
        self._unloaded.append(program)

    def run(self, program: int, block_address: int, *words: int) -> None:
        """Write the slots of the argument block, if given, and run the program on every thread."""
        with self._lock:
            if words:
                slots = block_address + WORD_BYTES * FIRST_SLOT_WORD
                _words(len(words)).pack_into(self._bytes, slots, *words)
            self.calls += 1
            try:
                failed = self._main.run_program(program, block_address)
            except wasmtime.Trap as trap:
                error = f"thread 0: {_error_summary(trap)}"
                raise RuntimeError(_trap_message(program, error)) from None
            if failed:
                raise RuntimeError(_trap_message(program, self._collect_errors()))

    def write(self, address: int, data) -> None:
        """Copy any C-contiguous buffer into memory."""
        self.calls += 1
        source = memoryview(data).cast("B")
        self._bytes[self._slice(address, len(source))] = source

    def read(self, address: int, size: int) -> bytes:
        """Return a copy of `size` bytes of memory."""
        self.calls += 1
        return bytes(self._bytes[self._slice(address, size)])

    def _slice(self, address: int, size: int) -> slice:
        # The view extends beyond the current end of the memory, where an access is a fault.
        assert 0 <= address <= address + size <= self._memory.data_len(), \
            f"{size} bytes at {address} are not within {self._memory.data_len()} bytes of memory"
        return slice(address, address + size)

    def _collect_errors(self) -> str:
        errors = [helper.error for helper in self._helpers if helper.error]
        for helper in self._helpers:
            helper.error = ""
        return "; ".join(errors)

    def close(self) -> None:
        """Stop the helper threads. A second call has no effect."""
        atexit.unregister(self.close)
        if self._helpers:
            self._main.post_command(QUIT, 0, 0)
        for helper in self._helpers:
            helper.join()
        self._helpers = []


@ffi.wasmtime_func_unchecked_callback_t
def _now(_env, _caller, results, _count):
    results[0].f64 = 1e3 * time.perf_counter()
    return 0


def _clock(store) -> wasmtime.Func:
    """Return a function that returns the time in milliseconds, for profiled programs."""
    # A wasmtime.Func takes about 10 us to convert its result.
    function = ffi.wasmtime_func_t()
    type = wasmtime.FuncType([], [wasmtime.ValType.f64()])
    no_finalizer = ctypes.CFUNCTYPE(None, ctypes.c_void_p)()
    ffi.wasmtime_func_new_unchecked(store._context(), type.ptr(), _now, None, no_finalizer,
                                    ctypes.byref(function))
    return wasmtime.Func._from_raw(function)


def _config() -> wasmtime.Config:
    config = wasmtime.Config()
    config.wasm_threads = config.shared_memory = True
    config.wasm_simd = config.wasm_relaxed_simd = config.wasm_bulk_memory = True
    config.cranelift_opt_level = "speed"
    return config


def _view(memory) -> memoryview:
    # A shared memory never moves, so one view of its maximum size remains valid when it grows.
    base = ctypes.addressof(memory.data_ptr().contents)
    return memoryview((ctypes.c_ubyte * (MAX_PAGES * PAGE_BYTES)).from_address(base)).cast("B")


@functools.cache
def _words(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}I")


def _error_summary(error) -> str:
    """Return the last line of wasmtime's message, without the stack trace before it."""
    return str(error).strip().splitlines()[-1].strip()


def _trap_message(program: int, error: str) -> str:
    return f"program {program}: trapped on {error}; its outputs are undefined, but it can run again"
