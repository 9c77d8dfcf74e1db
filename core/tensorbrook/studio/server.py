"""Studio server: serves the built page on loopback, with the headers that enable threads."""

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
STOP_SECONDS = 1  # the time that `stop` waits for downloads in progress

# The first two make the page cross-origin isolated, which shared memory requires.
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

# The system's table of MIME types may lack these, or differ.
MIME_TYPES = {".css": "text/css", ".html": "text/html", ".snapshot": "application/octet-stream",
              ".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json",
              ".wasm": "application/wasm", ".whl": "application/zip", ".zip": "application/zip"}
for suffix, mime_type in MIME_TYPES.items():
    mimetypes.add_type(mime_type, suffix)


class Pages(StaticFiles):
    """Static files with the page's headers; only files with hashed names are cached."""

    async def get_response(self, path: str, scope) -> Response:
        response = await super().get_response(path, scope)
        is_hashed = Path(path).parts[:1] == ("assets",)
        cache_control = "public, max-age=31536000, immutable" if is_hashed else "no-cache"
        response.headers.update(HEADERS | {"Cache-Control": cache_control})
        return response


def application(static: Path = STATIC, routes: Sequence[BaseRoute] = ()) -> Starlette:
    """The application: `routes`, then the built page; it accepts loopback host names alone."""
    if not (static / "index.html").exists():
        raise FileNotFoundError(f"studio: there is no page in {static}; build it with "
                                "python build_scripts/build.py")
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    return Starlette(routes=[*routes, Mount("/", Pages(directory=static, html=True))],
                     middleware=[hosts])


class Server:
    """The application on a port of loopback (0: a free port), in a separate thread until `stop`."""

    def __init__(self, port: int = 0, routes: Sequence[BaseRoute] = ()):
        app = application(routes=routes)
        self.socket = listen(port)
        self.port: int = self.socket.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}/"
        config = uvicorn.Config(app, lifespan="off", ws="none", log_level="warning",
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
    """A listening socket, so that a browser can connect before the server accepts."""
    try:
        if not 0 <= port <= LAST_PORT: raise OSError(f"the last port is {LAST_PORT}")
        return socket.create_server((HOST, port))
    except OSError as error:
        raise OSError(f"studio: port {port} cannot be used ({error}); choose another with --port, "
                      "or 0 for a free port") from error


def serve(port: int | None = None, open_browser: bool = True) -> None:
    """Serve until Ctrl-C; without a port on the default port, or on a free port if it is in use."""
    with Server(default_or_free_port() if port is None else port) as server:
        print(f"Tensorbrook Studio: {server.url}", flush=True)
        if open_browser:
            webbrowser.open(server.url)
        wait(server.thread)


def default_or_free_port() -> int:
    """The default port, or 0 (any free port) if it is in use."""
    try:
        listen(PORT).close()
    except OSError:
        return 0
    return PORT


def wait(thread: threading.Thread) -> None:
    """Wait until the thread ends, or until SIGINT or SIGTERM."""
    # A shell starts background jobs with SIGINT ignored.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.default_int_handler)
    try:
        while thread.is_alive():
            thread.join(timeout=1)  # on Windows Ctrl-C does not interrupt an unbounded join
    except KeyboardInterrupt:
        print()


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--port", type=int, metavar="N",
                        help=f"the port to serve on, 0 for a free port (default: {PORT})")
    parser.add_argument("--no-browser", action="store_true", help="do not open the browser")


def main(args: Namespace) -> int:
    try:
        serve(args.port, not args.no_browser)
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
