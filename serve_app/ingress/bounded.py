"""A request's head, body and answer, each within its bounds of size and time.

Body and answer stand between the server and the application, and pass on what comes part by part.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.datastructures import Headers
from starlette.responses import StreamingResponse

from serve_app.errors import (
    BodyTooLargeError,
    HeadTooLargeError,
    OverloadedError,
    ServeError,
    SlowBodyError,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


_HEADER_SIGNS = len(": \r\n")


@dataclass(frozen=True, slots=True)
class BodyBounds:
    """Largest bodies of a route.

    Args:
        body_bytes: Of any kind but uploads.
        upload_bytes: Of ``multipart/form-data``.
        advice: What to do with more.
    """

    body_bytes: int = 2 * 2**20
    upload_bytes: int = 12 * 2**20
    advice: str = "Send less."


@dataclass(frozen=True, slots=True)
class GateRules:
    """Bounds of every request.

    Args:
        bodies: Largest bodies.
        bodies_of: The same for routes, by their path, that have bounds of their own.
        max_bodies_bytes: Bodies of all requests that are open, together.
        max_head_bytes: Address and headers.
        body_timeout_s: Longest wait for the next part of a body.
        whole_body_timeout_s: Longest wait for the whole of it.
        send_timeout_s: Longest wait for a client that reads nothing of its answer.
        max_open_requests: Requests open at once; health is not counted.
    """

    bodies: BodyBounds = BodyBounds()
    bodies_of: Mapping[str, BodyBounds] = field(default_factory=dict)
    max_bodies_bytes: int = 512 * 2**20
    max_head_bytes: int = 64 * 2**10
    body_timeout_s: float = 30.0
    whole_body_timeout_s: float = 120.0
    send_timeout_s: float = 300.0
    max_open_requests: int = 1_000


def check_head(scope: Scope, rules: GateRules) -> None:
    """Refuse a request by the size of its address and headers.

    Raises:
        HeadTooLargeError: They are too large.
    """
    address = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
    headers = scope["headers"]
    size = address + sum(len(name) + len(value) + _HEADER_SIGNS for name, value in headers)
    if size > rules.max_head_bytes:
        raise HeadTooLargeError(
            f"Address and headers have {size} bytes; they may have {rules.max_head_bytes}."
        )


class BodyRefusedError(Exception):
    """Stops who reads a body that was refused; the gate answers, whatever becomes of this."""


class Load:
    """Bytes of bodies that are being held, of all requests.

    Args:
        most: There may be.
    """

    def __init__(self, most: int) -> None:
        self._most, self.held_bytes = most, 0

    def add(self, size: int) -> bool:
        """Count so many more, unless they are too many; who holds them takes them off again."""
        if self.held_bytes + size > self._most:
            return False
        self.held_bytes += size
        return True


class Body:
    """A request's body within its bounds.

    Args:
        receive: The server's.
        headers: Of the request.
        bounds: Of this route.
        rules: Of every request.
        load: What all bodies take together; :meth:`drop` gives this one's part back.
        clock: Monotonic time, s.
    """

    def __init__(
        self,
        receive: Receive,
        headers: Headers,
        bounds: BodyBounds,
        *,
        rules: GateRules,
        load: Load,
        clock: Callable[[], float],
    ) -> None:
        upload = headers.get("content-type", "").startswith("multipart/form-data")
        self._receive, self._clock, self._load = receive, clock, load
        self._part_s = rules.body_timeout_s
        self._deadline_s = clock() + rules.whole_body_timeout_s
        self._most = bounds.upload_bytes if upload else bounds.body_bytes
        self._declared = headers.get("content-length", "")
        self._advice = bounds.advice
        self._read_bytes = 0
        self._whole = False
        self.refused: ServeError | None = None

    def check_length(self) -> None:
        """Refuse a body by its declared length.

        Raises:
            BodyTooLargeError: It is too large.
        """
        if self._declared.isdecimal() and int(self._declared) > self._most:
            raise self._too_large()

    async def receive(self) -> Message:
        """The next part of the body, and behind it the news that the client has left."""
        if self._whole:
            return await self._receive()
        wait_s = max(0.0, min(self._part_s, self._deadline_s - self._clock()))
        try:
            async with asyncio.timeout(wait_s):
                message = await self._receive()
        except TimeoutError:
            self.refused = SlowBodyError("The body did not come in time; send it faster.")
            raise BodyRefusedError from None
        size = len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._read_bytes + size > self._most:
            self.refused = self._too_large()
            raise BodyRefusedError
        if not self._load.add(size):
            self.refused = OverloadedError(
                "Too many large requests are being read here; send it again shortly."
            )
            raise BodyRefusedError
        self._read_bytes += size
        return message

    def drop(self) -> None:
        """Nobody holds it any longer."""
        self._load.held_bytes -= self._read_bytes
        self._read_bytes = 0

    def _too_large(self) -> BodyTooLargeError:
        return BodyTooLargeError(f"The body is larger than {self._most} bytes. {self._advice}")


class Closing(Protocol):
    """Something that ends when it is closed, once more or for the first time."""

    async def aclose(self) -> None:
        """End it."""
        ...


class ClosedStream(StreamingResponse):
    """A streamed answer that closes its body however it ends.

    Starlette drops the body of a client that has left; it would be closed by the garbage collector
    some time later, and until then the cards would go on.

    Args:
        content: The body.
        source: What the body reads. Closed too, since a body that was never begun, for a client
            that left before the first byte, closes nothing.
        more: As of Starlette's answer.
    """

    def __init__(
        self, content: AsyncGenerator[bytes, None], source: Closing | None = None, **more: Any
    ) -> None:
        super().__init__(content, **more)
        self._content, self._source = content, source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, then close its body."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._content.aclose()
            if self._source is not None:
                await self._source.aclose()


class CutOffError(Exception):
    """Breaks an answer that has begun: the connection is closed in mid-body, without an end.

    Not of our tree on purpose: no handler may try to answer a response that has started.
    """


class SlowReaderError(CutOffError):
    """Cuts off a client that reads nothing."""


class Answer:
    """Passes an answer on, unless the request's body was refused: then the gate answers."""

    def __init__(self, send: Send, body: Body, timeout_s: float) -> None:
        self._send, self._body, self._timeout_s = send, body, timeout_s
        self.begun = False

    async def send(self, message: Message) -> None:
        """Pass a part on.

        Raises:
            SlowReaderError: The client does not take it.
        """
        if self._body.refused is not None and not self.begun:
            return
        self.begun = True
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._send(message)
        except TimeoutError:
            raise SlowReaderError(f"the client read nothing for {self._timeout_s:g} s") from None
