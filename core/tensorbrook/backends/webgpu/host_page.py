"""The device in a page, as web/runtime/gpu_module.ts offers it to Python."""
from __future__ import annotations

import json
from collections import deque
from contextlib import contextmanager
from functools import partial
from itertools import chain
from operator import call

import tensorbrook_page as page  # pyright: ignore[reportMissingImports]
from pyodide.ffi import JsException, can_run_sync, run_sync  # pyright: ignore[reportMissingImports]

from ...base.task_local import suspended_stacks
from ...base.errors import FailedPreconditionError, UnavailableError
from ..page_program_cache import PageProgramCache
from .readback import Piece, read_back
from .device_info import DeviceInfo
from .host import no_op
from .device_errors import device_error

MIN_CHECKED_ALLOCATION = 1 << 20          # bytes; of a buffer this large it is asked whether there was memory


class Host:
    """See host.py. The page has opened its device already, and it ends with the page. One that was
    lost, with more on it than could be kept, is followed by another."""

    def __init__(self):
        self.page = gpu = page.gpu
        if gpu.reason:
            raise UnavailableError("backend webgpu", gpu.reason,
                                   "compute on wasm, or open the page where there is a GPU "
                                   "(tensorbrook run: --software-gpu lets the processor play it)")
        self.device_info = DeviceInfo(**json.loads(gpu.info()))
        if self.lost:
            self.reopen_device()
        self.program_cache = PageProgramCache()
        # Bound once: looking a method up on the module costs five times the call.
        self._run, self._full = gpu.run, gpu.isQueueFull

    # ── what was done ──

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
            raise MemoryError(f"a buffer of {size} bytes is more than the device takes")
        with _translate_errors():
            number = self.page.createBuffer(size)
            # An allocation that fails is heard of later: early enough for a large one.
            if size >= MIN_CHECKED_ALLOCATION and can_run_sync():
                try:
                    self._wait(self.page.flushErrors())
                except BaseException:
                    self.page.freeBuffer(number)
                    raise
        return number

    def free(self, buffer: int) -> None:
        self.page.freeBuffer(buffer)

    def write(self, buffer: int, data) -> None:
        with _translate_errors():
            self.page.write(buffer, memoryview(data))

    def read_many(self, which) -> list[bytes]:
        return read_back(which, self._staged)

    def _staged(self, pieces: list[Piece]) -> bytes:
        with _translate_errors():
            return self._wait(self.page.read(*chain.from_iterable(pieces))).to_bytes()

    # ── programs ──

    def load(self, commands: bytes) -> int:
        with _translate_errors():
            return self._wait(self.page.load(commands))

    def unload(self, program: int) -> None:
        self.page.unload(program)

    def wait_for_queue_space(self) -> None:
        if self._full():
            with _translate_errors():
                self._wait(self.page.waitForSlot())

    def run(self, program: int, buffers, copies=(), on_submit=no_op) -> None:
        run = partial(self._run, program, len(copies), *chain.from_iterable(copies), *buffers)
        try:
            deque(map(call, (run, on_submit)), maxlen=0)      # in one go, which no interrupt divides
        except JsException as error:
            raise _to_device_error(error) from None

    # ── faults ──

    @property
    def lost(self) -> str | None:
        """Why the device is no more."""
        return self.page.lost() or None

    def reopen_device(self) -> None:
        """Ask for another device in the place of a lost one; what was on that is gone, and its
        numbers are void. Raises UnavailableError where there is none to be had."""
        with _translate_errors():
            self._wait(self.page.reopen())
        self.device_info = DeviceInfo(**json.loads(self.page.info()))

    def destroy(self) -> None:
        """Lose the device, as a fault of the machine would."""
        self.page.destroy()

    def close(self) -> None:
        """Nothing: the device ends with the worker."""

    @staticmethod
    def _wait(pending):
        """What a call of the page comes to, once that is there. Ctrl-C gets in between."""
        if hasattr(pending, "ready"):
            while not pending.ready():
                pass
            return pending.take()
        if not can_run_sync():
            raise FailedPreconditionError(
                "webgpu", "JavaScript called this code in a way that cannot wait for the GPU",
                "read values elsewhere, or call it with callPromising")
        # An interrupt in the tasks that wake us would let us sleep for ever; it comes after them.
        page.deferInterrupts(True)
        try:
            with suspended_stacks():
                return run_sync(pending.promise)
        finally:
            page.deferInterrupts(False)


@contextmanager
def _translate_errors():
    """Raise what the page throws as our own errors."""
    try:
        yield
    except JsException as error:
        raise _to_device_error(error) from None


def _to_device_error(error: JsException) -> Exception:
    return device_error(error.name, error.message)
