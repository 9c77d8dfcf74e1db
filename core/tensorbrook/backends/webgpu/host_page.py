"""WebGPU host in a page: the device that web/runtime/gpu_module.ts provides to Python."""
from __future__ import annotations

import json
from collections import deque
from contextlib import contextmanager
from functools import partial
from itertools import chain
from operator import call

import tensorbrook_page as page  # pyright: ignore[reportMissingImports]
from pyodide.ffi import JsException, can_run_sync, run_sync  # pyright: ignore[reportMissingImports]

from ...base.errors import FailedPreconditionError, UnavailableError
from ...base.task_local import suspended_stacks
from ..page_program_cache import PageProgramCache
from .device_errors import device_error
from .device_info import DeviceInfo
from .host import no_op
from .readback import BufferRange, read_back

MIN_CHECKED_ALLOCATION = 1 << 20   # bytes from which an allocation is waited for


class Host:
    """See host.py. The page opens the device before this host is created, and the device ends with
    the page. After a loss that could not be recovered, a new host opens another device."""

    def __init__(self):
        self.page = gpu = page.gpu
        if gpu.reason:
            raise UnavailableError("backend webgpu", gpu.reason,
                                   "compute on wasm, or open the page where there is a GPU "
                                   "(tensorbrook run --software-gpu uses a software adapter)")
        self.device_info = DeviceInfo(**json.loads(gpu.info()))
        if self.lost:
            self.reopen_device()
        self.program_cache = PageProgramCache()
        # Bound once: the lookup of a method on the module costs five times its call.
        self._run, self._is_queue_full = gpu.run, gpu.isQueueFull

    # ── counters ──

    @property
    def calls(self) -> int:
        return self.page.calls()

    @property
    def submits(self) -> int:
        return self._wait(self.page.counters()).submits

    @property
    def dispatches(self) -> int:
        return self._wait(self.page.counters()).dispatches

    @property
    def pipelines(self) -> int:
        return self._wait(self.page.counters()).pipelines

    # ── buffers ──

    def new(self, size: int) -> int:
        if size > self.device_info.buffer_bytes:
            raise MemoryError(f"a buffer of {size} bytes exceeds the device's limit")
        with _translate_errors():
            handle = self.page.createBuffer(size)
            # A failed allocation is reported asynchronously; wait for it if the buffer is large.
            if size >= MIN_CHECKED_ALLOCATION and can_run_sync():
                try:
                    self._wait(self.page.flushErrors())
                except BaseException:
                    self.page.freeBuffer(handle)
                    raise
        return handle

    def free(self, buffer: int) -> None:
        self.page.freeBuffer(buffer)

    def write(self, buffer: int, data) -> None:
        with _translate_errors():
            self.page.write(buffer, memoryview(data))

    def read_many(self, requests) -> list[bytes]:
        return read_back(requests, self._read_chunk)

    def _read_chunk(self, ranges: list[BufferRange]) -> bytes:
        with _translate_errors():
            return self._wait(self.page.read(*chain.from_iterable(ranges))).to_bytes()

    # ── programs ──

    def load(self, commands: bytes) -> int:
        with _translate_errors():
            return self._wait(self.page.load(commands))

    def unload(self, program: int) -> None:
        self.page.unload(program)

    def wait_for_queue_space(self) -> None:
        if self._is_queue_full():
            with _translate_errors():
                self._wait(self.page.waitForSlot())

    def run(self, program: int, buffers, copies=(), on_submit=no_op) -> None:
        run = partial(self._run, program, len(copies), *chain.from_iterable(copies), *buffers)
        try:
            deque(map(call, (run, on_submit)), maxlen=0)   # no interrupt can come between the two
        except JsException as error:
            raise _to_device_error(error) from None

    # ── errors ──

    @property
    def lost(self) -> str | None:
        """Why the device was lost, or None."""
        return self.page.lost() or None

    def reopen_device(self) -> None:
        with _translate_errors():
            self._wait(self.page.reopen())
        self.device_info = DeviceInfo(**json.loads(self.page.info()))

    def destroy(self) -> None:
        """Destroy the device, to simulate its loss."""
        self.page.destroy()

    def close(self) -> None:
        """Do nothing: the device ends with the worker."""

    @staticmethod
    def _wait(pending):
        """Return the result of an asynchronous call of the page. Ctrl-C can interrupt the wait."""
        if hasattr(pending, "ready"):
            while not pending.ready():
                pass
            return pending.take()
        if not can_run_sync():
            raise FailedPreconditionError(
                "webgpu", "JavaScript called this code in a way that cannot wait for the GPU",
                "read values elsewhere, or call it with callPromising")
        # An interrupt inside the tasks that resume this one would leave it suspended for ever, so
        # interrupts are deferred until after the wait.
        page.deferInterrupts(True)
        try:
            with suspended_stacks():
                return run_sync(pending.promise)
        finally:
            page.deferInterrupts(False)


@contextmanager
def _translate_errors():
    """Raise the page's exceptions as device errors."""
    try:
        yield
    except JsException as error:
        raise _to_device_error(error) from None


def _to_device_error(error: JsException) -> Exception:
    return device_error(error.name, error.message)
