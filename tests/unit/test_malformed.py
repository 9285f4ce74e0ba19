"""Whatever is sent, the answer is a refusal, and the service lives on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import httpx
import pytest

from serve_app.access import Access
from serve_app.core.limits import KeyLimits
from serve_app.ingress.http import create_app
from serve_app.keys import ApiKey, KeyRing, digest_of
from serve_app.voice_desk import VoiceDesk
from serve_app.voice_roster import LibraryReplicas, VoiceRoster
from serve_app.voices import VoiceLibrary
from tests import malformed
from tests.browser.serving import Served, serving
from tests.malformed import KEY, answer_to, wrong_requests
from tests.unit.fake_replicas import FakeReplicas
from tests.unit.ingress_stage import ENGINE, Known, service


@contextmanager
def guarded() -> Iterator[tuple[Served, FakeReplicas]]:
    """The real routes over fake replicas, with a library of voices and a key."""
    ring = KeyRing([ApiKey("tester", digest_of(KEY), admin=True, limits=KeyLimits())])
    roster = VoiceRoster(VoiceLibrary("memory://malformed"))
    replicas = FakeReplicas()
    listed = LibraryReplicas(Known(engine=replace(ENGINE, library_languages=("en",))), roster)
    built = service(replicas, voices=VoiceDesk(roster), listed=listed)
    with serving(lambda _url: create_app(built, Access(ring))) as served:
        yield served, replicas


def refusals(count: int, seed: int) -> dict[str, int]:
    """Answers to so many wrong requests, those that are no refusals by what they were."""
    with guarded() as (served, replicas):
        found: dict[str, int] = {}
        for wrong in islice(wrong_requests(seed), count):
            status = answer_to(served.port, wrong)
            refused = not wrong.ends if status is None else 400 <= status < 500
            name = "refused" if refused else f"{wrong.what}: {status}"
            found[name] = found.get(name, 0) + 1
        alive = httpx.get(f"{served.url}/healthz").json()
        assert alive == {"status": "ok"}
        assert replicas.running == 0
        said = {"model": "fake-1", "input": "Still alive.", "voice": "alto"}
        headers = {"authorization": f"Bearer {KEY}"}
        spoken = httpx.post(f"{served.url}/v1/audio/speech", json=said, headers=headers)
        assert spoken.status_code == 200
        return found


def test_wrong_requests_are_refused_and_nothing_breaks() -> None:
    assert refusals(500, seed=7) == {"refused": 500}


def test_hardly_any_of_them_comes_twice() -> None:
    assert len({wrong.data for wrong in islice(wrong_requests(1), 1_000)}) > 980


def test_a_server_that_says_nothing_has_refused_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(malformed, "_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        answer_to(silent.getsockname()[1], next(wrong_requests(1)))
