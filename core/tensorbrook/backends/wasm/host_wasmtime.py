"""The native host: wasmtime runs the engine and the programs on a pool of Python threads.

Every thread has a separate store with an instance of the engine and of each program; all share one
memory. A call into WebAssembly releases the GIL, so helper threads that wait in the engine's
`worker_loop` do not block Python.
"""

import atexit
import ctypes
import functools
import os
import struct
import threading
import time
from pathlib import Path
from typing import Any

import wasmtime
from wasmtime import _ffi as ffi

from ...ir import align_up
from .host import FIRST_SLOT_WORD, MAX_PAGES, PAGE_BYTES, WORD_BYTES

ENGINE = Path(__file__).parent / "engine" / "engine-threads.wasm"
MAX_THREADS = 64  # the engine's limit, wasm/simd.h
LOAD, QUIT = 1, 2  # commands for helper threads, defined by the engine's threads.c


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

    def __init__(self, engine, module, memory):
        self.store = wasmtime.Store(engine)
        self.memory = memory
        exports = wasmtime.Instance(self.store, module, [memory]).exports(self.store)
        self.exports: dict[str, Any] = {name: exports[name] for name in exports}
        self.table = self.exports["__indirect_function_table"]

    def function(self, name: str) -> Function:
        function = self.exports[name]
        return Function(self.store, function, len(function.type(self.store).params))

    def install(self, module, index: int) -> None:
        """Instantiate a program and store its `run` at `index` of the function table."""
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
        self.pending_load: Any = ()  # (module, index), set before the main thread posts LOAD
        self.error = ""
        self._worker_loop = instance.function("worker_loop")
        self._command_done = instance.function("command_done")

    def run(self):
        while (command := self._wait()) != QUIT:
            if command == LOAD:
                self._load()

    def _wait(self) -> int | None:
        try:
            return self._worker_loop(self.index)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            self._report(error)
            return None

    def _load(self):
        try:
            self.instance.install(*self.pending_load)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            self._report(error)
        else:
            self._command_done(1)

    def _report(self, error):
        self.error = f"thread {self.index}: {_error_summary(error)}"
        self._command_done(0)


class Host:
    """The native implementation of host.Host."""

    relaxed = True
    shared = True

    def __init__(self, threads: int | None = None, engine: Path = ENGINE):
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
            helper.exports["__stack_pointer"].set_value(helper.store, start + i * stack)
        main.function("setup")(self.threads, scratch_start)

    def _init_programs(self):
        main = self._main
        self._run_program = main.function("run_program")
        self._post_command = main.function("post_command")
        self._wait_command = main.function("wait_command")
        self._lock = threading.Lock()  # one thread at a time acts as the engine's main thread
        self._next_index = main.table.size(main.store)
        self._free_indices = []  # of unloaded programs

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
            index = self._free_indices.pop() if self._free_indices else self._next_index
            self._next_index = max(self._next_index, index + 1)
            self._main.install(compiled, index)
            for helper in self._helpers:
                helper.pending_load = compiled, index
            self._post_command(LOAD, 0, 0)
            if self._wait_command():
                raise RuntimeError(f"program: loading failed on {self._collect_errors()}")
        return index

    def unload(self, program: int) -> None:
        """Release a program's index for the next program."""
        self._free_indices.append(program)

    def run(self, program: int, block_address: int, *words: int) -> None:
        """Write the slots of the argument block, if given, and run the program on every thread."""
        with self._lock:
            if words:
                slots = block_address + WORD_BYTES * FIRST_SLOT_WORD
                _words(len(words)).pack_into(self._bytes, slots, *words)
            self.calls += 1
            try:
                failed = self._run_program(program, block_address)
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
            self._post_command(QUIT, 0, 0)
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
