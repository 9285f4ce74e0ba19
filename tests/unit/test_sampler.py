"""The sampler's threads: on time, bounded in number, and ended by their owner."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.reader import CardReader, Lane, Reading
from telemetry.core.sample import CardSample
from telemetry.sampler import HANGS_AFTER_S, CardSampler, next_deadline
from tests.unit.scripted_cards import ScriptedCards

PATIENCE_S = 30.0


class Kept:
    """Counts the readings by card, and waits for more of them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.counts: dict[str, int] = {}

    def __call__(self, began: float, reading: Reading) -> None:
        with self._changed:
            for sample in reading.samples:
                self.counts[sample.uuid] = self.counts.get(sample.uuid, 0) + 1
            self._changed.notify_all()

    def wait_more(self, uuid: str, more: int = 3) -> None:
        with self._changed:
            goal = self.counts.get(uuid, 0) + more
            assert self._changed.wait_for(lambda: self.counts.get(uuid, 0) >= goal, PATIENCE_S)


class Card:
    """A lane that hangs or fails when told, and tells which threads were in it."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.hang, self.inside, self.released = (threading.Event() for _ in range(3))
        self.error: Exception | None = None
        self.threads: set[int] = set()
        self._alone = threading.Lock()
        self.crowded = False

    def __call__(self) -> Reading:
        self.crowded |= not self._alone.acquire(blocking=False)
        try:
            self.threads.add(threading.get_ident())
            if self.hang.is_set():
                self.inside.set()
                assert self.released.wait(PATIENCE_S)
            if self.error is not None:
                raise self.error
            return Reading((CardSample(0.0, 0, self.uuid, "card", simulated=False),))
        finally:
            self._alone.release()


def started(reader: CardReader, kept: Kept) -> CardSampler:
    sampler = CardSampler(reader, kept, period_s=0.005)
    sampler.start()
    return sampler


def readers() -> int:
    return sum(thread.name == "card-reader" for thread in threading.enumerate())


def wait_until(holds: Callable[[], bool], kept: Kept, uuid: str) -> None:
    """Wait while another card goes on being read; many readings are enough for anything."""
    for _ in range(2_000):
        if holds():
            return
        kept.wait_more(uuid, 1)
    raise AssertionError("it did not happen")


def test_one_thread_reads_all_lanes_again_and_again_and_the_reader_is_closed() -> None:
    first, second, kept = Card("a"), Card("b"), Kept()
    reader = ScriptedCards(first=first, second=second)
    sampler = started(reader, kept)
    assert sampler.wait_first(PATIENCE_S)
    kept.wait_more("a", 5)
    kept.wait_more("b", 5)
    assert first.threads == second.threads
    assert len(first.threads) == 1
    assert threading.get_ident() not in first.threads
    assert sampler.close(PATIENCE_S)
    assert sampler.close(PATIENCE_S)
    assert reader.closed.is_set()
    assert readers() == 0


def test_lanes_that_hang_keep_a_thread_each_and_the_others_go_on() -> None:
    cards, kept = [Card(name) for name in "abcd"], Kept()
    a, b, c, d = cards
    sampler = started(ScriptedCards(a=a, b=b, c=c, d=d), kept)
    kept.wait_more("d")
    for hanging in (a, c):
        hanging.hang.set()
        assert hanging.inside.wait(PATIENCE_S)
    kept.wait_more("b", 20)
    kept.wait_more("d", 20)
    wait_until(lambda: readers() == 3, kept, "d")
    for hanging in (a, c):
        hanging.hang.clear()
        hanging.released.set()
        kept.wait_more(hanging.uuid)
    wait_until(lambda: readers() == 1, kept, "b")
    assert not any(card.crowded for card in cards)
    assert sampler.close(PATIENCE_S)


def test_a_hang_holds_up_neither_questions_nor_the_end() -> None:
    card, kept = Card("a"), Kept()
    reader = ScriptedCards(a=card)
    sampler = started(reader, kept)
    card.hang.set()
    assert card.inside.wait(PATIENCE_S)
    assert sampler.problems() == ("card 1: warm",)
    assert not sampler.close(timeout_s=0.05)
    assert not reader.closed.is_set()
    card.released.set()
    assert sampler.close(PATIENCE_S)
    assert reader.closed.is_set()


def test_a_long_hang_is_told_with_its_length() -> None:
    now = 0.0
    card = Card("a")
    card.hang.set()
    sampler = CardSampler(ScriptedCards(a=card), Kept(), clock=lambda: now)
    asker = threading.Thread(target=sampler.tick)
    asker.start()
    assert card.inside.wait(PATIENCE_S)
    now = HANGS_AFTER_S
    assert sampler.problems() == ("card 1: warm",)
    now = 7.0
    assert sampler.problems()[1:] == ("a: the driver has not answered for 7 s",)
    card.released.set()
    asker.join(PATIENCE_S)
    assert sampler.problems() == ("card 1: warm",)


def test_a_lane_that_fails_is_told_and_survived_and_holds_up_none() -> None:
    bad, good, kept = Card("bad"), Card("good"), Kept()
    bad.error = RuntimeError("the bus is on fire")
    sampler = CardSampler(ScriptedCards(bad=bad, good=good), kept)
    sampler.tick()
    assert kept.counts == {"good": 1}
    assert sampler.problems()[1:] == ("bad: RuntimeError: the bus is on fire",)
    bad.error = None
    sampler.tick()
    assert kept.counts == {"good": 2, "bad": 1}
    assert sampler.problems() == ("card 1: warm",)


def test_a_reader_that_fails_to_tell_its_lanes_is_asked_again() -> None:
    class Moody(ScriptedCards):
        fails = True

        def lanes(self) -> tuple[Lane, ...]:
            if self.fails:
                raise RuntimeError("no lanes today")
            return super().lanes()

    kept = Kept()
    reader = Moody(a=Card("a"))
    sampler = started(reader, kept)
    assert sampler.wait_first(PATIENCE_S)
    assert sampler.problems()[1:] == ("driver: RuntimeError: no lanes today",)
    reader.fails = False
    kept.wait_more("a")
    assert sampler.problems() == ("card 1: warm",)
    assert sampler.close(PATIENCE_S)


def test_lanes_that_come_are_read_and_those_that_leave_are_not() -> None:
    first, second, kept = Card("a"), Card("b"), Kept()
    reader = ScriptedCards(a=first)
    sampler = started(reader, kept)
    kept.wait_more("a")
    reader.served = {"b": Lane("b", second)}
    kept.wait_more("b", 5)
    before = kept.counts["a"]
    kept.wait_more("b", 5)
    assert kept.counts["a"] == before
    assert sampler.close(PATIENCE_S)


def test_closing_before_the_start_closes_the_reader() -> None:
    reader = ScriptedCards()
    assert CardSampler(reader, Kept()).close()
    assert reader.closed.is_set()


@given(st.floats(0, 1e6), st.floats(0, 1e4), st.floats(0.01, 100))
def test_the_next_tick_is_the_first_on_the_grid_after_now(
    deadline: float, late_s: float, period_s: float
) -> None:
    now = deadline + late_s
    following = next_deadline(deadline, now, period_s)
    tolerance = 1e-9 * max(now, 1) + 1e-9
    assert now - tolerance <= following <= now + period_s + tolerance
    ticks = (following - deadline) / period_s
    assert ticks == pytest.approx(round(ticks), abs=1e-4)
