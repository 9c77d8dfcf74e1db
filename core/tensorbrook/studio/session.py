"""The Studio's training session: commands come in as data, events go out as data.

It runs in the page's worker, and natively in the tests. Training is an asyncio task that works in
slices and yields between them, so that a pause or a drawing gets in within one slice.
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
from . import layer_specs, code_generation, script_runner
from .trainer import Data, Settings, Trainer, digits

SLICE_SECONDS = 0.025  # half of the 50 ms after which a wait is felt
POST_SECONDS = 1 / 15
RATE_SECONDS = 2.0  # how far back samples per second look
PIXELS = 64
DEVICES = {"auto": None, "cpu": "/CPU:0", "gpu": "/GPU:0"}

Event = dict[str, Any]


class Session:
    """One network, from its layers to its training. `post` receives every event."""

    def __init__(self, post: Callable[[Event], None]):
        self.send = post
        self.specs: list[layer_specs.LayerSpec] | None = None  # None where they do not fit
        self.settings: Settings | None = None
        self.trainer: Trainer | None = None
        self.measured: dict[str, list[Event]] = {"train": [], "test": []}  # since the last progress
        self.pixels: list[float] | None = None
        self.device_scope = tf.device(None)  # where all of this is computed
        self.task: asyncio.Task | None = None
        self.running = False
        self.posted = 0.0
        self.throughput_window: deque[tuple[float, int]] = deque()
        self.waiting: deque[tuple[str, Callable[[], None]]] = deque()
        self.working = False
        self.commands = {"model": self.set_model, "train": self.train, "pause": self.pause,
                         "step": self.step, "reset": self.reset, "predict": self.set_drawing,
                         "device": self.set_device}

    def handle(self, command: dict[str, Any]) -> None:
        """Carry out one command; what goes wrong becomes an event, never an exception."""
        name, arguments = command["name"], {k: v for k, v in command.items() if k != "name"}
        self.run_serialized(name, lambda: self.commands[name](**arguments))

    def run_serialized(self, name: str, work: Callable[[], None]) -> None:
        """Do it, after what is under way: Python may be set aside in the midst of a step, while it
        waits for a GPU, and hear of commands then."""
        self.waiting.append((name, work))
        if self.working:
            return
        self.working = True
        try:
            while self.waiting:
                self.execute(*self.waiting.popleft())
        finally:
            self.working = False

    def execute(self, name: str, work: Callable[[], None]) -> None:
        try:
            with self.device_scope:
                work()
        except MemoryError:
            self.stop(too_large(self.size(), self.settings))
            self.discard()
        except (OpError, ValueError, TypeError) as error:
            self.refuse(name, str(error))
        except Exception as error:  # a mistake of ours: the page must not think that training runs
            self.refuse(name, f"{name}: {error!r}; please report this")

    def refuse(self, name: str, message: str) -> None:
        if name == "train" and self.running:
            self.stop(message)
        else:
            self.send({"name": "refused", "command": name, "message": message})

    # ── commands ──

    def set_model(self, revision: int, layers: list[Any], settings: dict[str, Any]) -> None:
        """Other layers are another network; other settings alone keep its weights."""
        reports = layer_specs.report(layers)
        chosen = checked(settings)
        fits = bool(reports) and all(each.error is None for each in reports)
        specs = [layer_specs.parse(raw) for raw in layers] if fits else None
        if specs is None or specs != self.specs:
            self.discard()
        elif self.trainer and chosen != self.settings:
            self.trainer.apply_settings(chosen)
        self.specs, self.settings = specs, chosen
        self.send({"name": "model", "revision": revision, "layers": [asdict(r) for r in reports],
                   "parameters": sum(r.parameters for r in reports), "trainable": fits,
                   "source": code_generation.program(layer_specs.specs_as_entered(layers), chosen)})

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
        """One batch, when training does not run by itself."""
        if not self.running:
            trainer = self.require_trainer()
            self.one_step(trainer)
            self.read_results(trainer)
            self.progress()

    def reset(self) -> None:
        """New weights from the seed."""
        self.discard()
        self.progress()
        self.predict()

    def set_drawing(self, pixels: list[float] | None) -> None:
        """Predict this picture, now and after each progress; None where nothing is drawn."""
        self.pixels = None if pixels is None else picture(pixels)
        self.predict()

    def set_device(self, device: str) -> None:
        """Compute on that device from now on: the weights go there, and training goes on."""
        if device not in DEVICES:
            raise InvalidArgumentError("device", f"there is no {device!r}",
                                       f"it is one of {', '.join(DEVICES)}")
        self.device_scope = tf.device(DEVICES[device])
        if self.trainer is not None:
            with self.device_scope:
                self.trainer.move_to_current_device()
        self.progress()

    # ── training ──

    async def keep_training(self) -> None:
        """One slice after the other, until a pause; a later task takes over from an earlier one."""
        # A stop is for the script: it must not interrupt a slice while the script awaits something.
        await script_runner.no_script_running.wait()
        while self.running and self.task is asyncio.current_task():
            self.run_serialized("train", self.slice)
            await asyncio.sleep(0)
            await script_runner.no_script_running.wait()

    def slice(self) -> None:
        trainer = self.require_trainer()
        end = time.perf_counter() + SLICE_SECONDS
        while self.running and time.perf_counter() < end:
            self.one_step(trainer)
        self.read_results(trainer)
        if self.running and time.perf_counter() - self.posted >= POST_SECONDS:
            self.progress()
            self.predict()

    def one_step(self, trainer: Trainer) -> None:
        if trainer.step() and self.read_results(trainer):
            self.record("test", trainer, trainer.test())

    def read_results(self, trainer: Trainer) -> bool:
        """Read what the steps since the last reading came to; tells whether it is a number."""
        read = trainer.read_results()
        return read is None or self.record("train", trainer, read)

    def record(self, which: str, trainer: Trainer, figures: tuple[float, float]) -> bool:
        """Keep a measurement for the page; stop where the loss is no number any more."""
        loss, accuracy = figures
        if math.isfinite(loss):
            point = {"epoch": trainer.epoch, "loss": loss, "accuracy": accuracy}
            self.measured[which].append(point)
            return True
        self.stop(not_a_number(trainer.steps, self.settings))
        return False

    def require_trainer(self) -> Trainer:
        """The trainer of the present layers, made when it is first needed."""
        if self.specs is None or self.settings is None:
            raise InvalidArgumentError("train", "the layers do not fit together",
                                       "mend the layer that is marked")
        if self.trainer is None:
            self.trainer = Trainer(self.specs, self.settings, self.data())
        return self.trainer

    @staticmethod
    @cache
    def data() -> Data:
        return digits()

    def size(self) -> int:
        return sum(report.parameters for report in layer_specs.report(
            [asdict(spec) for spec in self.specs or ()]))

    def discard(self) -> None:
        """Let the trained network go, and its memory before the next one asks for some."""
        self.running, self.measured = False, {"train": [], "test": []}
        if self.trainer is not None:
            self.trainer = None
            gc.collect()  # its compiled steps and it hold each other

    def stop(self, message: str) -> None:
        self.pause()
        self.send({"name": "stopped", "message": message})

    # ── what the page is told ──

    def predict(self) -> None:
        if self.pixels is not None and self.specs is not None:
            probabilities = self.require_trainer().predict(self.pixels)
            # A network whose weights are no numbers any more has no opinion.
            if all(map(math.isfinite, probabilities)):
                self.send({"name": "prediction", "probabilities": probabilities})

    def progress(self) -> None:
        """Tell how far training is, and what was measured since this was told last."""
        self.posted = time.perf_counter()
        measured, self.measured = self.measured, {"train": [], "test": []}
        epoch, step = (self.trainer.epoch, self.trainer.steps) if self.trainer else (0, 0)
        self.send({"name": "progress", "running": self.running, "epoch": epoch, "step": step,
                   **measured, "samples_per_second": self.rate(), "device": self.device()})

    def device(self) -> str:
        """Where it trains: CPU or GPU."""
        if self.trainer is not None and self.trainer.steps:
            return "GPU" if "GPU" in self.trainer.running_sums.device else "CPU"
        with self.device_scope:
            return "GPU" if tf.config.get_backend() == BACKEND_FOR_DEVICE["GPU"] else "CPU"

    def rate(self) -> float | None:
        """Samples per second over the last seconds of training."""
        if not self.running or self.trainer is None:
            return None
        self.throughput_window.append((self.posted, self.trainer.samples))
        while self.posted - self.throughput_window[0][0] > RATE_SECONDS:
            self.throughput_window.popleft()
        (start, before), (end, now) = self.throughput_window[0], self.throughput_window[-1]
        return (now - before) / (end - start) if end > start else None


def picture(pixels: Any) -> list[float]:
    """64 finite numbers, or one sentence that says what came instead."""
    if not isinstance(pixels, list) or len(pixels) != PIXELS:
        came = f"{len(pixels)} values" if isinstance(pixels, list) else repr(pixels)
        raise InvalidArgumentError("predict", f"{came} came",
                                   f"a picture is {PIXELS} numbers in 0..1")
    for i, value in enumerate(pixels):
        if not layer_specs.is_number(value):
            raise InvalidArgumentError("predict", f"cell {i} is {value!r}",
                                       "each is a number in 0..1")
    return [float(value) for value in pixels]


def checked(settings: dict[str, Any]) -> Settings:
    """The settings, or one sentence about the first that cannot be."""
    chosen = Settings(**settings)
    if chosen.optimizer not in code_generation.OPTIMIZERS:
        raise InvalidArgumentError("optimizer", f"there is no {chosen.optimizer!r}",
                                   f"use {' or '.join(code_generation.OPTIMIZERS)}")
    if not layer_specs.is_number(chosen.learning_rate) or chosen.learning_rate <= 0:
        raise InvalidArgumentError("learning_rate", f"it is {chosen.learning_rate!r}",
                                   "it takes a number above 0, such as 0.001")
    for name in ("batch_size", "seed"):
        value, least = getattr(chosen, name), int(name == "batch_size")
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InvalidArgumentError(name, f"it is {value!r}",
                                       f"it takes a whole number from {least}")
    return chosen


def not_a_number(steps: int, settings: Settings | None) -> str:
    rate = settings.learning_rate if settings else 0
    return (f"train: the loss is no number any more at step {steps:,}; "
            f"lower the learning rate from {rate:g} and press Reset")


def too_large(parameters: int, settings: Settings | None) -> str:
    batch = settings.batch_size if settings else 0
    return (f"train: {parameters:,} parameters and a batch of {batch:,} do not fit into memory; "
            "use fewer units or filters, or a smaller batch")


@cache
def page_session() -> Session:
    """The one session of a page; only a page has `tensorbrook_page`, so it is found when needed."""
    page = importlib.import_module("tensorbrook_page")
    return Session(lambda event: page.post("session", json.dumps(event)))


def handle(command_json: str) -> None:
    """What the page's worker calls for each command."""
    page_session().handle(json.loads(command_json))
