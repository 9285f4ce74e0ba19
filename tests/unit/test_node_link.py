"""A replica's line to its node: what it is told of its card."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from telemetry.actor import NodeLink
from telemetry.core.thermal import GuardState


class Method:
    """A remote method with one answer."""

    def __init__(self, answer: GuardState | None) -> None:
        self._answer = answer
        self.remote: Callable[[str], Awaitable[Any]] = self._remote

    async def _remote(self, _card_uuid: str) -> GuardState | None:
        return self._answer


class Actor:
    def __init__(self, answer: GuardState | None) -> None:
        self.permit = Method(answer)


async def test_the_guards_word_is_passed_on() -> None:
    assert await NodeLink(Actor("paused"), "r", "GPU-a").permit() == "paused"


async def test_a_card_that_was_not_read_since_a_restart_is_not_said_to_be_open() -> None:
    with pytest.raises(LookupError, match="has not been read"):
        await NodeLink(Actor(None), "r", "GPU-a").permit()
