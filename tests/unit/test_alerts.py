"""Alerts: when they fire, when they clear, and that each is told once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.alert_rules import RULES, LimitChange, changed_rules
from telemetry.core.alerts import AlertBook, AlertRule, Notice, Subject

HOT = next(rule for rule in RULES if rule.name == "card_very_hot")
CARD = Subject("GPU-a", "host card 0")
OTHER = Subject("GPU-b", "host card 1")


def told(book: AlertBook, values: list[float], start_s: float = 0.0) -> list[tuple[float, Notice]]:
    """Every notice with its second, from one temperature a second."""
    return [
        (start_s + second, notice)
        for second, value in enumerate(values)
        for notice in book.update(start_s + second, {CARD: {"temp_c": value}})
    ]


def test_it_fires_after_its_time_and_clears_after_its_time() -> None:
    notices = told(AlertBook([HOT]), [86.0] * 100 + [79.0] * 100)
    assert [(at, notice.kind, notice.value) for at, notice in notices] == [
        (60, "fired", 86.0),
        (160, "cleared", 79.0),
    ]
    assert notices[1][1].lasted_s == 100.0


def test_a_break_starts_the_time_again() -> None:
    assert told(AlertBook([HOT]), ([86.0] * 60 + [85.0]) * 3) == []


def test_between_the_limits_nothing_changes() -> None:
    book = AlertBook([HOT])
    told(book, [86.0] * 61)
    assert told(book, [80.5, 86.0, 81.0] * 100, 61.0) == []
    assert book.active == ((HOT, CARD, 81.0),)


def test_cards_are_judged_apart() -> None:
    book = AlertBook([HOT])
    for second in range(61):
        notices = book.update(second, {CARD: {"temp_c": 86.0}, OTHER: {"temp_c": 50.0}})
    assert [notice.subject for notice in notices] == [CARD]


def test_silence_is_no_recovery_and_is_told_in_the_end() -> None:
    book = AlertBook([HOT], forget_s=100.0)
    told(book, [86.0] * 61)
    assert book.update(160.0, {}) == ()
    assert book.active
    (notice,) = book.update(161.0, {})
    assert (notice.kind, notice.value, notice.lasted_s) == ("forgotten", 86.0, 101.0)
    assert book.active == ()


def test_a_signal_that_a_card_lacks_fires_nothing() -> None:
    book = AlertBook(RULES)
    assert book.update(0.0, {CARD: {"sample_age_s": 0.5, "paused": 0.0}}) == ()


def test_an_event_fires_at_once() -> None:
    book = AlertBook(RULES)
    (notice,) = book.update(0.0, {CARD: {"xid_critical": 1.0}})
    assert (notice.rule.name, notice.rule.severity) == ("card_xid", "critical")
    assert book.update(1.0, {CARD: {"xid_critical": 2.0}}) == ()
    (cleared,) = book.update(2.0, {CARD: {"xid_critical": 0.0}})
    assert cleared.kind == "cleared"


def test_rules_have_both_languages_and_can_be_told_apart() -> None:
    AlertBook(RULES)
    for rule in RULES:
        assert rule.title
        assert rule.action.endswith(".")
        assert any("一" <= sign <= "鿿" for sign in rule.title_zh)
        assert rule.action_zh.endswith("。")


def test_an_operator_may_change_limits_and_switch_rules_off() -> None:
    rules = {rule.name: rule for rule in changed_rules({"card_hot": {"fire_above": 90.0}})}
    assert rules["card_hot"].fire_above == 90.0
    assert rules["card_very_hot"] == HOT
    assert "card_hot" not in {rule.name for rule in changed_rules({"card_hot": None})}


@pytest.mark.parametrize(
    "changes",
    [
        {"card_warm": None},
        {"card_hot": {"clear_at": 99.0}},
        {"card_hot": {"fire_for_s": -1.0}},
    ],
)
def test_changes_that_make_no_sense_are_refused(changes: dict[str, LimitChange | None]) -> None:
    with pytest.raises(ValueError, match=r"card_hot|card_warm"):
        changed_rules(changes)


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="share a name"):
        AlertBook([HOT, HOT])


rules = st.builds(
    lambda fire, gap, fire_s, clear_s: replace(
        HOT, fire_above=fire, clear_at=fire - gap, fire_for_s=fire_s, clear_for_s=clear_s
    ),
    st.integers(0, 10),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 5),
)


@given(rules, st.lists(st.one_of(st.none(), st.integers(-5, 15)), max_size=60))
def test_notices_alternate_and_hold_their_limits(
    rule: AlertRule, values: list[float | None]
) -> None:
    book, kinds = AlertBook([rule]), []
    for second, value in enumerate(values):
        signals = {CARD: {} if value is None else {"temp_c": float(value)}}
        for notice in book.update(float(second), signals):
            kinds.append(notice.kind)
            assert notice.kind != "fired" or notice.value > rule.fire_above
            assert notice.kind != "cleared" or notice.value <= rule.clear_at
        assert bool(book.active) == (bool(kinds) and kinds[-1] == "fired")
    assert kinds == ["fired", "cleared"] * (len(kinds) // 2) + ["fired"] * (len(kinds) % 2)


def test_other_limits_leave_what_is_on_and_count_their_times_anew() -> None:
    book = AlertBook([HOT])
    told(book, [86.0] * 61)
    higher = replace(HOT, fire_above=90.0)
    book.adopt([higher])
    assert book.active == ((higher, CARD, 86.0),)
    ((at, notice),) = told(book, [79.0] * 100, 61.0)
    assert (at, notice.kind, notice.lasted_s) == (121.0, "cleared", 61.0)
    told(book, [86.0] * 59, 200.0)
    book.adopt([HOT])
    assert [at for at, _ in told(book, [86.0] * 100, 259.0)] == [319.0]


def test_a_rule_that_is_switched_off_takes_its_alerts_with_it() -> None:
    book = AlertBook([HOT])
    told(book, [86.0] * 61)
    book.adopt([])
    assert book.active == ()
    assert book.update(1e6, {}) == ()
    book.adopt([HOT])
    assert book.active == ()


def test_rules_that_share_a_name_are_not_adopted() -> None:
    book = AlertBook([HOT])
    told(book, [86.0] * 61)
    with pytest.raises(ValueError, match="share a name"):
        book.adopt([HOT, HOT])
    assert len(book.active) == 1


@given(rules, st.lists(st.tuples(st.integers(-5, 15), st.booleans()), max_size=60))
def test_the_same_rules_again_change_nothing(
    rule: AlertRule, steps: list[tuple[int, bool]]
) -> None:
    book, plain = AlertBook([rule]), AlertBook([rule])
    for second, (value, again) in enumerate(steps):
        signals = {CARD: {"temp_c": float(value)}}
        if again:
            book.adopt([rule])
        assert book.update(float(second), signals) == plain.update(float(second), signals)
        assert book.active == plain.active
