"""Faults: counted, bounded, forgotten, and judged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.sample import XidEvent
from telemetry.core.xid import XidBook, XidClass, xid_class

FORGET_S = 100.0

steps = st.lists(
    st.tuples(st.floats(0, 60), st.sampled_from(["GPU-0", "GPU-1"]), st.sampled_from([13, 48, 79])),
    max_size=40,
)


@given(steps)
def test_repeats_add_up_until_a_fault_stays_away(story: list[tuple[float, str, int]]) -> None:
    book, now = XidBook(forget_s=FORGET_S), 1000.0
    counts: dict[tuple[str, int], tuple[float, int]] = {}
    for wait_s, uuid, xid in story:
        now += wait_s
        book.add(now, [XidEvent(now, uuid, xid)])
        last, count = counts.pop((uuid, xid), (now, 0))
        counts[uuid, xid] = (now, count + 1 if now - last <= FORGET_S else 1)
    alive = [(key, at, n) for key, (at, n) in counts.items() if now - at <= FORGET_S]
    told = [((e.uuid, e.xid), e.timestamp, e.count) for e in book.events(now)]
    assert told == alive
    assert book.events(now + FORGET_S + 61) == ()


def test_the_fault_that_stayed_away_longest_leaves_a_full_book() -> None:
    book = XidBook(most=2)
    for xid in (1, 2, 1, 3):
        book.add(0.0, [XidEvent(0.0, "GPU-0", xid)])
    assert [(event.xid, event.count) for event in book.events(0.0)] == [(1, 2), (3, 1)]


@pytest.mark.parametrize("wrong", [{"forget_s": 0}, {"most": 0}])
def test_a_book_without_room_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a book of faults needs"):
        XidBook(**wrong)


def test_a_fault_of_the_card_is_told_from_one_of_the_program() -> None:
    assert xid_class(79) is XidClass.CRITICAL
    assert xid_class(94) is XidClass.WARNING
    assert xid_class(31) is XidClass.APPLICATION
    assert xid_class(9_999) is XidClass.OTHER
