"""HAProxy's span, told by the process behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode
from starlette.middleware import Middleware

from serve_app.ingress import head
from serve_app.ingress.proxied import ProxiedLayer
from serve_app.transport import TELLER
from tests.span_memory import span_memory

TRACE, OWN, CALLER = "4d3cf4fa298247cd9540390af0252930", "b1b57962677d4362", "0123456789abcdef"
ARRIVED_US, ENDED_S = 1_796_071_086_815_810, 1_796_071_087.5


async def asked(
    headers: dict[str, str], status: int | None = 200, kind: str = "http"
) -> list[dict[str, Any]]:
    """What the client is sent of a request with these headers."""
    sent: list[dict[str, Any]] = []

    async def app(_scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        if status is None:
            raise ConnectionError
        await send({"type": "http.response.start", "status": status})
        await send({"type": "http.response.body", "body": b"x"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    scope = {
        "type": kind,
        "method": "POST",
        "path": "/v1/audio/speech",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await ProxiedLayer(app, lambda: ENDED_S)(scope, receive, send)
    return sent


def proxied(flags: str = "01", parent: str = "") -> dict[str, str]:
    found = {"traceparent": f"00-{TRACE}-{OWN}-{flags}", "x-vibevoice-arrived": str(ARRIVED_US)}
    return {**found, "x-vibevoice-parent": parent} if parent else found


@pytest.mark.parametrize("parent", ["", CALLER])
async def test_the_span_has_the_ids_and_the_time_that_the_proxy_drew(parent: str) -> None:
    memory = span_memory()
    headers = proxied(parent=parent and f"00-{TRACE}-{parent}-01")
    assert len(await asked(headers)) == 2
    (span,) = memory.get_finished_spans()
    assert span.context is not None
    assert f"{span.context.trace_id:032x} {span.context.span_id:016x}" == f"{TRACE} {OWN}"
    assert (span.parent is None) is (not parent)
    if span.parent is not None:
        assert f"{span.parent.span_id:016x}" == parent
    assert (span.start_time, span.end_time) == (ARRIVED_US * 1000, round(ENDED_S * 1e9))
    assert (span.name, span.kind) == ("haproxy POST", SpanKind.SERVER)
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 200
    assert span.status.status_code is StatusCode.UNSET


async def test_an_answer_that_failed_or_never_came_is_an_error() -> None:
    memory = span_memory()
    await asked(proxied(), 503)
    with pytest.raises(ConnectionError):
        await asked(proxied(), None)
    spans = memory.get_finished_spans()
    assert [span.status.status_code for span in spans] == [StatusCode.ERROR] * 2


@pytest.mark.parametrize(
    "headers",
    [
        {},
        proxied(flags="00"),
        {**proxied(), "traceparent": "nonsense"},
        {**proxied(), "x-vibevoice-arrived": "yesterday"},
    ],
)
async def test_what_no_proxy_traced_makes_no_span(headers: dict[str, str]) -> None:
    memory = span_memory()
    assert len(await asked(headers)) == 2
    assert memory.get_finished_spans() == ()


async def test_what_is_no_request_passes() -> None:
    assert len(await asked(proxied(), kind="websocket")) == 2


def test_heads_are_bounded_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded: list[bool] = []

    def install() -> list[Middleware]:
        bounded.append(True)
        return []

    monkeypatch.setattr(head, "install", install)
    module, _, function = TELLER.partition(":")
    layers = getattr(import_module(module), function)()
    assert [layer.cls for layer in layers] == [ProxiedLayer]
    assert bounded == [True]
