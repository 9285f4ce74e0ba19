"""The gate: keys, limits and bodies, over a real FastAPI application."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from serve_app.core.limits import KeyLimits
from serve_app.ingress import problems
from serve_app.ingress.bounded import BodyBounds, GateRules
from serve_app.ingress.gate import Caller, Gate, caller_of
from serve_app.ingress.service import Drain
from serve_app.keys import ApiKey, KeyRing, digest_of

USER, ADMIN = "vvs-user", "vvs-admin"


class House:
    """A gate with something behind it, and its clocks."""

    def __init__(
        self,
        limits: KeyLimits | None = None,
        *,
        keys: bool = True,
        origins: tuple[str, ...] = (),
        **rules: Any,
    ) -> None:
        self.now_s = 0.0
        self.callers: list[Caller] = []
        self.release = asyncio.Event()
        ring = KeyRing(
            [
                ApiKey("ann", digest_of(USER), False, limits or KeyLimits()),
                ApiKey("root", digest_of(ADMIN), True, KeyLimits()),
            ]
        )
        self.drain = Drain()
        self.gate = Gate(
            self._behind(),
            keys=ring if keys else None,
            rules=GateRules(**rules),
            drain=self.drain,
            origins=origins,
            clock=lambda: self.now_s,
            wall=lambda: 1e9,
        )

    def _behind(self) -> FastAPI:
        app = FastAPI()
        problems.install(app)

        @app.post("/v1/audio/speech")
        async def speech(request: Request) -> StreamingResponse:
            body = await request.body()
            self.callers.append(caller_of(request))
            caller_of(request).spend(len(body))

            async def sound() -> AsyncIterator[bytes]:
                yield b"begin"
                await self.release.wait()
                yield b"end"

            return StreamingResponse(sound())

        @app.post("/v1/echo")
        async def echo(body: dict[str, Any]) -> dict[str, Any]:
            return body

        @app.api_route("/v1/jobs/{job_id}/audio", methods=["GET", "HEAD"])
        @app.get("/v1/jobs/{job_id}/events")
        @app.get("/v1/audio/voices/{voice_id}/sample")
        async def heard(request: Request) -> StreamingResponse:
            self.callers.append(caller_of(request))

            async def sound() -> AsyncIterator[bytes]:
                yield b"begin"
                await self.release.wait()

            return StreamingResponse(sound())

        @app.get("/healthz")
        @app.get("/monitor")
        @app.get("/v1/models")
        async def fine() -> dict[str, str]:
            return {"fine": "yes"}

        return app

    async def ask(self, method: str, path: str, key: str | None = USER, **more: Any) -> Any:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        if "content" in more:
            headers["content-type"] = "application/json"
        headers |= more.pop("headers", {})
        transport = httpx.ASGITransport(self.gate)
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
            return await client.request(method, path, headers=headers, **more)

    async def code(self, *args: Any, **more: Any) -> str:
        answer = await self.ask(*args, **more)
        return str(answer.json()["error"]["code"]) if answer.status_code >= 400 else "ok"


async def test_who_has_no_key_gets_nothing_but_health() -> None:
    house = House()
    answer = await house.ask("GET", "/v1/models", key=None)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["www-authenticate"] == "Bearer"
    assert await house.code("GET", "/v1/models", key="vvs-guess") == "invalid_api_key"
    assert await house.code("GET", "/healthz", key=None) == "ok"


@pytest.mark.parametrize("value", ["Basic !!", "Basic " + "x" * 3, "Token vvs-user", "Bearer", ""])
async def test_what_is_no_key_is_refused(value: str) -> None:
    house = House()
    answer = await house.ask("GET", "/v1/models", key=None, headers={"authorization": value})
    assert answer.status_code == 401


async def test_a_browser_may_send_the_key_as_a_password_and_is_asked_for_it() -> None:
    house = House()
    basic = base64.b64encode(f"any:{ADMIN}".encode()).decode()
    answer = await house.ask("GET", "/monitor", None, headers={"authorization": f"Basic {basic}"})
    assert answer.status_code == 200
    answer = await house.ask("GET", "/monitor", None)
    assert answer.headers["www-authenticate"].startswith("Basic ")


async def test_a_password_opens_pages_only_as_a_browser_sends_it_whoever_asks() -> None:
    house = House()
    basic = {"authorization": "Basic " + base64.b64encode(f"any:{ADMIN}".encode()).decode()}
    assert await house.code("GET", "/v1/models", None, headers=basic) == "invalid_api_key"
    for path in ("/v1/echo", "/monitor"):
        code = await house.code("POST", path, None, headers=basic, json={})
        assert code == "invalid_api_key"


CROSS = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}


@pytest.mark.parametrize("keys", [True, False])
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (CROSS, "insufficient_permissions"),
        ({"sec-fetch-site": "cross-site"}, "insufficient_permissions"),
        ({"origin": "http://host:3000", "sec-fetch-site": "same-site"}, "insufficient_permissions"),
        ({"origin": "https://evil.example"}, "insufficient_permissions"),
        ({"origin": "null"}, "insufficient_permissions"),
        ({"origin": "http://["}, "insufficient_permissions"),
        ({**CROSS, "origin": "https://app.example"}, "ok"),
        ({"origin": "http://host", "sec-fetch-site": "same-origin"}, "ok"),
        ({"origin": "http://host"}, "ok"),
        ({}, "ok"),
    ],
)
async def test_pages_of_other_origins_change_nothing(
    headers: dict[str, str], code: str, keys: bool
) -> None:
    house = House(keys=keys, origins=("https://app.example",))
    assert await house.code("POST", "/v1/echo", json={}, headers=headers) == code
    assert await house.code("GET", "/v1/models", headers=headers) == "ok"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
async def test_a_body_is_json_or_an_upload(kind: str) -> None:
    house = House()
    sent: dict[str, Any] = {"content": b"{}", "headers": {"content-type": kind}}
    answer = await house.ask("POST", "/v1/echo", **sent)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (415, "false")
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] == "unsupported_media_type"
    unended = {"content": endless(), "headers": sent["headers"]}
    assert await house.code("POST", "/v1/echo", **unended) == "unsupported_media_type"
    assert (await house.ask("POST", "/v1/models", headers=sent["headers"])).status_code == 405


async def test_json_has_more_than_one_name() -> None:
    for kind in ("application/json; charset=utf-8", "Application/JSON", "application/ld+json"):
        headers = {"content-type": kind}
        assert await House().code("POST", "/v1/echo", content=b"{}", headers=headers) == "ok"


async def test_what_concerns_all_needs_an_admin() -> None:
    house = House()
    assert await house.code("GET", "/monitor") == "insufficient_permissions"
    assert await house.code("GET", "/monitor", key=ADMIN) == "ok"


async def test_keys_switched_off_let_everybody_in() -> None:
    house = House(keys=False)
    assert await house.code("GET", "/monitor", key=None) == "ok"


async def test_requests_a_minute_are_held_with_an_honest_wait() -> None:
    house = House(KeyLimits(requests_per_minute=2))
    house.now_s = 10.0
    assert [await house.code("GET", "/v1/models") for _ in range(2)] == ["ok", "ok"]
    house.now_s = 25.5
    answer = await house.ask("GET", "/v1/models")
    assert answer.status_code == 429
    assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("45", "true")
    assert "ann" in answer.json()["error"]["message"]
    house.now_s = 70.5
    assert await house.code("GET", "/v1/models") == "ok"
    assert await house.code("GET", "/v1/models", key=ADMIN) == "ok"


async def test_streams_at_once_are_held_until_one_ends() -> None:
    house = House(KeyLimits(concurrent_streams=1))
    running = asyncio.create_task(house.ask("POST", "/v1/audio/speech", content=b"x"))
    while not house.callers:
        await asyncio.sleep(0)
    assert await house.code("POST", "/v1/audio/speech", content=b"x") == "rate_limit_exceeded"
    house.release.set()
    assert (await running).content == b"beginend"
    assert await house.code("POST", "/v1/audio/speech", content=b"x") == "ok"
    assert house.callers[0].usage.streams == 0


@pytest.mark.parametrize(
    "path", ["/v1/jobs/j/audio", "/v1/jobs/j/events", "/v1/audio/voices/v/sample"]
)
async def test_streams_that_are_asked_for_with_get_count_too(path: str) -> None:
    house = House(KeyLimits(concurrent_streams=1))
    running = asyncio.create_task(house.ask("GET", path))
    while not house.callers:
        await asyncio.sleep(0)
    house.now_s = 17.0
    answer = await house.ask("GET", path)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (429, "true")
    assert answer.headers["retry-after"] == "17"
    assert await house.code("POST", "/v1/audio/speech", content=b"x") == "rate_limit_exceeded"
    house.release.set()
    assert (await running).content == b"begin"
    assert await house.code("GET", path) == "ok"
    assert house.callers[0].usage.streams == 0


async def test_too_many_open_requests_are_told_when_one_is_likely_to_end() -> None:
    house = House(max_open_requests=2)
    running = [asyncio.create_task(house.ask("GET", "/v1/jobs/j/audio")) for _ in range(2)]
    while len(house.callers) < 2:
        await asyncio.sleep(0)
    # The one that asks counts among the three that may end, and says nothing of how long they take.
    for now_s, wait in ((60.0, "40"), (90.0, "60")):
        house.now_s = now_s
        answer = await house.ask("GET", "/v1/models")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, wait)
    house.release.set()
    await asyncio.gather(*running)


async def test_who_only_asks_how_large_a_file_is_holds_no_stream() -> None:
    house = House(KeyLimits(concurrent_streams=1))
    running = asyncio.create_task(house.ask("GET", "/v1/jobs/j/audio"))
    while not house.callers:
        await asyncio.sleep(0)
    house.release.set()
    assert (await house.ask("HEAD", "/v1/jobs/j/audio")).status_code == 200
    await running


async def test_characters_a_day_are_counted_by_the_route() -> None:
    house = House(KeyLimits(characters_per_day=10))
    house.release.set()
    assert await house.code("POST", "/v1/audio/speech", content=b"123456") == "ok"
    assert await house.code("POST", "/v1/audio/speech", content=b"12345") == "rate_limit_exceeded"
    house.callers[0].refund(6)
    assert await house.code("POST", "/v1/audio/speech", content=b"12345") == "ok"


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 1000


async def test_a_large_body_is_refused_by_its_length_and_while_it_is_read() -> None:
    house = House(bodies=BodyBounds(5000, 5000))
    json: dict[str, Any] = {"headers": {"content-type": "application/json"}}
    for path in ("/v1/echo", "/v1/audio/speech"):
        assert await house.code("POST", path, content=b"x" * 5001, **json) == "body_too_large"
        answer = await house.ask("POST", path, content=endless(), **json)
        assert answer.status_code == 413
        assert answer.headers["connection"] == "close"
    assert house.callers == []


async def test_uploads_may_be_larger() -> None:
    house = House(bodies=BodyBounds(10, 5000))
    form = {"headers": {"content-type": "multipart/form-data; boundary=x"}}
    house.release.set()
    assert await house.code("POST", "/v1/audio/speech", content=b"x" * 5000, **form) == "ok"
    code = await house.code("POST", "/v1/audio/speech", content=b"x" * 5001, **form)
    assert code == "body_too_large"


async def test_a_route_may_have_bounds_of_its_own() -> None:
    house = House(bodies=BodyBounds(10, 10), bodies_of={"/v1/echo": BodyBounds(100, 200)})
    body = {"a": "x" * 80}
    assert await house.code("POST", "/v1/echo", json=body) == "ok"
    assert await house.code("POST", "/v1/audio/speech", json=body) == "body_too_large"
    assert await house.code("POST", "/v1/echo", json={"a": "x" * 100}) == "body_too_large"


async def test_bodies_that_are_held_together_are_bounded() -> None:
    house = House(max_bodies_bytes=1000)
    running = asyncio.create_task(house.ask("POST", "/v1/audio/speech", content=b"x" * 600))
    while not house.callers:
        await asyncio.sleep(0)
    answer = await house.ask("POST", "/v1/audio/speech", content=b"x" * 600)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "overloaded")
    assert answer.headers["connection"] == "close"
    house.release.set()
    assert (await running).content == b"beginend"
    assert await house.code("POST", "/v1/audio/speech", content=b"x" * 600) == "ok"


async def test_a_head_is_bounded_before_anyone_asks_for_a_key() -> None:
    house = House(max_head_bytes=500)
    large = {"headers": {"x-large": "y" * 500}}
    for path in ("/v1/models", "/healthz"):
        answer = await house.ask("GET", path, None, **large)
        assert (answer.status_code, answer.json()["error"]["code"]) == (431, "head_too_large")
        assert answer.headers["connection"] == "close"
    answer = await house.ask("GET", "/healthz?" + "q" * 600)
    assert answer.status_code == 431


async def test_a_body_that_does_not_come_is_given_up() -> None:
    house = House(body_timeout_s=0.01)

    async def silent() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    answer = await house.ask("POST", "/v1/echo", content=silent())
    assert answer.status_code == 408
    assert answer.json()["error"]["code"] == "body_timeout"


async def test_a_process_that_drains_says_so_and_ends_its_streams() -> None:
    house = House()
    running = asyncio.create_task(house.ask("POST", "/v1/audio/speech", content=b"x"))
    while not house.callers:
        await asyncio.sleep(0)
    house.drain.draining = True
    answer = await house.ask("GET", "/v1/models")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "draining")
    assert "retry-after" in answer.headers
    assert await house.code("GET", "/healthz", key=None) == "ok"
    house.release.set()
    assert (await running).content == b"beginend"


async def test_the_path_behind_a_prefix_is_judged_without_it() -> None:
    house = House()
    seen = []

    async def send(message: Any) -> None:
        seen.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/tts/monitor",
        "root_path": "/tts",
        "headers": [(b"authorization", f"Bearer {USER}".encode())],
        "query_string": b"",
    }
    await house.gate(scope, receive, send)
    assert seen[0]["status"] == 403
