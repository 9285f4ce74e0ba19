"""The gate before all routes: who calls, how much of it, and how large a request may be.

A plain ASGI layer, so that bodies and answers stream through it untouched. In this order:

1. A process that drains answers 503 to everything but its health, one with too many requests open
   429. A head (address and headers) beyond its bound is 431; what the server does with one that
   never ends is told in :mod:`serve_app.ingress.head`.
2. Where it comes from: pages of other origins change nothing (:mod:`serve_app.ingress.crossing`).
3. The key: ``Authorization: Bearer KEY``. Pages take it as the password of HTTP Basic too, which is
   how a browser asks a person for it. Health, the icon and the API's description need none. What
   concerns all users (:data:`ADMIN_PATHS`) needs an admin's key.
4. The key's requests a minute and streams at once; its characters are counted by the routes, which
   find the caller with :func:`caller_of`.
5. The body: refused by its type and its declared length, else while it is read, when it does not
   come, and when all bodies together would be too much to hold.
6. The answer: a client that reads nothing is cut off after a while, so that it holds no stream.

Refusals have OpenAI's shape. Neither keys nor bodies are logged.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from serve_app.core.backlog import Turnover
from serve_app.core.limits import KeyLimits, KeyUsage, Refusal
from serve_app.errors import (
    BodyTooLargeError,
    DrainingError,
    ForbiddenError,
    HeadTooLargeError,
    OverloadedError,
    RateLimitedError,
    ServeError,
    UnauthorizedError,
)
from serve_app.ingress.bounded import (
    Answer,
    App,
    Body,
    BodyRefusedError,
    CutOffError,
    GateRules,
    Load,
    Message,
    Receive,
    Scope,
    Send,
    check_head,
)
from serve_app.ingress.crossing import check_site, check_type
from serve_app.ingress.problems import bug, problem
from serve_app.ingress.service import Drain
from serve_app.keys import ApiKey

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/favicon.ico", "/openapi.json"})
HEALTH_PATHS: Final = frozenset({"/healthz", "/readyz"})
ADMIN_PATHS: Final = ("/get_metrics", "/get_history", "/metrics", "/monitor", "/report")
STREAM_PATHS: Final = frozenset({"/v1/audio/speech", "/v1/audio/dialogue"})
"""Asked with POST, these answer with a stream."""
_HEARD: Final = re.compile(r"/v1/(?:jobs/[^/]+/(?:audio|events)|audio/voices/[^/]+/sample)/?")
"""Asked with GET, these do, or may."""
_PAGES: Final = ("/monitor", "/report")
_KEY: Final = "vibevoice_caller"


class KeyFinder(Protocol):
    """Knows the keys."""

    def find(self, token: str) -> ApiKey | None:
        """Whose key *token* is, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request.

    Args:
        name: Of the key, or ``anonymous`` where no key is asked for.
        admin: May see and change what concerns all users.
        usage: What the key has used.
        wall: Unix time, s.
    """

    name: str
    admin: bool
    usage: KeyUsage
    wall: Callable[[], float] = time.time

    def spend(self, characters: int) -> None:
        """Count the characters of a request.

        Raises:
            RateLimitedError: They are too many for this key today.
        """
        if (refusal := self.usage.spend(characters, self.wall())) is not None:
            raise _rate_limited(self.name, refusal)

    def refund(self, characters: int) -> None:
        """Give back what a request that never started had spent."""
        self.usage.refund(characters, self.wall())


def caller_of(connection: HTTPConnection) -> Caller:
    """Who sent a request, as the gate found out."""
    caller: Caller = connection.scope[_KEY]
    return caller


class Gate:
    """See the module docstring.

    Args:
        app: What is behind.
        keys: Knows the keys; None where none is asked for.
        rules: Bounds of every request.
        drain: Whether requests are still taken.
        origins: Whose pages may change something.
        clock: Monotonic time, s.
        wall: Unix time, s.
    """

    def __init__(
        self,
        app: App,
        *,
        keys: KeyFinder | None,
        rules: GateRules,
        drain: Drain,
        origins: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._app, self._keys, self._rules, self._drain = app, keys, rules, drain
        self._origins = origins
        self._clock, self._wall = clock, wall
        self._usages: dict[str, KeyUsage] = {}
        self._open, self._load = Turnover(), Load(rules.max_bodies_bytes)

    @property
    def open_requests(self) -> int:
        """Requests that are being answered, without those for health."""
        return self._open.running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = _path(scope)
        if path in HEALTH_PATHS:
            await self._pass(scope, receive, send, path)
            return
        ticket = self._open.begin(self._clock())
        try:
            await self._pass(scope, receive, send, path)
        finally:
            self._open.end(ticket, self._clock(), counts=_KEY in scope)

    async def _pass(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        headers = Headers(scope=scope)
        body = Body(
            receive,
            headers,
            self._rules.bodies_of.get(path.rstrip("/"), self._rules.bodies),
            rules=self._rules,
            load=self._load,
            clock=self._clock,
        )
        answer = Answer(send, body, self._rules.send_timeout_s)
        refusal: ServeError | None = None
        try:
            check_head(scope, self._rules)
            scope[_KEY] = self._admit(path, scope["method"], headers)
            check_type(scope["method"], headers)
            body.check_length()
            with self._stream(scope[_KEY], path, scope["method"]):
                await self._app(scope, body.receive, answer.send)
        except (ServeError, BodyRefusedError) as error:
            if answer.begun:
                raise
            refusal = error if isinstance(error, ServeError) else None
        except CutOffError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the log must not quote it
            answered = bug(scope, error)
            if answer.begun:
                raise CutOffError(type(error).__name__) from None
            await answered(scope, receive, send)
            return
        finally:
            body.drop()
        if not answer.begun and (found := body.refused or refusal) is not None:
            if isinstance(found, OverloadedError) and found.retry_after_s is None:
                found = OverloadedError(found.message, None, self._open.next_end_s(self._clock()))
            await _refuse(found, path, send, in_body=body.refused is not None)

    def _admit(self, path: str, method: str, headers: Headers) -> Caller:
        if self._drain.draining and path not in HEALTH_PATHS:
            raise DrainingError("This process ends and takes no new requests. Try again at once.")
        if self.open_requests > self._rules.max_open_requests and path not in HEALTH_PATHS:
            raise OverloadedError(
                f"{self._rules.max_open_requests} requests are open here, which is the limit."
            )
        check_site(method, headers, self._origins)
        if self._keys is None or path in OPEN_PATHS:
            return Caller("anonymous", True, KeyUsage(KeyLimits()), self._wall)
        key = self._keys.find(_token(headers, basic=_is_page(method, path)))
        if key is None:
            raise UnauthorizedError(
                "A valid API key is needed: send it as 'Authorization: Bearer KEY'."
            )
        if not key.admin and path.startswith(ADMIN_PATHS):
            raise ForbiddenError(f"The key {key.name!r} may not do this; it needs an admin's.")
        usage = self._usages.setdefault(key.name, KeyUsage(key.limits))
        usage.limits = key.limits  # they may have changed with the file
        if (refusal := usage.request(self._clock())) is not None:
            raise _rate_limited(key.name, refusal)
        return Caller(key.name, key.admin, usage, self._wall)

    @contextmanager
    def _stream(self, caller: Caller, path: str, method: str) -> Iterator[None]:
        """Hold one of the caller's streams while an answer is being made and sent."""
        if not _streams(method, path):
            yield
            return
        opened = caller.usage.open_stream(self._clock())
        if isinstance(opened, Refusal):
            raise _rate_limited(caller.name, opened)
        try:
            yield
        finally:
            caller.usage.close_stream(opened, self._clock())


async def _refuse(error: ServeError, path: str, send: Send, *, in_body: bool) -> None:
    response = problem(error)
    if isinstance(error, UnauthorizedError):
        response.headers["www-authenticate"] = _challenge(path)
    if in_body or isinstance(error, (BodyTooLargeError, HeadTooLargeError)):
        response.headers["connection"] = "close"
    await response({"type": "http"}, _nothing, send)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _streams(method: str, path: str) -> bool:
    """Whether an answer is, or may be, a stream that stays open."""
    if method == "GET":
        return _HEARD.fullmatch(path) is not None
    return method == "POST" and path in STREAM_PATHS


def _path(scope: Scope) -> str:
    """The path as the routes see it, without the prefix that a proxy has taken off."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if root and path.startswith(root + "/") else path


def _is_page(method: str, path: str) -> bool:
    """What a browser shows to a person, or asks for on such a page."""
    return method in {"GET", "HEAD"} and path.startswith(ADMIN_PATHS)


def _token(headers: Headers, *, basic: bool) -> str:
    """The key in a request, or "" if there is none.

    Args:
        headers: Of the request.
        basic: Take it as a password too, which a browser sends along whoever asks.
    """
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic" or not basic:
        return ""
    try:
        decoded = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return decoded.partition(":")[2]


def _challenge(path: str) -> str:
    return 'Basic realm="vibevoice-serve"' if path.startswith(_PAGES) else "Bearer"


def _rate_limited(name: str, refusal: Refusal) -> RateLimitedError:
    return RateLimitedError(
        f"The key {name!r} has used its {refusal.allowed} {refusal.limit}. "
        f"Try again in {refusal.retry_after_s} s.",
        retry_after_s=refusal.retry_after_s,
    )
