"""How much new work this replica's card may take, as its node's thermal guard says.

The replica asks its node, twice a second, and holds to the last answer itself: the router keeps
work from a paused card too, but what it knows is older. If the node does not answer (its telemetry
restarts), the last answer stands for a while; after that the heat is unknown, and the card is
eased, as the guard itself does with a card that tells nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from serve_app.errors import CardPausedError
from serve_app.pieces import TakeItem
from telemetry.core.thermal import GuardState, slots_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refused:
    """What a replica answers instead of a take: its card must not have the segment now.

    A refusal is no failure, so it is an answer: Serve logs and counts what a replica raises.

    Args:
        replica: Who refuses.
        why: For people.
    """

    replica: str
    why: str


TakeBatch = tuple[TakeItem | Refused, ...]
"""One item of a replica's stream: what of a take was ready at once, or a refusal."""


class Permit:
    """The guard's word on one card; :meth:`follow` keeps it fresh.

    Args:
        ask: Asks the node; None where nobody guards (no card, no telemetry).
        period_s: Between two questions.
        timeout_s: Longest wait for an answer.
        blind_after_s: Without an answer for so long, the card is eased.
        clock: Monotonic time, s.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[GuardState]] | None = None,
        *,
        period_s: float = 0.5,
        timeout_s: float = 2.0,
        blind_after_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._period_s, self._timeout_s = ask, period_s, timeout_s
        self._blind_after_s, self._clock = blind_after_s, clock
        self._state: GuardState = "open"
        self._heard_s = clock()

    @property
    def state(self) -> GuardState:
        """What the card may take now."""
        blind = self._ask is not None and self._clock() - self._heard_s > self._blind_after_s
        return "eased" if blind and self._state == "open" else self._state

    def check(self, busy: int, slots: int) -> None:
        """Refuse new work that the card must not take.

        Args:
            busy: Segments that it speaks already.
            slots: Segments that its engine may speak at once.
        Raises:
            CardPausedError: It is paused, or eased and busy enough; another card may take it.
        """
        state = self.state
        if state != "open" and busy >= slots_of(state, slots):
            raise CardPausedError(f"This card is {state} by its thermal guard.")

    async def follow(self) -> None:
        """Ask until cancelled."""
        if self._ask is None:
            return
        while True:
            try:
                async with asyncio.timeout(self._timeout_s):
                    state = await self._ask()
            except Exception as error:  # noqa: BLE001 - whatever the node raises, work goes on
                logger.debug("no word from the thermal guard: %s", type(error).__name__)
            else:
                self._heard_s = self._clock()
                if state != self._state:
                    logger.warning("the thermal guard: this card is %s", state)
                self._state = state
            await asyncio.sleep(self._period_s)
