"""The watch's actor without Ray: what another config changes, and what it leaves."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from telemetry import watch_actor
from telemetry.notify import Channel
from telemetry.watch_actor import WatchActor
from telemetry.watch_config import TelemetryConfig
from tests.fleet_source import Fleet
from tests.otlp import OtlpReceiver

CONFIG = TelemetryConfig("simulated")
OTHER = replace(CONFIG, language="zh", channels=(Channel("hook", "json://user:hunter2@127.0.0.1"),))


@pytest.fixture
def actor(monkeypatch: pytest.MonkeyPatch) -> Iterator[WatchActor]:
    monkeypatch.setattr(watch_actor, "RayCluster", lambda _config: Fleet(now=time.time()))
    made = WatchActor(CONFIG, None)
    yield made
    made.close()


def cards(actor: WatchActor) -> set[str]:
    return set(actor.windows(("SIM-n0-0", "SIM-n1-1"), "temp_c", 60, 0.0))


def wait_for_cards(actor: WatchActor) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if cards(actor):
            return
        pause.wait(0.01)
    raise AssertionError("the watch has seen no card")


def test_another_config_leaves_the_history_and_logs_no_secret(
    actor: WatchActor, caplog: pytest.LogCaptureFixture
) -> None:
    wait_for_cards(actor)
    actor.adopt(OTHER, None)
    assert cards(actor) == {"SIM-n0-0", "SIM-n1-1"}
    assert "by other settings now: channels, language" in caplog.text
    assert "hunter2" not in caplog.text


def test_only_a_watch_that_nobody_has_told_yet_is_renewed(
    actor: WatchActor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    actor.renew(OTHER, None)
    assert "language" in caplog.text
    caplog.clear()
    actor.renew(CONFIG, None)
    assert caplog.text == ""


def test_the_counts_of_a_channel_outlive_other_settings(actor: WatchActor) -> None:
    actor.adopt(OTHER, None)
    actor.adopt(replace(OTHER, language="en"), None)
    assert [one.name for one in actor.channels()] == ["hook"]


def test_the_fleet_s_own_alerts_are_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_actor, "RayCluster", lambda _config: Fleet(now=time.time()))
    with OtlpReceiver() as receiver:
        for name, value in receiver.environment().items():
            monkeypatch.setenv(name, value)
        made = WatchActor(OTHER, None)
        made.close()
        points = receiver.newest("vibevoice.alerts.notices")
    told = {(p.attributes["vibevoice.alert.channel"], p.value) for p in points}
    assert told == {("hook", 0)}
    assert len(points) == 3


def test_a_report_is_made_beside_the_watch(actor: WatchActor) -> None:
    wait_for_cards(actor)
    assert "host-1 card 1" in actor.report(1.0, "en", as_html=False)
    assert actor.alerts() == ()
