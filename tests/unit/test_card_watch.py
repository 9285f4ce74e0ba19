"""The node's watch over its cards, fed with samples as the sampler would."""

from __future__ import annotations

import queue
from dataclasses import replace
from typing import Any

from telemetry.card_watch import CardWatch, WatchThread
from telemetry.core.alert_rules import RULES
from telemetry.core.alerts import Notice
from telemetry.core.messages import Message
from telemetry.core.sample import CardSample, XidEvent
from telemetry.core.thermal import HeatLimits, ThermalRules
from telemetry.core.window import AgedSample

CARD = CardSample(0.0, 0, "GPU-a", "card", simulated=False, temp_c=50.0, throttle=())


class Scene:
    """A watch and its time, half a second a look, one sample a second."""

    def __init__(self) -> None:
        self.watch = CardWatch("host", thermal=ThermalRules(), alerts=RULES)
        self.now_s = 100.0
        self.notices: list[Notice] = []

    def see(self, seconds: int, *, xids: tuple[XidEvent, ...] = (), **signals: Any) -> None:
        for _ in range(seconds):
            sample = replace(CARD, timestamp=self.now_s, **signals)
            for age_s in (0.1, 0.6):
                aged = AgedSample(sample, age_s)
                self.notices += self.watch.tick(self.now_s + age_s, [aged], xids)
            self.now_s += 1.0

    @property
    def state(self) -> str:
        (guard,) = self.watch.guards()
        return guard.state

    @property
    def fired(self) -> list[str]:
        return [notice.rule.name for notice in self.notices if notice.kind == "fired"]


def test_three_hot_samples_pause_a_card_however_often_each_is_seen() -> None:
    scene = Scene()
    scene.see(5)
    scene.see(2, temp_c=76.0)
    assert scene.state == "open"
    scene.see(1, temp_c=76.0)
    assert scene.state == "paused"
    assert scene.fired == ["card_paused"]
    (alert,) = scene.watch.alerts()
    assert (alert.rule, alert.subject) == ("card_paused", "GPU-a")
    assert alert.label == "host card 0 (GPU-a)"


def test_a_card_that_is_slowed_from_the_first_moment_on_still_tells_that_it_is_too_hot() -> None:
    scene = Scene()
    scene.see(5, temp_c=91.0, throttle=("hw_thermal",))
    assert "card_over_limit" in scene.fired


def test_a_card_that_cools_works_again_and_says_so_once() -> None:
    scene = Scene()
    scene.see(3, temp_c=76.0)
    scene.see(90, temp_c=60.0)
    assert scene.state == "open"
    assert [notice.kind for notice in scene.notices] == ["fired", "cleared"]


def test_a_stale_card_is_eased_though_its_last_sample_was_cool() -> None:
    scene = Scene()
    scene.see(3)
    old = AgedSample(replace(CARD, timestamp=scene.now_s - 1.0), 0.0)
    for second in range(12):
        aged = AgedSample(old.sample, 1.0 + second)
        scene.watch.tick(scene.now_s + second, [aged])
    assert scene.state == "eased"


def test_faults_are_told_of_the_card_that_had_them() -> None:
    scene = Scene()
    scene.see(1, xids=(XidEvent(scene.now_s, "GPU-a", 79), XidEvent(scene.now_s, "GPU-b", 48)))
    (notice,) = scene.notices
    assert (notice.rule.name, notice.value) == ("card_xid", 1.0)


def test_a_card_that_the_sampler_forgot_is_forgotten() -> None:
    scene = Scene()
    scene.see(1)
    scene.watch.tick(scene.now_s + 600.0, [])
    assert scene.watch.guards() == ()


def test_slowdowns_are_counted_by_their_onsets() -> None:
    scene = Scene()
    for _ in range(6):
        scene.see(2, throttle=("hw_thermal",))
        scene.see(2)
    assert "card_slows_often" in scene.fired
    assert scene.state == "paused"


def test_the_thread_posts_what_is_noticed_and_survives_a_failure() -> None:
    scene, posted = Scene(), queue.SimpleQueue[Message]()
    hot = replace(CARD, throttle=("hw_slowdown",))
    looks = iter((RuntimeError("driver"), hot))

    def tick(now_s: float) -> tuple[Notice, ...]:
        look = next(looks, None)
        if isinstance(look, Exception):
            raise look
        return () if look is None else scene.watch.tick(now_s, [AgedSample(look, 0.0)])

    thread = WatchThread(tick, posted.put, period_s=0.001, language="zh")
    thread.start()
    message = posted.get(timeout=10)
    thread.close()
    assert "温控已暂停该卡" in message.title


def test_a_clock_that_is_set_back_blinds_no_guard() -> None:
    scene = Scene()
    scene.see(3)
    for second in range(3):
        sample = replace(CARD, timestamp=5.0 + second, temp_c=76.0)
        scene.watch.tick(scene.now_s + second, [AgedSample(sample, 0.1)])
    assert scene.state == "paused"


def test_a_card_that_fell_off_its_bus_tells_of_its_fault() -> None:
    scene = Scene()
    scene.see(1)
    scene.see(1, error="gpu is lost", temp_c=None, xids=(XidEvent(scene.now_s, "GPU-a", 79),))
    assert "card_xid" in scene.fired


def test_the_limit_of_the_config_is_what_people_are_told_above() -> None:
    scene = Scene()
    scene.watch = CardWatch(
        "host", thermal=ThermalRules(celsius=HeatLimits(alert=90.0)), alerts=RULES
    )
    scene.see(10, temp_c=89.0)
    assert "card_over_limit" not in scene.fired
    scene.see(10, temp_c=91.0)
    assert "card_over_limit" in scene.fired


def test_a_card_that_swings_around_the_limit_is_one_alert() -> None:
    scene = Scene()
    for _ in range(5):
        scene.see(5, temp_c=76.0)
        scene.see(30, temp_c=70.0)
    assert [notice.kind for notice in scene.notices] == ["fired"]


def test_a_card_that_is_lost_and_found_while_it_is_slowed_slowed_once() -> None:
    scene = Scene()
    for _ in range(8):
        scene.see(2, throttle=("hw_thermal",))
        scene.see(2, error="gpu is lost", temp_c=None, throttle=None)
    assert "card_slows_often" not in scene.fired


def test_other_rules_leave_a_guard_and_its_alert_as_they_are() -> None:
    scene = Scene()
    scene.see(3, temp_c=76.0)
    warmer = ThermalRules(celsius=HeatLimits(ease=80.0, pause=85.0, alert=90.0))
    scene.watch.adopt(thermal=warmer, alerts=RULES, stale_after_s=3.0)
    (guard,) = scene.watch.guards()
    (alert,) = scene.watch.alerts()
    assert (guard.state, alert.rule, scene.fired) == ("paused", "card_paused", ["card_paused"])
    scene.see(100, temp_c=60.0)
    assert scene.state == "open"
    assert [notice.kind for notice in scene.notices] == ["fired", "cleared"]


def test_cards_that_are_no_longer_watched_take_their_alerts_with_them() -> None:
    scene = Scene()
    scene.see(3, temp_c=76.0)
    scene.watch.forget({"GPU-a"})
    assert (scene.watch.guards(), scene.watch.alerts()) == ((), ())
