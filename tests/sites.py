"""Fixtures that serve the built page, with and without the headers for cross-origin isolation."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator

import pytest
from starlette.responses import Response
from starlette.routing import Route

from tensorbrook.studio.server import HEADERS, STATIC, Server

BUILD_OUTPUTS = ("index.html", "run.html", "tensorbrook.whl", "pyodide/pyodide.mjs",
                 "engine/engine-threads.wasm")


@pytest.fixture(scope="session")
def page_build() -> None:
    """Require the outputs of a build."""
    missing = [name for name in BUILD_OUTPUTS if not (STATIC / name).exists()]
    assert not missing, f"{STATIC} lacks {missing}; run python build_scripts/build.py first"


@pytest.fixture(scope="session")
def site_url(page_build) -> Iterator[str]:
    """The site's URL on a server that sends the headers for cross-origin isolation."""
    with Server() as server:
        yield server.url


@pytest.fixture(scope="session")
def unisolated_url(page_build) -> Iterator[str]:
    """The site's URL on a server without the headers for cross-origin isolation."""
    handler = functools.partial(QuietHandler, directory=str(STATIC))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def answer_script(name: str, body: str, status: int = 200) -> Route:
    """A route for `Server` that answers the page's script of this name with another body."""
    (script,) = STATIC.glob(f"assets/{name}-*.js")
    response = Response(body, status, HEADERS, "text/javascript")
    return Route(f"/assets/{script.name}", lambda _: response)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map,
                      ".mjs": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, *_):
        """Log nothing."""
