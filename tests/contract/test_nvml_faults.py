"""Faults (Xid events) on the real ``pynvml``, over the stand-in driver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from telemetry.nvml_events import MOST_AT_A_LOOK
from tests.driver.build import LOST, NO_PERMISSION, NOT_SUPPORTED, UNKNOWN, cards, write_state
from tests.driver.nvml_child import NvmlChild

Start = Callable[..., NvmlChild]


def test_every_fault_is_told_once_in_its_order_with_its_card(start: Start, state: Path) -> None:
    first, second = cards(2)
    write_state(state, [replace(first, xids=(13,)), second])
    child = start()
    assert child("faults") == []  # what came before the registration is lost
    write_state(state, [replace(first, xids=(13, 48, 48)), replace(second, xids=(31,))])
    assert child("faults") == [[first.uuid, 48], [first.uuid, 48], [second.uuid, 31]]
    assert child("faults") == []


def test_a_card_that_falls_off_the_bus_tells_why_and_the_others_are_still_heard(
    start: Start, state: Path
) -> None:
    good, bad = cards(2)
    write_state(state, [good, bad])
    child = start()
    child("faults")
    write_state(state, [good, replace(bad, lost=LOST, xids=(79,))])
    assert child("faults") == [[bad.uuid, 79]]
    write_state(state, [replace(good, xids=(63,)), replace(bad, lost=LOST, xids=(79,))])
    assert child("faults") == [[good.uuid, 63]]
    write_state(state, [replace(good, xids=(63,)), replace(bad, xids=(79,))])
    child("advance", 10.0)
    assert child("faults") == []
    write_state(state, [replace(good, xids=(63,)), replace(bad, xids=(79, 31))])
    assert child("faults") == [[bad.uuid, 31]]
    assert child("problems") == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (NOT_SUPPORTED, []),
        (NO_PERMISSION, ["card 0: faults can't be watched: Insufficient Permissions"]),
        (UNKNOWN, ["card 0: faults can't be watched: Unknown Error"]),
    ],
)
def test_a_card_that_can_t_be_watched_keeps_none_other_from_being_heard(
    start: Start, state: Path, answer: int, told: list[str]
) -> None:
    mute, other = replace(cards(1)[0], refuses={"events": answer}), cards(2)[1]
    write_state(state, [mute, other])
    child = start()
    child("faults")
    child("faults")
    write_state(state, [replace(mute, xids=(48,)), replace(other, xids=(48,))])
    assert child("faults") == [[other.uuid, 48]]
    assert child("problems") == told


def test_a_card_that_can_t_be_reached_for_a_moment_is_watched_as_soon_as_it_can(
    start: Start, state: Path
) -> None:
    card = cards(1)[0]
    write_state(state, [replace(card, refuses={"events": LOST})])
    child = start()
    child("faults")
    assert child("problems") == []
    write_state(state, [card])
    child("faults")
    write_state(state, [replace(card, xids=(48,))])
    assert child("faults") == [[card.uuid, 48]]


def test_a_driver_that_goes_and_comes_is_listened_to_again(start: Start, state: Path) -> None:
    card = cards(1)[0]
    write_state(state, [card])
    child = start()
    child("faults")
    state.unlink()
    assert child("faults") == []
    write_state(state, [replace(card, xids=(48,))])
    child("faults")
    child("advance", 10.0)
    assert child("faults") == []
    write_state(state, [replace(card, xids=(48, 74))])
    assert child("faults") == [[card.uuid, 74]]


def test_a_storm_is_taken_in_parts(start: Start, state: Path) -> None:
    card = cards(1)[0]
    write_state(state, [card])
    child = start()
    child("faults")
    write_state(state, [replace(card, xids=(13,) * (MOST_AT_A_LOOK + 6))])
    assert [len(child("faults")) for _ in range(3)] == [MOST_AT_A_LOOK, 6, 0]
