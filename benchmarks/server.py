"""Server of the built page and of the benchmark page on one loopback port; counts bytes sent."""

from __future__ import annotations

import threading

import uvicorn
from starlette.routing import Mount

from tensorbrook.studio.server import HOST, Pages, application, listen

from .page_build import BUILT


class ByteCounter:
    """ASGI middleware that counts the bytes of the response bodies, by path."""

    def __init__(self, inner):
        self.inner = inner
        self.sent: dict[str, int] = {}

    async def __call__(self, scope, receive, send):
        async def send_and_count(message):
            size = len(message.get("body", b""))
            if size:
                self.sent[scope["path"]] = self.sent.get(scope["path"], 0) + size
            await send(message)
        await self.inner(scope, receive, send_and_count)


class Site:
    """A running server, for the duration of a `with` block."""

    def __init__(self):
        routes = [Mount("/benchmarks", Pages(directory=BUILT, html=True))] if BUILT.exists() else []
        self.counter = ByteCounter(application(routes=routes))
        self.socket = listen(0)
        self.url = f"http://{HOST}:{self.socket.getsockname()[1]}/"
        self.server = uvicorn.Server(uvicorn.Config(
            self.counter, lifespan="off", ws="none", log_level="warning", access_log=False,
            timeout_graceful_shutdown=1))
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)

    def __enter__(self) -> Site:
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()
