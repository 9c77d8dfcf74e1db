"""The training session of the Studio, driven by commands and observed through events."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import backends
import tensorbrook as tf
from tensorbrook import tensor
from tensorbrook.studio import layer_specs, script_runner
from tensorbrook.studio.session import Session

STARTER = json.loads(
    (Path(__file__).parent.parent / "web/studio/starter.json").read_text(encoding="utf-8"))
LAYERS, SETTINGS = STARTER["layers"], STARTER["settings"]
SMALL = [{"type": "Flatten", "args": {}}, {"type": "Dense", "args": {"units": 10}}]
BLANK = [0.0] * 64


def layer(type: str, **args: Any) -> dict[str, Any]:
    return {"type": type, "args": args}


class Driver:
    """A session with a record of its events."""

    def __init__(self, layers: list[dict] = SMALL, **settings: Any):
        self.events: list[dict[str, Any]] = []
        self.session = Session(lambda event: self.events.append(json.loads(json.dumps(event))))
        self.set_model(layers, **settings)

    def set_model(self, layers: list[dict], revision: int = 1, **settings: Any) -> dict[str, Any]:
        self.send("model", layers=layers, revision=revision, settings=SETTINGS | settings)
        return self.events[-1]

    def send(self, name: str, **arguments: Any) -> None:
        self.session.handle({"name": name, **arguments})

    def events_named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["name"] == name]

    def last(self, name: str) -> dict[str, Any]:
        return self.events_named(name)[-1]

    def points(self, curve: str) -> list[dict[str, float]]:
        """The points of the curve "train" or "test" in all progress events."""
        return [point for event in self.events_named("progress") for point in event[curve]]

    def loss(self) -> float:
        """The latest training loss."""
        return self.points("train")[-1]["loss"]

    async def wait_for(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Let the session run until the condition is true."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds} s; last {self.events[-1]}"
            await asyncio.sleep(0.001)

    async def train_until(self, condition: Callable[[], bool]) -> None:
        self.send("train")
        await self.wait_for(condition)
        self.send("pause")


def run_scenario(scenario: Callable[[], Coroutine]) -> Any:
    """Run a coroutine in a new thread: the event loop of Playwright may run in this thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(scenario())).result()


# ── the model ──


def test_the_page_has_the_reports_of_the_starter_network():
    event = Driver(LAYERS).last("model")
    expected = STARTER["model"]
    assert event["layers"] == expected["reports"]
    assert (event["parameters"], event["trainable"]) == (expected["parameters"], True)
    assert event["source"] == expected["source"]


def test_reported_sizes_are_those_of_the_built_network():
    driver = Driver(LAYERS)
    driver.send("step")
    model = driver.session.trainer.model
    reports = driver.last("model")["layers"]
    assert [r["parameters"] for r in reports] == [each.count_params() for each in model.layers]
    assert driver.last("model")["parameters"] == model.count_params()


INVALID_LAYERS = {
    "an unknown layer": (
        [layer("Danse", units=10)], "unknown layer 'Danse'; use Conv2D"),
    "an unknown argument": (
        [layer("Dense", unit=10)], "Dense: unknown argument 'unit'; did you mean units?"),
    "an argument of a layer without any": (
        [layer("Flatten", axis=1)], "Flatten: unknown argument 'axis'; the layer has no arguments"),
    "a missing argument": ([layer("Dense")], "Dense: units is missing; it must be a whole number"),
    "no units": ([layer("Dense", units=0)], "Dense: units is 0; it must be a whole number from 1"),
    "a fractional number of filters": (
        [layer("Conv2D", filters=1.5, kernel_size=3)], "Conv2D: filters is 1.5;"),
    "a string for a number": (
        [layer("Dropout", rate="half")], "Dropout: rate is 'half'; it must be"),
    "a dropout rate of 1": (
        [layer("Dropout", rate=1)], "Dropout: rate is 1; it must be a number from 0"),
    "an unknown activation": (
        [layer("Dense", units=9, activation="rely")], "activation is 'rely'; it must be one of"),
    "a kernel larger than the image": (
        [layer("Conv2D", filters=4, kernel_size=9)],
        "Conv2D: a window of 9 x 9 does not fit into an input of 8 x 8; use padding"),
    "a pooling window larger than the image": (
        [layer("MaxPooling2D", pool_size=9)],
        "MaxPooling2D: a window of 9 x 9 does not fit into an input of 8 x 8"),
    "a convolution after Flatten": (
        [layer("Flatten"), layer("Conv2D", filters=4, kernel_size=3)],
        "Conv2D: the input has shape (None, 64); it must be (batch, height, width, channels)"),
    "an output that is not flat": (
        [layer("Dense", units=10)],
        "output: the last layer has 8 × 8 × 10 outputs, not one for each of 10 digits; "
        "end with Flatten and Dense of 10 units"),
    "an output of 9 units": (
        [layer("Flatten"), layer("Dense", units=9)],
        "output: the last layer has 9 outputs, not one for each of 10 digits; "
        "end with Dense of 10 units"),
}


@pytest.mark.parametrize("layers, message", INVALID_LAYERS.values(), ids=INVALID_LAYERS)
def test_an_invalid_layer_has_an_error(layers, message):
    driver = Driver(layers)
    event = driver.last("model")
    assert not event["trainable"]
    assert message in event["layers"][len(layers) - 1]["error"]
    assert "\n" not in event["layers"][-1]["error"]
    driver.send("train")
    assert driver.last("refused")["message"] == (
        "train: the layers do not fit together; correct the marked layer")


def test_layers_after_an_invalid_layer_have_no_shape():
    event = Driver([layer("Conv2D", filters=4, kernel_size=9), *SMALL]).last("model")
    assert [report["output_shape"] for report in event["layers"]] == [None, None, None]
    assert [bool(report["error"]) for report in event["layers"]] == [True, False, False]


def test_invalid_layers_have_source_code():
    layers = [layer("Conv2D", filters=4, kernel_size=9), layer("Dense", units=0)]
    event = Driver(layers).last("model")
    assert "layers.Conv2D(4, 9),\n    layers.Dense(0),\n" in event["source"]


def test_a_model_without_layers_is_not_trainable():
    assert not Driver([]).last("model")["trainable"]


@pytest.mark.parametrize("settings, message", [
    ({"learning_rate": 0}, "learning_rate: it is 0; it must be a number above 0, such as 0.001"),
    ({"learning_rate": "fast"}, "learning_rate: it is 'fast'; it must be a number above 0"),
    ({"batch_size": 0.5}, "batch_size: it is 0.5; it must be a whole number of at least 1"),
    ({"optimizer": "magic"}, "optimizer: unknown optimizer 'magic'; use adam or sgd"),
])
def test_invalid_settings_are_refused(settings, message):
    driver = Driver()
    driver.set_model(SMALL, **settings)
    assert message in driver.last("refused")["message"]


SOURCES = {
    "starter": (LAYERS, {}),
    "softmax": ([layer("MaxPooling2D", pool_size=2, strides=1, padding="same"), layer("Flatten"),
                 layer("Dense", units=10, activation="softmax")],
                {"optimizer": "sgd", "learning_rate": 0.5, "batch_size": 100}),
}


@pytest.mark.parametrize("layers, settings", SOURCES.values(), ids=SOURCES)
def test_the_source_code_trains(layers, settings):
    namespace: dict[str, Any] = {"__name__": "__main__"}
    source = Driver(layers, **settings).last("model")["source"]
    exec(compile(source, "main.py", "exec"), namespace)
    x, y = namespace["x_test"], namespace["y_test"]
    _, accuracy = namespace["model"].evaluate(x, y, verbose=0)
    assert accuracy > 0.8


# ── training ──


def test_the_starter_network_learns():
    async def scenario():
        driver = Driver(LAYERS)
        await driver.train_until(lambda: any(
            point["accuracy"] >= 0.98 for point in driver.points("test")))
        return driver

    driver = run_scenario(scenario)
    events, train, test = (
        driver.events_named("progress"), driver.points("train"), driver.points("test"))
    assert [event["step"] for event in events] == sorted(event["step"] for event in events)
    assert all(event["running"] for event in events[:-1]) and not events[-1]["running"]
    assert any((event["samples_per_second"] or 0) > 0 for event in events)
    assert train[0]["loss"] > train[-1]["loss"]
    assert [point["epoch"] for point in train] == sorted(point["epoch"] for point in train)
    assert [point["epoch"] for point in test] == list(range(1, len(test) + 1))


def test_training_pauses_and_continues():
    async def scenario():
        driver = Driver()
        await driver.train_until(lambda: bool(driver.events_named("progress")))
        paused = driver.last("progress")
        await asyncio.sleep(0.2)
        assert driver.last("progress") == paused
        assert driver.session.trainer.steps == paused["step"]
        await driver.train_until(lambda: driver.last("progress")["step"] > paused["step"])

    run_scenario(scenario)


def test_repeated_pause_and_train_leave_one_task():
    async def scenario():
        driver = Driver()
        for _ in range(3):
            driver.send("train")
            driver.send("pause")
        driver.send("train")
        await driver.wait_for(lambda: driver.events_named("progress")[-1]["running"])
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert others == {driver.session.task}
        driver.send("pause")

    run_scenario(scenario)


def test_a_drawing_is_predicted_during_training():
    async def scenario():
        driver = Driver()
        driver.send("train")
        await driver.wait_for(lambda: bool(driver.events_named("progress")))
        driver.send("predict", pixels=BLANK)
        assert driver.events[-1]["name"] == "prediction"
        assert driver.session.running
        predictions = len(driver.events_named("prediction"))
        await driver.wait_for(lambda: len(driver.events_named("prediction")) > predictions + 2)
        driver.send("predict", pixels=None)
        predictions = len(driver.events_named("prediction"))
        progress = len(driver.events_named("progress"))
        await driver.wait_for(lambda: len(driver.events_named("progress")) > progress + 1)
        assert len(driver.events_named("prediction")) == predictions
        driver.send("pause")

    run_scenario(scenario)


def test_training_yields_between_slices():
    async def scenario():
        driver = Driver()
        driver.send("train")
        yields = 0
        while len(driver.events_named("progress")) < 3:  # a slice has at most one progress event
            await asyncio.sleep(0)
            yields += 1
        driver.send("pause")
        assert yields >= 3

    run_scenario(scenario)


def test_a_step_is_one_batch():
    driver = Driver()
    for n in (1, 2, 3):
        driver.send("step")
        event = driver.last("progress")
        assert (event["step"], event["running"]) == (n, False)
        assert math.isfinite(driver.loss())


def test_a_step_is_one_host_call():
    driver = Driver()
    driver.send("step")
    trainer = driver.session.trainer
    with backends.on("wasm"):
        trainer.step()
        before = tf.config.get_counters()["host_calls"]
        for _ in range(5):
            trainer.step()
        assert tf.config.get_counters()["host_calls"] - before == 5


def test_every_epoch_ends_with_an_evaluation():
    driver = Driver(batch_size=500)
    test_epochs = []
    for _ in range(4):
        driver.send("step")
        test_epochs.append([point["epoch"] for point in driver.points("test")])
    assert test_epochs == [[], [1], [1], [1, 2]]


def test_reset_restores_the_initial_weights():
    driver = Driver(LAYERS)
    driver.send("predict", pixels=BLANK)
    driver.send("step")
    first = driver.loss(), driver.last("prediction")["probabilities"]
    driver.send("step")
    driver.send("reset")
    event = driver.last("progress")
    assert (event["step"], event["epoch"], event["train"], event["test"]) == (0, 0, [], [])
    driver.send("step")
    second = driver.loss(), driver.last("prediction")["probabilities"]
    assert second == first


def test_new_settings_keep_the_weights():
    driver = Driver()
    driver.send("step")
    driver.send("predict", pixels=BLANK)
    before = driver.last("prediction")["probabilities"]
    driver.set_model(SMALL, 2, learning_rate=0.5, batch_size=10, optimizer="sgd")
    driver.send("predict", pixels=BLANK)
    assert driver.last("prediction")["probabilities"] == before
    driver.send("step")
    assert driver.last("progress")["step"] == 2


def test_training_continues_on_another_device():
    driver, cpu_driver = Driver(), Driver()
    for each in (driver, cpu_driver):
        each.send("step")
        each.send("predict", pixels=BLANK)
    before = driver.last("prediction")["probabilities"]
    assert driver.last("progress")["device"] == "CPU"
    driver.send("device", device="gpu")
    trainer = driver.session.trainer
    assert {v.device[-5:] for v in trainer.variables} == {"GPU:0"}
    assert driver.last("progress")["device"] == "GPU"
    driver.send("predict", pixels=BLANK)
    assert driver.last("prediction")["probabilities"] == pytest.approx(before, abs=1e-6)
    for each in (driver, cpu_driver):
        each.send("step")
    assert driver.loss() == pytest.approx(cpu_driver.loss(), abs=1e-5)
    driver.send("device", device="cpu")
    assert driver.last("progress")["device"] == "CPU" and driver.session.trainer is trainer
    driver.send("device", device="abacus")
    assert driver.last("refused")["message"] == ("device: unknown device 'abacus'; use one of "
                                                 "auto, cpu, gpu")


def test_a_device_can_be_set_before_training():
    driver = Driver()
    driver.send("device", device="gpu")
    assert driver.last("progress")["device"] == "GPU"
    driver.send("step")
    assert driver.session.trainer.running_sums.device.endswith("GPU:0")
    driver.send("device", device="auto")
    assert tf.config.get_backend() == "wasm"


def test_a_larger_batch_at_the_end_of_an_epoch_is_complete():
    driver = Driver(batch_size=64)
    for _ in range(20):
        driver.send("step")
    driver.set_model(SMALL, 2, batch_size=500)
    driver.send("step")
    assert driver.session.trainer.samples == 20 * 64 + 500
    epochs = [point["epoch"] for point in driver.points("train")]
    assert epochs == sorted(epochs) and 1 < epochs[-1] < 2


def test_training_waits_while_a_script_runs():
    async def scenario():
        driver = Driver()
        await driver.train_until(lambda: bool(driver.events_named("progress")))
        script_runner.no_script_running.clear()
        driver.send("train")
        steps = driver.session.trainer.steps
        await asyncio.sleep(0.1)
        assert driver.session.trainer.steps == steps
        script_runner.no_script_running.set()
        await driver.wait_for(lambda: driver.session.trainer.steps > steps)
        driver.send("pause")

    run_scenario(scenario)


def test_new_layers_reset_training():
    async def scenario():
        driver = Driver()
        driver.send("train")
        await driver.wait_for(lambda: bool(driver.events_named("progress")))
        driver.set_model([layer("Flatten"), layer("Dense", units=8), layer("Dense", units=10)], 2)
        assert not driver.session.running
        driver.send("step")
        assert driver.last("progress")["step"] == 1

    run_scenario(scenario)


def test_a_batch_larger_than_the_data_has_all_samples():
    driver = Driver(batch_size=5000)
    driver.send("step")
    assert driver.last("progress")["epoch"] == 1


# ── errors ──


@pytest.mark.parametrize("pixels, message", [
    ([0.0] * 63, "predict: the picture is 63 values; it must be 64 numbers in 0..1"),
    ("a seven", "predict: the picture is 'a seven'; it must be 64 numbers in 0..1"),
    (["dark"] + [0.0] * 63, "predict: pixel 0 is 'dark'; it must be a number in 0..1"),
    ([0.0] * 5 + [None] + [0.0] * 58, "predict: pixel 5 is None; it must be a number in 0..1"),
    ([0.0, math.nan] + [0.0] * 62, "predict: pixel 1 is nan; it must be a number in 0..1"),
    ([math.inf] + [0.0] * 63, "predict: pixel 0 is inf; it must be a number in 0..1"),
    ([True] + [0.0] * 63, "predict: pixel 0 is True; it must be a number in 0..1"),
])
def test_invalid_pixels_are_refused(pixels, message):
    driver = Driver()
    driver.send("predict", pixels=pixels)
    assert driver.last("refused") == {
        "name": "refused", "command": "predict", "message": message}
    driver.send("predict", pixels=BLANK)
    assert sum(driver.last("prediction")["probabilities"]) == pytest.approx(1, abs=1e-5)


def test_a_loss_that_is_not_finite_stops_training():
    async def scenario():
        driver = Driver(LAYERS, learning_rate=1e30, optimizer="sgd")
        driver.send("predict", pixels=BLANK)
        driver.send("train")
        await driver.wait_for(lambda: bool(driver.events_named("stopped")))
        assert not driver.session.running
        assert len(driver.events_named("stopped")) == 1
        assert "the loss is not a finite number at step" in driver.last("stopped")["message"]
        assert "lower the learning rate from 1e+30" in driver.last("stopped")["message"]
        driver.set_model(LAYERS, 2)
        driver.send("reset")
        driver.send("step")
        assert math.isfinite(driver.loss())
        assert driver.last("prediction")

    run_scenario(scenario)


def test_the_session_is_usable_after_running_out_of_memory():
    driver = Driver([layer("Flatten"), layer("Dense", units=100_000_000), layer("Dense", units=10)])
    assert driver.last("model")["parameters"] == 65 * 100_000_000 + 100_000_001 * 10
    driver.send("step")
    assert driver.last("stopped")["message"] == (
        "train: 7,500,000,010 parameters and a batch of 64 do not fit into memory; "
        "use fewer units or filters, or a smaller batch")
    driver.set_model(SMALL, 2)
    driver.send("step")
    assert driver.last("progress")["step"] == 1


def test_every_layer_type_has_a_case_with_invalid_arguments():
    tested = {spec["type"] for layers, _ in INVALID_LAYERS.values() for spec in layers}
    assert set(layer_specs.TYPES) <= tested


def test_contexts_that_a_script_leaves_open_are_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(script_runner, "PATH", list(sys.path))
    for name in ("argv", "path"):
        monkeypatch.setattr(sys, name, list(getattr(sys, name)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    path = tmp_path / "left_open.py"
    path.write_text("import tensorbrook as tf\ntf.GradientTape().__enter__()\n"
                    "tf.init_scope().__enter__()\nraise KeyboardInterrupt\n", encoding="utf-8")
    assert script_runner.run(str(path), "left_open.py", [])[1] == script_runner.STOPPED
    assert len(tensor.context_stack()) == 1 and not tensor.active_tapes()
