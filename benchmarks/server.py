"""The built page and the benchmark's own on one port of loopback, counting what is sent."""

from __future__ import annotations

import threading

import uvicorn
from starlette.routing import Mount

from tensorbrook.studio.server import HOST, Pages, application, listen

from .page_build import BUILT


class Counted:
    """An application whose answers' bytes are counted, by path."""

    def __init__(self, inner):
        self.inner = inner
        self.sent: dict[str, int] = {}

    async def __call__(self, scope, receive, send):
        async def counting(message):
            size = len(message.get("body", b""))
            if size:
                self.sent[scope["path"]] = self.sent.get(scope["path"], 0) + size
            await send(message)
        await self.inner(scope, receive, counting)


class Site:
    """Serves until the `with` ends."""

    def __init__(self):
        routes = [Mount("/benchmarks", Pages(directory=BUILT, html=True))] if BUILT.exists() else []
        self.counted = Counted(application(routes=routes))
        self.socket = listen(0)
        self.url = f"http://{HOST}:{self.socket.getsockname()[1]}/"
        self.server = uvicorn.Server(uvicorn.Config(
            self.counted, lifespan="off", ws="none", log_level="warning", access_log=False,
            timeout_graceful_shutdown=1))
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)

    def __enter__(self) -> Site:
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()
