"""Drive Firefox (WebDriver BiDi) and WebKit (WebDriver) in the same way."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from firefox_webkit import Programs
from websockets.sync.client import connect

WIDTH, HEIGHT = 1360, 900
TIMEOUT_S = 90      # for one expression, such as a boot or a training on a busy machine
START_S = 60        # for the start of a browser

Point = tuple[float, float]

# Firefox as on a fresh installation, without requests of its own.
FIREFOX_PREFERENCES = {
    "app.normandy.enabled": False, "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False, "browser.startup.homepage": "about:blank",
    "datareporting.policy.dataSubmissionEnabled": False, "network.captive-portal-service.enabled":
    False, "network.connectivity-service.enabled": False, "toolkit.telemetry.enabled": False,
    "browser.safebrowsing.update.enabled": False, "remote.prefs.recommended": True,
}


class DriverError(Exception):
    """The browser reports an error, for example a JavaScript exception."""


class Driver(Protocol):
    """A browser with one page."""

    name: str

    def open(self, url: str) -> None: ...
    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        ...
    def screenshot(self) -> bytes: ...
    def drag(self, points: Sequence[Point]) -> None:
        """Press the mouse at the first point, in pixels of the page, and release it at the last."""
        ...
    def close(self) -> None: ...


def pointer_actions(points: Sequence[Point]) -> list[dict]:
    """A drag as input actions, which are equal in WebDriver and in WebDriver BiDi."""
    moves = [{"type": "pointerMove", "x": round(x), "y": round(y), "duration": 50}
             for x, y in points]
    press, release = ({"type": f"pointer{what}", "button": 0} for what in ("Down", "Up"))
    return [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"},
             "actions": [moves[0], press, *moves[1:], release]}]


def wait_for_line(process: subprocess.Popen, pattern: str) -> str:
    """Read the output of a process until a line matches; returns the pattern's group."""
    assert process.stdout
    for line in process.stdout:
        match = re.search(pattern, line)
        if match: return match[1]
    raise DriverError(f"{process.args} ended with status {process.wait()} before it was ready")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end: raise DriverError(f"not within {seconds} seconds")
        time.sleep(0.1)


def stop_process(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout: process.stdout.close()


class Firefox:
    name = "firefox"

    def __init__(self, program: str, preferences: dict[str, object] | None = None):
        self._stack, self._ids = ExitStack(), count(1)
        profile = tempfile.mkdtemp(prefix="tensorbrook-firefox-")
        self._stack.callback(shutil.rmtree, profile, ignore_errors=True)
        prefs = FIREFOX_PREFERENCES | (preferences or {})
        (Path(profile) / "user.js").write_text("".join(
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in prefs.items()))
        process = subprocess.Popen(
            [program, "--headless", "--remote-debugging-port", "0", "--profile", profile,
             "--no-remote", f"--width={WIDTH}", f"--height={HEIGHT}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=os.environ | {"HOME": profile, "MOZ_HEADLESS": "1"})
        self._stack.callback(stop_process, process)
        url = wait_for_line(process, r"WebDriver BiDi listening on (ws://\S+)")
        self._socket = self._stack.enter_context(
            connect(f"{url}/session", max_size=None, open_timeout=START_S, close_timeout=2))
        self._call("session.new", capabilities={})
        tree = self._call("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]
        self._call("browsingContext.setViewport", context=self._context,
                   viewport={"width": WIDTH, "height": HEIGHT})
        self.open("about:blank")  # the first page of Firefox evaluates no scripts

    def _call(self, method: str, **params) -> dict:
        id = next(self._ids)
        self._socket.send(json.dumps({"id": id, "method": method, "params": params}))
        while True:
            reply = json.loads(self._socket.recv(TIMEOUT_S))
            if reply.get("id") != id: continue
            if reply["type"] == "error": raise DriverError(reply["message"])
            return reply["result"]

    def open(self, url: str) -> None:
        self._call("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        # As JSON, because BiDi describes each value of an object by its type.
        text = f"Promise.resolve({expression}).then((value) => JSON.stringify(value ?? null))"
        reply = self._call("script.evaluate", expression=text, awaitPromise=True,
                           target={"context": self._context})
        if reply["type"] == "exception": raise DriverError(reply["exceptionDetails"]["text"])
        return json.loads(reply["result"]["value"])

    def screenshot(self) -> bytes:
        reply = self._call("browsingContext.captureScreenshot", context=self._context)
        return base64.b64decode(reply["data"])

    def drag(self, points: Sequence[Point]) -> None:
        self._call("input.performActions", context=self._context, actions=pointer_actions(points))

    def close(self) -> None:
        self._stack.close()


class WebKit:
    """WebKitGTK's MiniBrowser on a virtual screen."""

    name = "webkit"

    def __init__(self, programs: Programs, environment: dict[str, str] | None = None):
        self._stack = ExitStack()
        display = self._start_screen(programs.xvfb)
        # A locale, because the browser's language is `C` without one; shared memory as in Safari.
        variables = {"DISPLAY": display, "LANG": "en_US.UTF-8", "JSC_useSharedArrayBuffer": "1"}
        if os.geteuid() == 0: variables["WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS"] = "1"
        home = tempfile.mkdtemp(prefix="tensorbrook-webkit-")
        self._stack.callback(shutil.rmtree, home, ignore_errors=True)
        variables |= {"HOME": home, **(environment or {})}
        self._start_driver(programs.webkit_driver, variables)
        options = {"binary": programs.webkit, "args": ["--automation"]}
        capabilities = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
        session = self._call("POST", "/session", {"capabilities": capabilities})
        self._session = f"/session/{session['sessionId']}"
        self._stack.callback(self._call, "DELETE", self._session)
        self._call("POST", f"{self._session}/timeouts", {"script": 1000 * TIMEOUT_S})
        self._call("POST", f"{self._session}/window/rect", {"width": WIDTH, "height": HEIGHT})

    def _start_screen(self, program: str) -> str:
        screen = subprocess.Popen(
            [program, "-displayfd", "1", "-screen", "0", "1600x1200x24", "-nolisten", "tcp"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._stack.callback(stop_process, screen)
        return ":" + wait_for_line(screen, r"^(\d+)$")

    def _start_driver(self, driver: str, variables: dict[str, str]) -> None:
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        process = subprocess.Popen([driver, f"--port={port}"], env=os.environ | variables,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._stack.callback(stop_process, process)
        wait_until(self._is_ready, START_S)

    def _is_ready(self) -> bool:
        try:
            return bool(self._call("GET", "/status"))
        except OSError:
            return False

    def _call(self, method: str, path: str, body: dict | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S + 10) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            with error: raise DriverError(json.load(error)["value"]["message"]) from None

    def open(self, url: str) -> None:
        self._call("POST", f"{self._session}/url", {"url": url})

    def evaluate(self, expression: str) -> Any:
        script = ("const done = arguments[0]; const failed = (error) => done({ error: String(error)"
                  " }); try { Promise.resolve(" + expression + ").then((value) => done({ value }),"
                  " failed); } catch (error) { failed(error); }")
        reply = self._call("POST", f"{self._session}/execute/async", {"script": script, "args": []})
        if "error" in reply: raise DriverError(reply["error"])
        return reply.get("value")

    def screenshot(self) -> bytes:
        return base64.b64decode(self._call("GET", f"{self._session}/screenshot"))

    def drag(self, points: Sequence[Point]) -> None:
        self._call("POST", f"{self._session}/actions", {"actions": pointer_actions(points)})

    def close(self) -> None:
        self._stack.close()
