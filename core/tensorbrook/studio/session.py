"""Training session of the Studio: executes commands (dicts) and sends events (dicts).

It runs in the page's worker, and natively in the tests. Training is an asyncio task that trains in
time slices and yields between them, so that other commands are executed within one slice.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import Any

import tensorbrook as tf

from ..base.errors import InvalidArgumentError, OpError
from ..placement import BACKEND_FOR_DEVICE
from . import code_generation, layer_specs, script_runner
from .trainer import Data, Settings, Trainer, digits

SLICE_SECONDS = 0.025  # half of 50 ms, above which a delay is noticeable
PROGRESS_SECONDS = 1 / 15  # between two progress events
THROUGHPUT_SECONDS = 2.0  # the period over which samples per second are averaged
PIXELS = 64
DEVICES = {"auto": None, "cpu": "/CPU:0", "gpu": "/GPU:0"}

Event = dict[str, Any]


class Session:
    """A network, its layers and its training; `send` receives every event."""

    def __init__(self, send: Callable[[Event], None]):
        self.send = send
        self.specs: list[layer_specs.LayerSpec] | None = None  # None if the layers have errors
        self.settings: Settings | None = None
        self.trainer: Trainer | None = None
        self.results: dict[str, list[Event]] = {"train": [], "test": []}  # since the last progress
        self.pixels: list[float] | None = None
        self.device_scope = tf.device(None)
        self.task: asyncio.Task | None = None
        self.running = False
        self.last_progress = 0.0
        self.throughput_window: deque[tuple[float, int]] = deque()  # (time, samples so far)
        self.pending: deque[tuple[str, Callable[[], None]]] = deque()
        self.is_executing = False
        self.commands = {"model": self.set_model, "train": self.train, "pause": self.pause,
                         "step": self.step, "reset": self.reset, "predict": self.set_drawing,
                         "device": self.set_device}

    def handle(self, command: dict[str, Any]) -> None:
        """Execute a command; an error becomes an event, never an exception."""
        name, arguments = command["name"], {k: v for k, v in command.items() if k != "name"}
        self.run_serialized(name, lambda: self.commands[name](**arguments))

    def run_serialized(self, name: str, work: Callable[[], None]) -> None:
        """Execute `work` now, or after the work in progress.

        Commands can arrive in the middle of a step: while a step waits for the GPU, Python is
        suspended and other tasks run.
        """
        self.pending.append((name, work))
        if self.is_executing:
            return
        self.is_executing = True
        try:
            while self.pending:
                self.execute(*self.pending.popleft())
        finally:
            self.is_executing = False

    def execute(self, name: str, work: Callable[[], None]) -> None:
        try:
            with self.device_scope:
                work()
        except MemoryError:
            self.stop(too_large(self.num_parameters(), self.settings))
            self.discard()
        except (OpError, ValueError, TypeError) as error:
            self.refuse(name, str(error))
        except Exception as error:  # an internal error; the page must not show that training runs
            self.refuse(name, f"{name}: {error!r}; please report this")

    def refuse(self, name: str, message: str) -> None:
        """Send the error of a command; an error of a training slice stops training."""
        if name == "train" and self.running:
            self.stop(message)
        else:
            self.send({"name": "refused", "command": name, "message": message})

    # ── commands ──

    def set_model(self, revision: int, layers: list[Any], settings: dict[str, Any]) -> None:
        """Set layers and settings; other layers discard the weights, other settings keep them."""
        reports = layer_specs.report_layers(layers)
        parsed = parse_settings(settings)
        is_valid = bool(reports) and all(report.error is None for report in reports)
        specs = [layer_specs.parse(raw) for raw in layers] if is_valid else None
        if specs is None or specs != self.specs:
            self.discard()
        elif self.trainer and parsed != self.settings:
            self.trainer.apply_settings(parsed)
        self.specs, self.settings = specs, parsed
        entered = layer_specs.specs_as_entered(layers)
        self.send({"name": "model", "revision": revision, "layers": [asdict(r) for r in reports],
                   "parameters": sum(r.parameters for r in reports), "trainable": is_valid,
                   "source": code_generation.program_source(entered, parsed)})

    def train(self) -> None:
        self.require_trainer()
        if not self.running:
            self.running = True
            self.throughput_window.clear()
            self.task = asyncio.ensure_future(self.keep_training())
            self.task.set_name(script_runner.TRAINING)

    def pause(self) -> None:
        if self.running:
            self.running = False
            self.progress()

    def step(self) -> None:
        """Train on one batch, unless training is running."""
        if not self.running:
            trainer = self.require_trainer()
            self.train_batch(trainer)
            self.read_results(trainer)
            self.progress()

    def reset(self) -> None:
        """Discard the weights; new weights are initialized from the seed."""
        self.discard()
        self.progress()
        self.predict()

    def set_drawing(self, pixels: list[float] | None) -> None:
        """Set the picture that is classified now and after each progress; None for no picture."""
        self.pixels = None if pixels is None else parse_picture(pixels)
        self.predict()

    def set_device(self, device: str) -> None:
        """Compute on a device from now on; the weights move there, and training continues."""
        if device not in DEVICES:
            raise InvalidArgumentError("device", f"unknown device {device!r}",
                                       f"use one of {', '.join(DEVICES)}")
        self.device_scope = tf.device(DEVICES[device])
        if self.trainer is not None:
            with self.device_scope:
                self.trainer.move_to_current_device()
        self.progress()

    # ── training ──

    async def keep_training(self) -> None:
        """Train in slices until a pause; the task also ends if a newer task has replaced it."""
        # Training waits for scripts, because an interrupt that is meant for a script which awaits
        # a promise must not interrupt a slice.
        await script_runner.no_script_running.wait()
        while self.running and self.task is asyncio.current_task():
            self.run_serialized("train", self.train_slice)
            await asyncio.sleep(0)
            await script_runner.no_script_running.wait()

    def train_slice(self) -> None:
        """Train for SLICE_SECONDS, and send progress if it is due."""
        trainer = self.require_trainer()
        end = time.perf_counter() + SLICE_SECONDS
        while self.running and time.perf_counter() < end:
            self.train_batch(trainer)
        self.read_results(trainer)
        if self.running and time.perf_counter() - self.last_progress >= PROGRESS_SECONDS:
            self.progress()
            self.predict()

    def train_batch(self, trainer: Trainer) -> None:
        """Train on one batch; after the last batch of an epoch, evaluate the test data."""
        if trainer.step() and self.read_results(trainer):
            self.record("test", trainer, trainer.test())

    def read_results(self, trainer: Trainer) -> bool:
        """Record the results of the steps since the last call; returns whether they are finite."""
        results = trainer.read_results()
        return results is None or self.record("train", trainer, results)

    def record(self, kind: str, trainer: Trainer, results: tuple[float, float]) -> bool:
        """Record (loss, accuracy) for the page, or stop training if the loss is not finite."""
        loss, accuracy = results
        if math.isfinite(loss):
            point = {"epoch": trainer.epoch, "loss": loss, "accuracy": accuracy}
            self.results[kind].append(point)
            return True
        self.stop(not_finite(trainer.steps, self.settings))
        return False

    def require_trainer(self) -> Trainer:
        """The trainer of the current layers, created on first use."""
        if self.specs is None or self.settings is None:
            raise InvalidArgumentError("train", "the layers do not fit together",
                                       "correct the marked layer")
        if self.trainer is None:
            self.trainer = Trainer(self.specs, self.settings, self.data())
        return self.trainer

    @staticmethod
    @cache
    def data() -> Data:
        return digits()

    def num_parameters(self) -> int:
        return sum(report.parameters for report in layer_specs.report_layers(
            [asdict(spec) for spec in self.specs or ()]))

    def discard(self) -> None:
        """Discard the network, and free its memory before the next network allocates."""
        self.running, self.results = False, {"train": [], "test": []}
        if self.trainer is not None:
            self.trainer = None
            gc.collect()  # the trainer and its compiled steps are a reference cycle

    def stop(self, message: str) -> None:
        """Stop training because of an error."""
        self.pause()
        self.send({"name": "stopped", "message": message})

    # ── events ──

    def predict(self) -> None:
        if self.pixels is not None and self.specs is not None:
            probabilities = self.require_trainer().predict(self.pixels)
            # The probabilities are NaN if the weights are not finite.
            if all(map(math.isfinite, probabilities)):
                self.send({"name": "prediction", "probabilities": probabilities})

    def progress(self) -> None:
        """Send the state of training, and the results since the last progress event."""
        self.last_progress = time.perf_counter()
        results, self.results = self.results, {"train": [], "test": []}
        epoch, step = (self.trainer.epoch, self.trainer.steps) if self.trainer else (0, 0)
        self.send({"name": "progress", "running": self.running, "epoch": epoch, "step": step,
                   **results, "samples_per_second": self.throughput(), "device": self.device()})

    def device(self) -> str:
        """The kind of device that trains: "CPU" or "GPU"."""
        if self.trainer is not None and self.trainer.steps:
            return "GPU" if "GPU" in self.trainer.running_sums.device else "CPU"
        with self.device_scope:
            return "GPU" if tf.config.get_backend() == BACKEND_FOR_DEVICE["GPU"] else "CPU"

    def throughput(self) -> float | None:
        """Samples per second over the last THROUGHPUT_SECONDS of training."""
        if not self.running or self.trainer is None:
            return None
        self.throughput_window.append((self.last_progress, self.trainer.samples))
        while self.last_progress - self.throughput_window[0][0] > THROUGHPUT_SECONDS:
            self.throughput_window.popleft()
        (start, before), (end, now) = self.throughput_window[0], self.throughput_window[-1]
        return (now - before) / (end - start) if end > start else None


def parse_picture(pixels: Any) -> list[float]:
    """A list of 64 finite numbers as floats; InvalidArgumentError for anything else."""
    if not isinstance(pixels, list) or len(pixels) != PIXELS:
        received = f"{len(pixels)} values" if isinstance(pixels, list) else repr(pixels)
        raise InvalidArgumentError("predict", f"the picture is {received}",
                                   f"it must be {PIXELS} numbers in 0..1")
    for i, value in enumerate(pixels):
        if not layer_specs.is_number(value):
            raise InvalidArgumentError("predict", f"pixel {i} is {value!r}",
                                       "it must be a number in 0..1")
    return [float(value) for value in pixels]


def parse_settings(values: dict[str, Any]) -> Settings:
    """The settings; InvalidArgumentError for the first that is not valid."""
    settings = Settings(**values)
    if settings.optimizer not in code_generation.OPTIMIZERS:
        raise InvalidArgumentError("optimizer", f"unknown optimizer {settings.optimizer!r}",
                                   f"use {' or '.join(code_generation.OPTIMIZERS)}")
    if not layer_specs.is_number(settings.learning_rate) or settings.learning_rate <= 0:
        raise InvalidArgumentError("learning_rate", f"it is {settings.learning_rate!r}",
                                   "it must be a number above 0, such as 0.001")
    for name in ("batch_size", "seed"):
        value, minimum = getattr(settings, name), int(name == "batch_size")
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise InvalidArgumentError(name, f"it is {value!r}",
                                       f"it must be a whole number of at least {minimum}")
    return settings


def not_finite(steps: int, settings: Settings | None) -> str:
    rate = settings.learning_rate if settings else 0
    return (f"train: the loss is not a finite number at step {steps:,}; "
            f"lower the learning rate from {rate:g} and press Reset")


def too_large(parameters: int, settings: Settings | None) -> str:
    batch = settings.batch_size if settings else 0
    return (f"train: {parameters:,} parameters and a batch of {batch:,} do not fit into memory; "
            "use fewer units or filters, or a smaller batch")


@cache
def page_session() -> Session:
    """The session of the page; `tensorbrook_page` exists only there, hence the late import."""
    page = importlib.import_module("tensorbrook_page")
    return Session(lambda event: page.post("session", json.dumps(event)))


def handle(command_json: str) -> None:
    """Execute a command of the page's worker."""
    page_session().handle(json.loads(command_json))
