"""Faults: counted, bounded, forgotten, and judged."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.sample import XidEvent
from telemetry.core.xid import XidBook, XidClass, xid_class

WINDOW_S = 100.0

steps = st.lists(
    st.tuples(st.floats(0, 60), st.sampled_from(["GPU-0", "GPU-1"]), st.sampled_from([13, 48, 79])),
    max_size=40,
)


@given(steps)
def test_each_fault_counts_for_its_time_however_often_it_comes_again(
    story: list[tuple[float, str, int]],
) -> None:
    book, now = XidBook(window_s=WINDOW_S), 1000.0
    seen: list[tuple[float, str, int]] = []
    for wait_s, uuid, xid in story:
        now += wait_s
        book.add(now, [XidEvent(now, uuid, xid)])
        seen.append((now, uuid, xid))
    late = [(uuid, xid) for at, uuid, xid in seen if now - at <= WINDOW_S]
    assert {(e.uuid, e.xid): e.count for e in book.events(now)} == Counter(late)
    times = [event.timestamp for event in book.events(now)]
    assert times == sorted(times)
    assert {(e.uuid, e.xid): e.count for e in book.totals} == Counter(s[1:] for s in seen)
    assert book.events(now + WINDOW_S + 1) == ()


def test_a_full_book_keeps_what_came_last() -> None:
    book = XidBook(most=2)
    for xid in (1, 2, 1, 3):
        book.add(0.0, [XidEvent(0.0, "GPU-0", xid)])
    assert [(event.xid, event.count) for event in book.events(0.0)] == [(1, 1), (3, 1)]
    assert [(event.xid, event.count) for event in book.totals] == [(1, 2), (3, 1)]


@pytest.mark.parametrize("wrong", [{"window_s": 0}, {"most": 0}])
def test_a_book_without_room_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a book of faults needs"):
        XidBook(**wrong)


def test_a_fault_of_the_card_is_told_from_one_of_the_program() -> None:
    assert xid_class(79) is XidClass.CRITICAL
    assert xid_class(94) is XidClass.WARNING
    assert xid_class(31) is XidClass.APPLICATION
    assert xid_class(9_999) is XidClass.OTHER
