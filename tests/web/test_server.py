"""The page's server: its headers and content types, and the two commands that start it."""

import http.client
import re
import signal
import subprocess
import sys

import pytest

import environment
from tensorbrook.studio.server import HEADERS, Server

TYPES = {"/": "text/html", "/run.html": "text/html", "/pyodide/pyodide.mjs": "text/javascript",
         "/pyodide/pyodide.asm.wasm": "application/wasm",
         "/pyodide/python_stdlib.zip": "application/zip",
         "/pyodide/pyodide-lock.json": "application/json",
         "/engine/engine-threads.wasm": "application/wasm", "/tensorbrook.whl": "application/zip"}


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


def get(port: int, path: str, **headers: str) -> http.client.HTTPResponse:
    """Send a request and return the response, its body already read."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


@pytest.mark.parametrize("path", TYPES)
def test_types_and_headers(server, path):
    response = get(server.port, path)
    assert response.status == 200
    assert response.headers.get_content_type() == TYPES[path]
    assert {name: response.headers[name] for name in HEADERS} == HEADERS
    assert response.headers["Cache-Control"] == "no-cache"


def test_unchanged_files_are_not_sent_again(server):
    tag = get(server.port, "/pyodide/pyodide.asm.wasm").headers["ETag"]
    again = get(server.port, "/pyodide/pyodide.asm.wasm", If_None_Match=tag)
    assert (again.status, again.headers["ETag"]) == (304, tag)
    assert again.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


def test_files_with_a_hash_in_their_name_are_cached(server):
    page = (environment.ROOT / "core/tensorbrook/studio/static/index.html").read_text()
    script = re.search(r'src="\.(/assets/[^"]+\.js)"', page).group(1)
    assert get(server.port, script).headers["Cache-Control"].endswith("immutable")


@pytest.mark.parametrize("path", ["/no-such-file", "/../server.py", "/%2e%2e/server.py"])
def test_only_the_site_is_served(server, path):
    assert get(server.port, path).status == 404


def test_another_host_name_is_refused(server):
    assert get(server.port, "/", Host="example.org").status == 400


def start(*command: str) -> tuple[subprocess.Popen[str], list[str]]:
    """Start a server process; returns it with the lines that it printed up to its URL."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Tensorbrook Studio: "): break
    return process, lines


SCRIPT = str(environment.ROOT / "build_scripts" / "studio.py")
SERVE = ["--port", "0", "--no-browser"]


@pytest.mark.parametrize("command", [[SCRIPT], ["-m", "tensorbrook", "studio"]],
                         ids=["studio.py", "tensorbrook studio"])
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_serving_until_ctrl_c(command, ending):
    process, lines = start(*command, *SERVE)
    with process:
        port = int(re.fullmatch(r"Tensorbrook Studio: http://127.0.0.1:(\d+)/\n", lines[-1])[1])
        assert get(port, "/").status == 200
        process.send_signal(ending)
        rest, _ = process.communicate(timeout=20)
    assert (process.returncode, rest.strip()) == (0, ""), "".join(lines) + rest


def start_and_terminate() -> list[str]:
    """Start a server, terminate it at once, and return its output lines."""
    process, lines = start(SCRIPT, *SERVE)
    with process:
        process.terminate()
        process.communicate(timeout=20)
    return lines


def test_a_second_start_builds_nothing():
    start_and_terminate()
    lines = start_and_terminate()
    stages = [line.split("  ")[0] for line in lines if line.endswith("up to date\n")]
    assert stages == ["engine", "npm packages", "page", "page/pyodide", "page/engine",
                      "page/notices", "page wheel", "page/snapshot"]
    assert len(lines) == len(stages) + 1, "".join(lines)


def test_the_error_of_a_port_in_use(server):
    process = subprocess.run(
        [sys.executable, "-m", "tensorbrook", "studio", "--no-browser", "--port", str(server.port)],
        capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert process.stderr.startswith(f"studio: port {server.port} cannot be used")
    assert process.stderr.endswith("or 0 for a free port\n")
