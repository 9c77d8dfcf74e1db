"""The Studio's training session, driven as the page drives it: commands in, events out."""

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
    """A session, and what it has said."""

    def __init__(self, layers: list[dict] = SMALL, **settings: Any):
        self.events: list[dict[str, Any]] = []
        self.session = Session(lambda event: self.events.append(json.loads(json.dumps(event))))
        self.model(layers, **settings)

    def model(self, layers: list[dict], revision: int = 1, **settings: Any) -> dict[str, Any]:
        self.tell("model", layers=layers, revision=revision, settings=SETTINGS | settings)
        return self.events[-1]

    def tell(self, name: str, **arguments: Any) -> None:
        self.session.handle({"name": name, **arguments})

    def said(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["name"] == name]

    def last(self, name: str) -> dict[str, Any]:
        return self.said(name)[-1]

    def measured(self, which: str) -> list[dict[str, float]]:
        return [point for event in self.said("progress") for point in event[which]]

    def loss(self) -> float:
        """The training loss that was told last."""
        return self.measured("train")[-1]["loss"]

    async def until(self, holds: Callable[[], bool], seconds: float = 60) -> None:
        """Let the session work until something holds."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"not within {seconds} s; last {self.events[-1]}"
            await asyncio.sleep(0.001)

    async def train_until(self, holds: Callable[[], bool]) -> None:
        self.tell("train")
        await self.until(holds)
        self.tell("pause")


def played(scenario: Callable[[], Coroutine]) -> Any:
    """Run a scenario on a loop in a thread of its own: Playwright's loop may hold this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(scenario())).result()


# ── the model ──


def test_the_page_knows_the_starter_network_before_python_is_there():
    said = Driver(LAYERS).last("model")
    known = STARTER["model"]
    assert said["layers"] == known["reports"]
    assert (said["parameters"], said["trainable"]) == (known["parameters"], True)
    assert said["source"] == known["source"]


def test_the_sizes_are_those_of_the_built_network():
    driver = Driver(LAYERS)
    driver.tell("step")
    built = driver.session.trainer.model
    told = driver.last("model")["layers"]
    assert [each["parameters"] for each in told] == [one.count_params() for one in built.layers]
    assert driver.last("model")["parameters"] == built.count_params()


WRONG = {
    "an unknown layer": (
        [layer("Danse", units=10)], "there is no layer 'Danse'; use Conv2D"),
    "an unknown argument": (
        [layer("Dense", unit=10)], "Dense: there is no argument 'unit'; did you mean units?"),
    "an argument of a layer without any": (
        [layer("Flatten", axis=1)], "Flatten: there is no argument 'axis'; it takes none"),
    "a missing argument": ([layer("Dense")], "Dense: units is missing; it takes a whole number"),
    "no units": ([layer("Dense", units=0)], "Dense: units is 0; it takes a whole number from 1"),
    "half a filter": ([layer("Conv2D", filters=1.5, kernel_size=3)], "Conv2D: filters is 1.5;"),
    "a word for a number": ([layer("Dropout", rate="half")], "Dropout: rate is 'half'; it takes"),
    "a rate of all": ([layer("Dropout", rate=1)], "Dropout: rate is 1; it takes a number from 0"),
    "an unknown activation": (
        [layer("Dense", units=9, activation="rely")], "activation is 'rely'; it takes one of"),
    "a kernel larger than the picture": (
        [layer("Conv2D", filters=4, kernel_size=9)],
        "Conv2D: a window over 9 x 9 does not fit into an input of 8 x 8; use padding"),
    "a window larger than the picture": (
        [layer("MaxPooling2D", pool_size=9)],
        "MaxPooling2D: a window over 9 x 9 does not fit into an input of 8 x 8"),
    "a convolution of a row": (
        [layer("Flatten"), layer("Conv2D", filters=4, kernel_size=3)],
        "Conv2D: the input has shape (None, 64); it takes (batch, height, width, channels)"),
    "no flattening": (
        [layer("Dense", units=10)],
        "output: the last layer gives 8 × 8 × 10, not one number for each of 10 digits; "
        "end with Flatten and Dense of 10 units"),
    "nine digits": (
        [layer("Flatten"), layer("Dense", units=9)],
        "output: the last layer gives 9, not one number for each of 10 digits; "
        "end with Dense of 10 units"),
}


@pytest.mark.parametrize("layers, sentence", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_told_at_its_layer(layers, sentence):
    driver = Driver(layers)
    said = driver.last("model")
    assert not said["trainable"]
    assert sentence in said["layers"][len(layers) - 1]["error"]
    assert "\n" not in said["layers"][-1]["error"]
    driver.tell("train")
    assert driver.last("refused")["message"] == (
        "train: the layers do not fit together; mend the layer that is marked")


def test_after_a_wrong_layer_nothing_is_known():
    said = Driver([layer("Conv2D", filters=4, kernel_size=9), *SMALL]).last("model")
    assert [each["output_shape"] for each in said["layers"]] == [None, None, None]
    assert [bool(each["error"]) for each in said["layers"]] == [True, False, False]


def test_the_program_is_that_of_the_layers_even_where_they_do_not_fit():
    wrong = [layer("Conv2D", filters=4, kernel_size=9), layer("Dense", units=0)]
    said = Driver(wrong).last("model")
    assert "layers.Conv2D(4, 9),\n    layers.Dense(0),\n" in said["source"]


def test_no_layers_cannot_be_trained():
    assert not Driver([]).last("model")["trainable"]


@pytest.mark.parametrize("settings, sentence", [
    ({"learning_rate": 0}, "learning_rate: it is 0; it takes a number above 0, such as 0.001"),
    ({"learning_rate": "fast"}, "learning_rate: it is 'fast'; it takes a number above 0"),
    ({"batch_size": 0.5}, "batch_size: it is 0.5; it takes a whole number from 1"),
    ({"optimizer": "magic"}, "optimizer: there is no 'magic'; use adam or sgd"),
])
def test_settings_that_cannot_be_are_refused(settings, sentence):
    driver = Driver()
    driver.model(SMALL, **settings)
    assert sentence in driver.last("refused")["message"]


SOURCES = {
    "starter": (LAYERS, {}),
    "softmax": ([layer("MaxPooling2D", pool_size=2, strides=1, padding="same"), layer("Flatten"),
                 layer("Dense", units=10, activation="softmax")],
                {"optimizer": "sgd", "learning_rate": 0.5, "batch_size": 100}),
}


@pytest.mark.parametrize("layers, settings", SOURCES.values(), ids=SOURCES)
def test_the_source_is_a_program_that_trains(layers, settings):
    names: dict[str, Any] = {"__name__": "__main__"}
    source = Driver(layers, **settings).last("model")["source"]
    exec(compile(source, "main.py", "exec"), names)
    _, accuracy = names["model"].evaluate(names["x_test"], names["y_test"], verbose=0)
    assert accuracy > 0.8


# ── training ──


def test_the_starter_network_learns():
    async def scenario():
        driver = Driver(LAYERS)
        await driver.train_until(lambda: any(
            point["accuracy"] >= 0.98 for point in driver.measured("test")))
        return driver

    driver = played(scenario)
    told, train, test = driver.said("progress"), driver.measured("train"), driver.measured("test")
    assert [event["step"] for event in told] == sorted(event["step"] for event in told)
    assert all(event["running"] for event in told[:-1]) and not told[-1]["running"]
    assert any((event["samples_per_second"] or 0) > 0 for event in told)
    assert train[0]["loss"] > train[-1]["loss"]
    assert [point["epoch"] for point in train] == sorted(point["epoch"] for point in train)
    assert [point["epoch"] for point in test] == list(range(1, len(test) + 1))


def test_pause_really_pauses_and_train_goes_on():
    async def scenario():
        driver = Driver()
        await driver.train_until(lambda: bool(driver.said("progress")))
        paused = driver.last("progress")
        await asyncio.sleep(0.2)
        assert driver.last("progress") == paused
        assert driver.session.trainer.steps == paused["step"]
        await driver.train_until(lambda: driver.last("progress")["step"] > paused["step"])

    played(scenario)


def test_pause_and_train_at_once_leave_one_task():
    async def scenario():
        driver = Driver()
        for _ in range(3):
            driver.tell("train")
            driver.tell("pause")
        driver.tell("train")
        await driver.until(lambda: driver.said("progress")[-1]["running"])
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert others == {driver.session.task}
        driver.tell("pause")

    played(scenario)


def test_a_drawing_is_answered_while_training_goes_on():
    async def scenario():
        driver = Driver()
        driver.tell("train")
        await driver.until(lambda: bool(driver.said("progress")))
        driver.tell("predict", pixels=BLANK)
        assert driver.events[-1]["name"] == "prediction"
        assert driver.session.running
        before = len(driver.said("prediction"))
        await driver.until(lambda: len(driver.said("prediction")) > before + 2)
        driver.tell("predict", pixels=None)
        silent = len(driver.said("prediction"))
        told = len(driver.said("progress"))
        await driver.until(lambda: len(driver.said("progress")) > told + 1)
        assert len(driver.said("prediction")) == silent
        driver.tell("pause")

    played(scenario)


def test_training_yields_between_slices():
    async def scenario():
        driver = Driver()
        driver.tell("train")
        turns = 0
        while len(driver.said("progress")) < 3:  # no two of them come out of one slice
            await asyncio.sleep(0)
            turns += 1
        driver.tell("pause")
        assert turns >= 3

    played(scenario)


def test_a_step_is_one_batch():
    driver = Driver()
    for n in (1, 2, 3):
        driver.tell("step")
        told = driver.last("progress")
        assert (told["step"], told["running"]) == (n, False)
        assert math.isfinite(driver.loss())


def test_a_step_is_one_call_of_the_host():
    driver = Driver()
    driver.tell("step")
    trainer = driver.session.trainer
    with backends.on("wasm"):
        trainer.step()
        before = tf.config.get_counters()["host_calls"]
        for _ in range(5):
            trainer.step()
        assert tf.config.get_counters()["host_calls"] - before == 5


def test_an_epoch_ends_with_a_test_and_only_then():
    driver = Driver(batch_size=500)
    tested = []
    for _ in range(4):
        driver.tell("step")
        tested.append([point["epoch"] for point in driver.measured("test")])
    assert tested == [[], [1], [1], [1, 2]]


def test_reset_brings_the_first_weights_back():
    driver = Driver(LAYERS)
    driver.tell("predict", pixels=BLANK)
    driver.tell("step")
    first = driver.loss(), driver.last("prediction")["probabilities"]
    driver.tell("step")
    driver.tell("reset")
    told = driver.last("progress")
    assert (told["step"], told["epoch"], told["train"], told["test"]) == (0, 0, [], [])
    driver.tell("step")
    again = driver.loss(), driver.last("prediction")["probabilities"]
    assert again == first


def test_other_settings_keep_the_weights():
    driver = Driver()
    driver.tell("step")
    driver.tell("predict", pixels=BLANK)
    before = driver.last("prediction")["probabilities"]
    driver.model(SMALL, 2, learning_rate=0.5, batch_size=10, optimizer="sgd")
    driver.tell("predict", pixels=BLANK)
    assert driver.last("prediction")["probabilities"] == before
    driver.tell("step")
    assert driver.last("progress")["step"] == 2


def test_another_device_takes_the_weights_and_goes_on():
    driver, cpu = Driver(), Driver()
    for each in (driver, cpu):
        each.tell("step")
        each.tell("predict", pixels=BLANK)
    before = driver.last("prediction")["probabilities"]
    assert driver.last("progress")["device"] == "CPU"
    driver.tell("device", device="gpu")
    trainer = driver.session.trainer
    assert {v.device[-5:] for v in trainer.variables} == {"GPU:0"}
    assert driver.last("progress")["device"] == "GPU"
    driver.tell("predict", pixels=BLANK)
    assert driver.last("prediction")["probabilities"] == pytest.approx(before, abs=1e-6)
    for each in (driver, cpu):
        each.tell("step")
    assert driver.loss() == pytest.approx(cpu.loss(), abs=1e-5)
    driver.tell("device", device="cpu")
    assert driver.last("progress")["device"] == "CPU" and driver.session.trainer is trainer
    driver.tell("device", device="abacus")
    assert driver.last("refused")["message"] == ("device: there is no 'abacus'; it is one of "
                                                 "auto, cpu, gpu")


def test_a_device_is_chosen_before_there_is_anything_to_train():
    driver = Driver()
    driver.tell("device", device="gpu")
    assert driver.last("progress")["device"] == "GPU"
    driver.tell("step")
    assert driver.session.trainer.running_sums.device.endswith("GPU:0")
    driver.tell("device", device="auto")
    assert tf.config.get_backend() == "wasm"


def test_a_larger_batch_near_the_end_of_an_epoch_is_a_whole_one():
    driver = Driver(batch_size=64)
    for _ in range(20):
        driver.tell("step")
    driver.model(SMALL, 2, batch_size=500)
    driver.tell("step")
    assert driver.session.trainer.samples == 20 * 64 + 500
    epochs = [point["epoch"] for point in driver.measured("train")]
    assert epochs == sorted(epochs) and 1 < epochs[-1] < 2


def test_training_waits_while_a_script_runs():
    async def scenario():
        driver = Driver()
        await driver.train_until(lambda: bool(driver.said("progress")))
        script_runner.no_script_running.clear()
        driver.tell("train")
        steps = driver.session.trainer.steps
        await asyncio.sleep(0.1)
        assert driver.session.trainer.steps == steps
        script_runner.no_script_running.set()
        await driver.until(lambda: driver.session.trainer.steps > steps)
        driver.tell("pause")

    played(scenario)


def test_other_layers_are_another_network():
    async def scenario():
        driver = Driver()
        driver.tell("train")
        await driver.until(lambda: bool(driver.said("progress")))
        driver.model([layer("Flatten"), layer("Dense", units=8), layer("Dense", units=10)], 2)
        assert not driver.session.running
        driver.tell("step")
        assert driver.last("progress")["step"] == 1

    played(scenario)


def test_a_batch_larger_than_the_data_is_all_of_it():
    driver = Driver(batch_size=5000)
    driver.tell("step")
    assert driver.last("progress")["epoch"] == 1


# ── what goes wrong ──


@pytest.mark.parametrize("pixels, sentence", [
    ([0.0] * 63, "predict: 63 values came; a picture is 64 numbers in 0..1"),
    ("a seven", "predict: 'a seven' came; a picture is 64 numbers in 0..1"),
    (["dark"] + [0.0] * 63, "predict: cell 0 is 'dark'; each is a number in 0..1"),
    ([0.0] * 5 + [None] + [0.0] * 58, "predict: cell 5 is None; each is a number in 0..1"),
    ([0.0, math.nan] + [0.0] * 62, "predict: cell 1 is nan; each is a number in 0..1"),
    ([math.inf] + [0.0] * 63, "predict: cell 0 is inf; each is a number in 0..1"),
    ([True] + [0.0] * 63, "predict: cell 0 is True; each is a number in 0..1"),
])
def test_a_picture_that_is_none_is_refused(pixels, sentence):
    driver = Driver()
    driver.tell("predict", pixels=pixels)
    assert driver.last("refused") == {"name": "refused", "command": "predict", "message": sentence}
    driver.tell("predict", pixels=BLANK)
    assert sum(driver.last("prediction")["probabilities"]) == pytest.approx(1, abs=1e-5)


def test_a_loss_that_is_no_number_stops_training_and_a_lower_rate_mends_it():
    async def scenario():
        driver = Driver(LAYERS, learning_rate=1e30, optimizer="sgd")
        driver.tell("predict", pixels=BLANK)
        driver.tell("train")
        await driver.until(lambda: bool(driver.said("stopped")))
        assert not driver.session.running
        assert len(driver.said("stopped")) == 1
        assert "the loss is no number any more at step" in driver.last("stopped")["message"]
        assert "lower the learning rate from 1e+30" in driver.last("stopped")["message"]
        driver.model(LAYERS, 2)
        driver.tell("reset")
        driver.tell("step")
        assert math.isfinite(driver.loss())
        assert driver.last("prediction")

    played(scenario)


def test_a_network_too_large_for_memory_is_told_and_the_session_lives_on():
    driver = Driver([layer("Flatten"), layer("Dense", units=100_000_000), layer("Dense", units=10)])
    assert driver.last("model")["parameters"] == 65 * 100_000_000 + 100_000_001 * 10
    driver.tell("step")
    assert driver.last("stopped")["message"] == (
        "train: 7,500,000,010 parameters and a batch of 64 do not fit into memory; "
        "use fewer units or filters, or a smaller batch")
    driver.model(SMALL, 2)
    driver.tell("step")
    assert driver.last("progress")["step"] == 1


def test_every_layer_has_a_test_of_its_arguments():
    told = {spec["type"] for layers, _ in WRONG.values() for spec in layers}
    assert set(layer_specs.TYPES) <= told


def test_a_tape_that_a_script_left_open_is_closed_with_it(tmp_path, monkeypatch):
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
