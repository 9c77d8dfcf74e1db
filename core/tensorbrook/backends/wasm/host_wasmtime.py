"""The native host: wasmtime runs the engine and the programs, a Python thread for each helper.

Every thread has a store of its own, with an instance of the engine and of each program, over one
shared memory. A call into WebAssembly releases the interpreter's lock, so the helpers sit in the
engine's `worker_loop` and cost Python nothing.
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
from .host import MAX_PAGES, PAGE_BYTES, FIRST_SLOT_WORD, WORD_BYTES

ENGINE = Path(__file__).parent / "engine" / "engine-threads.wasm"
MAX_THREADS = 64  # of the engine, wasm/simd.h
LOAD, QUIT = 1, 2


class SharedMemory(wasmtime.SharedMemory):
    """wasmtime's class hands out the address of its pointer, where the pointer itself belongs."""

    def _as_extern(self):
        union = ffi.wasmtime_extern_union(sharedmemory=self.ptr())
        return ffi.wasmtime_extern_t(ffi.WASMTIME_EXTERN_SHAREDMEMORY, union)


class Function:
    """An exported function of i32, called without the generic conversions of wasmtime-py."""

    def __init__(self, store, function, arity: int):
        self._keepalive = store, function
        values = (ffi.wasmtime_val_raw_t * max(arity, 1))()  # the result takes the first's place
        self._pack = functools.partial(struct.Struct("I12x" * arity).pack_into, values, 0)
        self._result = ctypes.c_int32.from_buffer(values)
        self._trap = ctypes.POINTER(ffi.wasm_trap_t)()
        # A function looked up by index is a new one, without argtypes to check.
        self._call = ffi.dll["wasmtime_func_call_unchecked"]  # pyright: ignore[reportIndexIssue]
        self._call.restype = ctypes.c_void_p
        self._operands = (store._context(), ctypes.byref(function._func), values,
                          ctypes.c_size_t(len(values)), ctypes.byref(self._trap))

    def __call__(self, *arguments: int) -> int:
        self._pack(*arguments)
        error = self._call(*self._operands)
        if error or self._trap:
            self._fail(error)
        return self._result.value

    def _fail(self, error):
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
        """Instantiate a program and put its `run` at this index of the table."""
        imports = [self._import(needed) for needed in module.imports]
        run = wasmtime.Instance(self.store, module, imports).exports(self.store)["run"]
        size = self.table.size(self.store)
        if index >= size:
            self.table.grow(self.store, index + 1 - size, None)
        self.table.set(self.store, index, run)

    def _import(self, needed):
        if needed.module == "env":
            return self.memory
        if needed.module == "host":
            return _clock(self.store)
        found = self.exports.get(needed.name)
        assert found is not None, f"the engine has no {needed.name}"
        return found


class HelperThread(threading.Thread):
    """A Python thread that lives in the engine's `worker_loop`, and acts when the engine says so."""

    def __init__(self, number: int, own: ThreadInstance):
        super().__init__(name=f"tensorbrook-{number}", daemon=True)
        self.number, self.own = number, own
        self.to_load: Any = ()  # (module, index), set before the main thread publishes LOAD
        self.problem = ""
        self._worker_loop, self._command_done = own.function("worker_loop"), own.function("command_done")

    def run(self):
        while (command := self._wait()) != QUIT:
            if command == LOAD:
                self._load()

    def _wait(self) -> int | None:
        try:
            return self._worker_loop(self.number)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            self._report(error)
            return None

    def _load(self):
        try:
            self.own.install(*self.to_load)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            self._report(error)
        else:
            self._command_done(1)

    def _report(self, error):
        self.problem = f"thread {self.number}: {_error_summary(error)}"
        self._command_done(0)


class Host:
    """Memory, threads and programs, natively; host.py says what each method means."""

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
        own = [ThreadInstance(self._engine, module, self._memory) for _ in range(self.threads)]
        self._main = own[0]
        self._reserve_thread_memory(own)
        self._prepare_programs()
        self._helpers = [HelperThread(number, own[number]) for number in range(1, self.threads)]
        for helper in self._helpers:
            helper.start()
        atexit.register(self.close)

    def _reserve_thread_memory(self, own):
        """Place each helper's stack and each thread's scratch after the engine's own data."""
        main = own[0]
        stack, scratch = main.function("stack_size")(), main.function("scratch_size")()
        start = align_up(main.exports["__heap_base"].value(main.store))
        areas = start + (self.threads - 1) * stack
        self.heap_base = areas + self.threads * scratch
        self.grow(self.heap_base)
        for number, helper in enumerate(own[1:], 1):
            helper.exports["__stack_pointer"].set_value(helper.store, start + number * stack)
        main.function("setup")(self.threads, areas)

    def _prepare_programs(self):
        main = self._main
        self._run_program, self._post_command = main.function("run_program"), main.function("post_command")
        self._wait_command = main.function("wait_command")
        self._lock = threading.Lock()  # the engine has one main thread
        self._next = main.table.size(main.store)
        self._free = []  # indices of unloaded programs

    def grow(self, size_bytes: int) -> None:
        """Make memory at least this long."""
        pages = -(-size_bytes // PAGE_BYTES)
        missing = pages - self._memory.data_len() // PAGE_BYTES
        if missing <= 0:
            return
        try:
            if pages > MAX_PAGES:
                raise wasmtime.WasmtimeError("WebAssembly memory ends at 4 GB")
            self._memory.grow(missing)
        except wasmtime.WasmtimeError as error:
            raise MemoryError(f"memory: {size_bytes} bytes are needed and cannot be had "
                              f"({_error_summary(error)}); use a smaller batch or model") from None

    def load(self, module: bytes) -> int:
        """Instantiate a program on every thread; its index is what `run` takes."""
        compiled = wasmtime.Module(self._engine, bytes(module))
        with self._lock:
            self.calls += 1
            index = self._free.pop() if self._free else self._next
            self._next = max(self._next, index + 1)
            self._main.install(compiled, index)
            for helper in self._helpers:
                helper.to_load = compiled, index
            self._post_command(LOAD, 0, 0)
            if self._wait_command():
                raise RuntimeError(f"program: it could not be loaded: {self._collect_errors()}")
        return index

    def unload(self, program: int) -> None:
        """Give a program's index away to the next one."""
        self._free.append(program)

    def run(self, program: int, block_address: int, *words: int) -> None:
        """Write the slots of the arguments block, if given, and run the program on every thread."""
        with self._lock:
            if words:
                _words(len(words)).pack_into(self._bytes, block_address + WORD_BYTES * FIRST_SLOT_WORD, *words)
            self.calls += 1
            try:
                failed = self._run_program(program, block_address)
            except wasmtime.Trap as trap:
                raise RuntimeError(_trap_message(program, f"thread 0: {_error_summary(trap)}")) from None
            if failed:
                raise RuntimeError(_trap_message(program, self._collect_errors()))

    def write(self, address: int, data) -> None:
        """Copy any C-contiguous buffer into memory."""
        self.calls += 1
        source = memoryview(data).cast("B")
        self._bytes[self._span(address, len(source))] = source

    def read(self, address: int, size: int) -> bytes:
        """A copy of a piece of memory."""
        self.calls += 1
        return bytes(self._bytes[self._span(address, size)])

    def _span(self, address: int, size: int) -> slice:
        # Beyond the present end lies memory that the process may not touch.
        assert 0 <= address <= address + size <= self._memory.data_len(), \
            f"{size} bytes at {address} are not within {self._memory.data_len()} bytes of memory"
        return slice(address, address + size)

    def _collect_errors(self) -> str:
        problems = [helper.problem for helper in self._helpers if helper.problem]
        for helper in self._helpers:
            helper.problem = ""
        return "; ".join(problems)

    def close(self) -> None:
        """End the helpers. A second call does nothing."""
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
    """A function that gives milliseconds, for programs that tell how long their steps take."""
    # wasmtime.Func converts each result with care, and would take some 10 us for it.
    function = ffi.wasmtime_func_t()
    type = wasmtime.FuncType([], [wasmtime.ValType.f64()])
    nothing = ctypes.CFUNCTYPE(None, ctypes.c_void_p)()
    ffi.wasmtime_func_new_unchecked(store._context(), type.ptr(), _now, None, nothing,
                                    ctypes.byref(function))
    return wasmtime.Func._from_raw(function)


def _config() -> wasmtime.Config:
    config = wasmtime.Config()
    config.wasm_threads = config.shared_memory = True
    config.wasm_simd = config.wasm_relaxed_simd = config.wasm_bulk_memory = True
    config.cranelift_opt_level = "speed"
    return config


def _view(memory) -> memoryview:
    # A shared memory never moves, so one view of all that it may become serves for good.
    base = ctypes.addressof(memory.data_ptr().contents)
    return memoryview((ctypes.c_ubyte * (MAX_PAGES * PAGE_BYTES)).from_address(base)).cast("B")


@functools.cache
def _words(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}I")


def _error_summary(error) -> str:
    """The last line of wasmtime's message; those before it are a trace of frames."""
    return str(error).strip().splitlines()[-1].strip()


def _trap_message(program: int, problem: str) -> str:
    return (f"program {program}: stopped on {problem}; what it was to write is lost, "
            "the next run begins afresh")
