"""HAProxy's part of a trace, told by the layer behind it.

Serve calls :func:`install` in each process that listens for HTTP, where the environment names it;
:mod:`serve_app.transport` does so behind HAProxy if anybody wants spans. What a client sends under
our header names is overwritten by HAProxy.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.middleware import Middleware

from serve_app.ingress import head
from serve_app.ingress.bounded import App, Message, Receive, Scope, Send
from serve_app.transport import ARRIVED, PARENT
from telemetry.proxied import Proxied


class ProxiedLayer:
    """An ASGI layer that tells of HAProxy's span when a request has been answered.

    Args:
        app: What is behind.
        wall: Unix time, s.
    """

    def __init__(self, app: App, wall: Callable[[], float] = time.time) -> None:
        self._app, self._wall = app, wall

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        arrived = headers.get(ARRIVED, "")
        if not arrived.isdecimal():
            await self._app(scope, receive, send)
            return
        status: int | None = None

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            method = str(scope["method"])
            proxied = Proxied(
                f"haproxy {method}",
                headers.get("traceparent", ""),
                headers.get(PARENT, ""),
                int(arrived),
            )
            attributes = {"http.request.method": method, "url.path": str(scope["path"])}
            proxied.tell(self._wall(), status, attributes)


def install() -> list[Middleware]:
    """As :func:`serve_app.ingress.head.install`, and the layer in front of everything."""
    return [*head.install(), Middleware(ProxiedLayer)]
