"""A head that is too large, or never ends, stopped where it is read.

uvicorn listens with httptools wherever that is installed, and so do Ray Serve's proxies. httptools
keeps a head of any size, and one header costs time by its square: 50 MB of it hold up the event
loop of the process for 20 s. (h11, which is slower, stops at 64 KiB.) Nothing behind the server
can help: it hears of a request only when its head is complete. So the server itself reads a head
within bounds here: 431 beyond the size, 408 beyond the time, and the connection is closed.

Serve takes the server's part from uvicorn's choice "auto". :func:`install` changes that choice in
the process that calls it; Serve calls it in each of its proxies where the environment variable
``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`` names it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from starlette.middleware import Middleware
from starlette.responses import Response
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serve_app.errors import HeadTooLargeError, ServeError, SlowHeadError
from serve_app.ingress.problems import problem

MAX_HEAD_BYTES: Final = 64 * 2**10
"""Of what is read without a head or a part of a body having come of it."""
HEAD_TIMEOUT_S: Final = 30.0


class BoundedHead(HttpToolsProtocol):
    """uvicorn's protocol, which reads only so much of a head, and waits only so long for it.

    What comes in one read is parsed before it is counted, so that a head may pass the bound by a
    read (256 KiB); the gate holds it to the byte.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._unused_bytes = 0
        self._waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first head."""
        super().connection_made(transport)  # type: ignore[arg-type] # as uvicorn has it
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and count what nothing has come of yet."""
        self._unused_bytes += len(data)
        super().data_received(data)
        if self._unused_bytes > MAX_HEAD_BYTES:
            self._refuse(HeadTooLargeError(f"Address and headers may have {MAX_HEAD_BYTES} bytes."))

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        """It is there."""
        self._unused_bytes = 0
        self._wait_no_more()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """So is a part of the body."""
        self._unused_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """So is all of it."""
        self._unused_bytes = 0
        super().on_message_complete()

    def _wait(self) -> None:
        self._wait_no_more()
        late = SlowHeadError(f"Address and headers did not come within {HEAD_TIMEOUT_S:g} s.")
        self._waiting = self.loop.call_later(HEAD_TIMEOUT_S, self._refuse, late)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _refuse(self, error: ServeError) -> None:
        """Answer, unless another answer is on its way, and close the connection."""
        if self.transport.is_closing():
            return
        # To a connection that was opened in advance and never used, there is nothing to say.
        if self._unused_bytes and (self.cycle is None or self.cycle.response_complete):
            self.transport.write(as_bytes(problem(error)))
        self.transport.close()


def install() -> list[Middleware]:
    """Let servers of this process that take uvicorn's own choice read heads within bounds."""
    auto.AutoHTTPProtocol = BoundedHead
    return []


def as_bytes(response: Response) -> bytes:
    """A whole answer, as it is sent; the connection is closed behind it."""
    response.headers["connection"] = "close"
    head = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
    return STATUS_LINE[response.status_code] + head + b"\r\n" + bytes(response.body)
