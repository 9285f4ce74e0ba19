"""Notices as text."""

from __future__ import annotations

from telemetry.core.alert_rules import RULES
from telemetry.core.alerts import Notice, Subject
from telemetry.core.messages import message_of

BY_NAME = {rule.name: rule for rule in RULES}
CARD = Subject("GPU-a", "node-3 card 1 (GPU-a)")
FIRED = Notice("fired", BY_NAME["card_very_hot"], CARD, 86.4, 0.0)
CLEARED = Notice("cleared", BY_NAME["card_hot"], CARD, 74.0, 600.0)


def test_a_fired_alert_says_what_where_how_much_and_what_to_do() -> None:
    message = message_of([FIRED])
    assert message.title == "vibevoice-serve: ALERT: card very hot: node-3 card 1 (GPU-a)"
    assert message.urgent
    assert "86.4 C (> 85 C)" in message.body
    assert BY_NAME["card_very_hot"].action in message.body


def test_a_cleared_one_says_how_long_it_lasted_and_is_not_urgent() -> None:
    message = message_of([CLEARED])
    assert "after 10.0 min" in message.body
    assert not message.urgent
    assert BY_NAME["card_hot"].action not in message.body


def test_the_gravest_stands_first_whatever_the_order() -> None:
    assert message_of([CLEARED, FIRED]) == message_of([FIRED, CLEARED])
    assert message_of([CLEARED, FIRED]).title.endswith("(GPU-a) (+1)")


def test_chinese() -> None:
    message = message_of([FIRED, CLEARED], "zh")
    assert "告警: 显卡温度过高" in message.title
    assert "持续 10.0 分钟" in message.body


def test_a_simulated_card_says_so() -> None:
    card = Subject("SIM-1", "node card 0 (SIM-1)", simulated=True)
    assert "(simulated)" in message_of([Notice("fired", FIRED.rule, card, 90.0, 0.0)]).title


def test_a_storm_is_one_message_of_bounded_length() -> None:
    storm = [
        Notice("fired", FIRED.rule, Subject(f"GPU-{n}", f"card {n}"), 90.0, 0.0) for n in range(500)
    ]
    body = message_of(storm).body
    assert body.endswith("... and 460 more")
    assert len(body.splitlines()) == 81
