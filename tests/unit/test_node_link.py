"""A replica's line to its node: what it is told of its card."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from telemetry.core.replica_reports import LoadReport
from telemetry.core.sample import SynthesisRecord
from telemetry.core.thermal import GuardState
from telemetry.node_link import GATHERED_S, NodeLink
from tests.records import record


class Method:
    """A remote method with one answer."""

    def __init__(self, answer: GuardState | None) -> None:
        self._answer = answer
        self.remote: Callable[[str], Awaitable[Any]] = self._remote

    async def _remote(self, _card_uuid: str) -> GuardState | None:
        return self._answer


class Told:
    """A remote method that only listens."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[SynthesisRecord, ...], LoadReport | None]] = []

    def remote(self, records: tuple[SynthesisRecord, ...], load: LoadReport | None) -> None:
        self.calls.append((records, load))


class Actor:
    def __init__(self, answer: GuardState | None = None) -> None:
        self.permit, self.told = Method(answer), Told()


async def test_the_guards_word_is_passed_on() -> None:
    assert await NodeLink(Actor("paused"), "r", "GPU-a").permit() == "paused"


async def test_a_card_that_was_not_read_since_a_restart_is_not_said_to_be_open() -> None:
    with pytest.raises(LookupError, match="has not been read"):
        await NodeLink(Actor(None), "r", "GPU-a").permit()


async def test_what_comes_together_goes_in_one_call_and_the_last_load_counts() -> None:
    actor = Actor()
    link = NodeLink(actor, "r", "GPU-a")
    said = [record(audio_s=float(number)) for number in range(3)]
    for number, one in enumerate(said):
        link.load(number + 1, 4)
        link.spoken(one, None)
    assert actor.told.calls == []
    await asyncio.sleep(2 * GATHERED_S)
    assert actor.told.calls == [(tuple(said), LoadReport("r", "GPU-a", 3, 4))]


async def test_what_is_left_goes_at_the_end_once() -> None:
    actor = Actor()
    link = NodeLink(actor, "r", None)
    link.load(0, 4)
    link.flush()
    link.flush()
    await asyncio.sleep(2 * GATHERED_S)
    assert actor.told.calls == [((), LoadReport("r", None, 0, 4))]


async def test_a_flood_is_sent_at_once_and_without_an_actor_nothing_is_kept() -> None:
    actor = Actor()
    link = NodeLink(actor, "r", None)
    for _ in range(300):
        link.spoken(record(), None)
    assert [len(records) for records, _ in actor.told.calls] == [256]
    link.flush()
    silent = NodeLink(None, "r", None)
    silent.spoken(record(), None)
    silent.flush()
    assert [len(records) for records, _ in actor.told.calls] == [256, 44]
