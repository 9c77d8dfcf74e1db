"""Serve the built page on loopback, with the headers that let it use threads."""

from __future__ import annotations

import mimetypes
import signal
import socket
import sys
import threading
import webbrowser
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"
HOST = "127.0.0.1"
PORT, LAST_PORT = 8470, 65535
STOP_SECONDS = 1  # how long a download that is under way may hold up the end

# With the first two a page is cross-origin isolated, and only then has it shared memory.
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

# A system's own table may lack these, or have other ideas.
TYPES = {".css": "text/css", ".html": "text/html", ".snapshot": "application/octet-stream",
         ".js": "text/javascript",
         ".mjs": "text/javascript", ".json": "application/json", ".wasm": "application/wasm",
         ".whl": "application/zip", ".zip": "application/zip"}
for suffix, kind in TYPES.items():
    mimetypes.add_type(kind, suffix)


class Pages(StaticFiles):
    """Static files with the page's headers; all but hashed names are asked for again each time."""

    async def get_response(self, path: str, scope) -> Response:
        response = await super().get_response(path, scope)
        hashed = Path(path).parts[:1] == ("assets",)
        age = "public, max-age=31536000, immutable" if hashed else "no-cache"
        response.headers.update(HEADERS | {"Cache-Control": age})
        return response


def application(static: Path = STATIC, routes: Sequence[BaseRoute] = ()) -> Starlette:
    """The site: some routes first, then the built page; only loopback's own names reach it."""
    if not (static / "index.html").exists():
        raise FileNotFoundError(f"studio: there is no page in {static}; build it with "
                                "python build_scripts/build.py")
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    return Starlette(routes=[*routes, Mount("/", Pages(directory=static, html=True))],
                     middleware=[hosts])


class Server:
    """The site on a port of loopback (0: a free one), from a thread of its own until `stop`."""

    def __init__(self, port: int = 0, routes: Sequence[BaseRoute] = ()):
        site = application(routes=routes)
        self.socket = listen(port)
        self.port: int = self.socket.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}/"
        config = uvicorn.Config(site, lifespan="off", ws="none", log_level="warning",
                                access_log=False, timeout_graceful_shutdown=STOP_SECONDS)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exception) -> None:
        self.stop()


def listen(port: int) -> socket.socket:
    """A socket that already takes connections, so that a browser may come before the server."""
    try:
        if not 0 <= port <= LAST_PORT: raise OSError(f"ports end at {LAST_PORT}")
        return socket.create_server((HOST, port))
    except OSError as error:
        raise OSError(f"studio: port {port} cannot be used ({error}); choose another with --port, "
                      "or 0 for a free one") from error


def serve(port: int | None = None, open_browser: bool = True) -> None:
    """Serve until Ctrl-C. Without a port the usual one, or a free one where that is taken."""
    with Server(usual_or_free() if port is None else port) as server:
        print(f"Tensorbrook Studio: {server.url}", flush=True)
        if open_browser:
            webbrowser.open(server.url)
        wait(server.thread)


def usual_or_free() -> int:
    try:
        listen(PORT).close()
    except OSError:
        return 0
    return PORT


def wait(thread: threading.Thread) -> None:
    """Until the thread ends, or somebody presses Ctrl-C or ends the process."""
    # A shell's background job is started deaf to Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        while thread.is_alive():
            thread.join(timeout=1)  # a join without end would not hear Ctrl-C on Windows
    except KeyboardInterrupt:
        print()


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--port", type=int, metavar="N",
                        help=f"the port to serve on; 0 picks a free one (default: {PORT})")
    parser.add_argument("--no-browser", action="store_true", help="only serve")


def main(args: Namespace) -> int:
    try:
        serve(args.port, not args.no_browser)
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
