"""An ASGI application behind a real socket, in a thread of the test's process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

_START_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Served:
    """Where it listens."""

    url: str
    port: int


class _Server(uvicorn.Server):
    """Says when it listens, and leaves the process' signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@contextmanager
def serving(make_app: Callable[[str], Any], port: int = 0) -> Iterator[Served]:
    """Serve the application that is made for a URL, on a free port or on one that was free."""
    listener = socket.create_server(("127.0.0.1", port))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = make_app(url)
    config = uvicorn.Config(
        app, log_level="warning", lifespan="on", timeout_graceful_shutdown=1, ws="none"
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="test-server")
    thread.start()
    try:
        assert server.listening.wait(_START_TIMEOUT_S), "the server did not start"
        yield Served(url, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(_START_TIMEOUT_S)
        listener.close()
