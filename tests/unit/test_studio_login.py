"""The studio lets in who has a key of the service, and has no key to give without a login."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from serve_app.access import Access
from serve_app.config import API_KEY
from serve_app.core.limits import KeyLimits
from serve_app.errors import ConfigError
from serve_app.ingress.http import create_app
from serve_app.keys import ApiKey, KeyRing, digest_of
from serve_app.ui.studio import build
from serve_app.ui.studio_app import create_studio
from serve_app.ui.studio_settings import parse_studio_settings
from tests.browser.serving import serving
from tests.unit.fake_replicas import FakeReplicas
from tests.unit.ingress_stage import service

OWN, GUEST = "vvs-of-the-studio", "vvs-of-a-guest"


@pytest.fixture(scope="module")
def service_url() -> Iterator[str]:
    ring = KeyRing(ApiKey(key, digest_of(key), False, KeyLimits()) for key in (OWN, GUEST))
    with serving(lambda _url: create_app(service(FakeReplicas()), Access(ring))) as served:
        yield served.url


@pytest.fixture
def studio(service_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setenv(API_KEY, OWN)
    settings = parse_studio_settings({"service_url": service_url})
    with (
        serving(lambda _url: create_studio(settings, {})) as served,
        httpx.Client(base_url=served.url, timeout=20) as web,
    ):
        yield web


def test_who_has_a_key_comes_in_and_nobody_else(studio: httpx.Client) -> None:
    assert studio.get("/config").status_code == 401
    for wrong in ("", "vvs-guess", "ключ"):
        refused = studio.post("/login", data={"username": "me", "password": wrong})
        assert refused.status_code in {400, 422}
    assert studio.get("/config").status_code == 401
    taken = studio.post("/login", data={"username": "me", "password": GUEST})
    assert taken.status_code == 200
    assert studio.get("/config").status_code == 200


def test_without_a_login_it_has_no_key_to_give(
    service_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(API_KEY, OWN)
    sent: list[str | None] = []

    class Noted:
        def __init__(self, url: str, *, key: str | None = None) -> None:
            sent.append(key)

    monkeypatch.setattr("serve_app.ui.studio_app.SpeechApi", Noted)
    create_studio(parse_studio_settings({"service_url": service_url, "login": False}), {})
    assert sent == [None]
    assert "THE STUDIO ASKS FOR NO LOGIN" in caplog.text


def test_a_login_needs_a_key_to_work_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(API_KEY, raising=False)
    with pytest.raises(ConfigError, match=f"{API_KEY}.*login"):
        build({})
    assert build({"login": "off"})
