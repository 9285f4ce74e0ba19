"""What a local service starts, joins and stops, with Ray's own calls noted instead of made."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
import ray
from ray import serve

from serve_app import local
from serve_app.config import load_serve_file

CONFIG = load_serve_file(Path(__file__).parents[2] / "configs" / "local.yaml")


def calls(monkeypatch: pytest.MonkeyPatch, address: str | None, *, joined: bool) -> list[str]:
    """What is asked of Ray while a service starts and stops."""
    seen = mock.Mock()
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(ray, "is_initialized", lambda: joined)
    monkeypatch.setattr(ray, "init", lambda address=None, **_: seen.init(address))
    monkeypatch.setattr(ray, "shutdown", seen.shutdown)
    monkeypatch.setattr(serve, "start", mock.Mock())
    monkeypatch.setattr(serve, "delete", seen.delete)
    monkeypatch.setattr(local, "_run", mock.Mock())
    monkeypatch.setattr(local, "drain", mock.Mock())
    monkeypatch.setattr("telemetry.actor.stop_actors", seen.stop_actors)
    monkeypatch.setattr("telemetry.watch_actor.stop_watch", seen.stop_watch)
    with local.running(CONFIG, address=address, environment={}):
        pass
    return [f"{call[0]} {' '.join(call.args)}".strip() for call in seen.method_calls]


@pytest.mark.parametrize(
    ("address", "joined", "expected"),
    [
        (
            None,
            False,
            ["init local", "delete vibevoice", "stop_watch", "stop_actors", "shutdown"],
        ),
        ("auto", False, ["init auto", "delete vibevoice", "shutdown"]),
        (None, True, ["delete vibevoice"]),
    ],
)
def test_what_others_share_is_neither_joined_unasked_nor_stopped(
    monkeypatch: pytest.MonkeyPatch, address: str | None, joined: bool, expected: list[str]
) -> None:
    assert calls(monkeypatch, address, joined=joined) == expected
