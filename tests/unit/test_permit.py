"""A replica's permit: the node's word, its silence, and what is refused."""

from __future__ import annotations

import asyncio

import pytest

from serve_app.errors import CardPausedError
from serve_app.permit import Permit
from telemetry.core.thermal import GuardState


class Node:
    """A node's guard that says what it is told, or nothing."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.word: GuardState | None = "open"
        self.asked = asyncio.Event()
        self.permit = Permit(
            self.ask, period_s=0.0, timeout_s=1.0, blind_after_s=30.0, clock=lambda: self.now_s
        )

    async def ask(self) -> GuardState:
        self.asked.set()
        if self.word is None:
            raise ConnectionError("the actor restarts")
        return self.word

    async def next_word(self, word: GuardState | None) -> None:
        """Say *word* from now on, and wait until it has been heard."""
        self.word = word
        for _ in range(2):
            self.asked.clear()
            await self.asked.wait()


async def test_the_replica_holds_to_the_nodes_word() -> None:
    node = Node()
    following = asyncio.create_task(node.permit.follow())
    await node.next_word("paused")
    assert node.permit.state == "paused"
    with pytest.raises(CardPausedError, match="paused"):
        node.permit.check(busy=0, slots=4)
    await node.next_word("eased")
    node.permit.check(busy=1, slots=4)
    with pytest.raises(CardPausedError, match="eased"):
        node.permit.check(busy=2, slots=4)
    await node.next_word("open")
    node.permit.check(busy=99, slots=4)
    following.cancel()


async def test_a_node_that_restarts_changes_nothing_for_a_while() -> None:
    node = Node()
    following = asyncio.create_task(node.permit.follow())
    await node.next_word("open")
    await node.next_word(None)
    node.now_s = 29.0
    before = node.permit.state
    node.now_s = 31.0
    assert (before, node.permit.state) == ("open", "eased")
    await node.next_word("open")
    assert node.permit.state == "open"
    following.cancel()


async def test_silence_never_opens_a_paused_card() -> None:
    node = Node()
    following = asyncio.create_task(node.permit.follow())
    await node.next_word("paused")
    await node.next_word(None)
    node.now_s = 1e6
    assert node.permit.state == "paused"
    following.cancel()


async def test_where_nobody_guards_everything_is_allowed() -> None:
    permit = Permit(clock=lambda: 1e9)
    await permit.follow()
    permit.check(busy=99, slots=1)
