"""Limits of a key: exact, and honest about when to come back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.limits import DAY_S, WINDOW_S, KeyLimits, KeyUsage, Refusal

NOON = 20_000 * DAY_S + DAY_S / 2


def test_no_bound_refuses_nothing() -> None:
    usage = KeyUsage(KeyLimits())
    assert all(usage.request(0.0) is None for _ in range(1000))
    assert not any(isinstance(usage.open_stream(0.0), Refusal) for _ in range(1000))
    assert usage.spend(10**9, NOON) is None


def test_streams_are_counted_and_come_back() -> None:
    usage = KeyUsage(KeyLimits(concurrent_streams=2))
    first, second = usage.open_stream(0.0), usage.open_stream(10.0)
    assert not isinstance(first, Refusal)
    assert not isinstance(second, Refusal)
    # Nothing has ended yet: 50 s in all, and two that may end.
    assert usage.open_stream(30.0) == Refusal("streams at once", 2, 25)
    usage.close_stream(first, 40.0)
    assert not isinstance(usage.open_stream(40.0), Refusal)
    assert usage.streams == 2
    # One end in 40 + 40 s, and two that may.
    assert usage.open_stream(50.0) == Refusal("streams at once", 2, 45)


def test_characters_last_until_midnight() -> None:
    usage = KeyUsage(KeyLimits(characters_per_day=100))
    assert usage.spend(100, NOON) is None
    refusal = usage.spend(1, NOON + 1)
    assert refusal is not None
    assert (refusal.limit, refusal.retry_after_s) == ("characters a day", DAY_S // 2 - 1)
    assert usage.spend(100, NOON + DAY_S / 2) is None


def test_what_never_started_is_given_back_on_the_same_day_only() -> None:
    usage = KeyUsage(KeyLimits(characters_per_day=100))
    usage.spend(100, NOON)
    usage.refund(60, NOON)
    assert usage.spend(60, NOON) is None
    assert usage.spend(100, NOON + DAY_S) is None
    usage.refund(100, NOON)
    assert usage.spend(1, NOON + DAY_S) is not None


def test_a_limit_of_none_at_all_refuses_everything() -> None:
    refusal = KeyUsage(KeyLimits(requests_per_minute=0)).request(5.0)
    assert refusal is not None
    assert refusal.retry_after_s == WINDOW_S


@given(
    st.integers(1, 5),
    st.lists(st.floats(0, 40, allow_nan=False), max_size=60),
)
def test_no_minute_has_more_requests_than_allowed(allowed: int, gaps: list[float]) -> None:
    usage, now, taken = KeyUsage(KeyLimits(requests_per_minute=allowed)), 0.0, list[float]()
    for gap in gaps:
        now += gap
        refusal = usage.request(now)
        if refusal is None:
            taken.append(now)
            assert sum(now - at < WINDOW_S - 1e-5 for at in taken) <= allowed
        else:
            assert 1 <= refusal.retry_after_s <= WINDOW_S
            assert sum(now - at < WINDOW_S for at in taken) >= allowed


@given(st.integers(1, 5), st.lists(st.floats(0, 20, allow_nan=False), max_size=40))
def test_who_waits_as_told_gets_through(allowed: int, gaps: list[float]) -> None:
    usage, now = KeyUsage(KeyLimits(requests_per_minute=allowed)), 0.0
    for gap in gaps:
        now += gap
        if (refusal := usage.request(now)) is not None:
            now += refusal.retry_after_s
            assert usage.request(now) is None
