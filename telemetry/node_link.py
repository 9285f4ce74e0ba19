"""A replica's line to the telemetry of its node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

import ray
from ray.exceptions import ActorDiedError, RayError

from telemetry.core.card_use import CardUse
from telemetry.core.export_state import Exports
from telemetry.core.replica_reports import LoadReport
from telemetry.core.sample import SynthesisRecord
from telemetry.core.thermal import GuardState
from telemetry.nvml import uuid_of

logger = logging.getLogger(__name__)

GATHERED_S: Final = 0.05
_MOST_RECORDS: Final = 256


def assigned_card() -> str | None:
    """UUID of the card that Ray gave this worker, or None without one. Blocks, as NVML does.

    Raises:
        UnknownCardError: Ray's id is not that of one of the node's cards.
    """
    ids = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    return uuid_of(str(ids[0])) if ids else None


class NodeLink:
    """A replica's line to its node's actor: sends and forgets, never waits, never raises.

    It is a :class:`~telemetry.speech_metrics.SynthesisHook`. What it is told within
    ``GATHERED_S`` goes in one call: a call costs the replica and the actor a millisecond each,
    which is much beside a short sentence. Its calls belong to one event loop.

    Args:
        actor: The node's, or None until :class:`NodeSearch` has found it; meanwhile the last load
            and a few records are kept.
        replica: Replica id.
        card_uuid: The replica's card, or None.
        exports: How this process' exports go, which its collector may never hear.
    """

    def __init__(
        self,
        actor: Any | None,
        replica: str,
        card_uuid: str | None,
        exports: Callable[[], Exports] = tuple,
    ) -> None:
        self._actor = actor
        self.replica = replica
        self.card_uuid = card_uuid
        self._exports = exports
        self._records: list[SynthesisRecord] = []
        self._load: LoadReport | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def connected(self) -> bool:
        """Whether there is somebody to tell and to ask, as far as is known."""
        return self._actor is not None

    def connect(self, actor: Any, card_uuid: str | None) -> None:
        """Tell and ask *actor* from now on; the replica's card is *card_uuid*."""
        self._actor, self.card_uuid = actor, card_uuid
        self._soon()

    def spoken(self, record: SynthesisRecord, context: object) -> None:  # noqa: ARG002
        """Send a record, soon."""
        self._records.append(record)
        if len(self._records) >= _MOST_RECORDS:
            self.flush()
        else:
            self._soon()

    def load(self, busy: int, slots: int) -> None:
        """Send how many slots are busy, soon; at every change and every 5 s at least."""
        self._load = LoadReport(self.replica, self.card_uuid, busy, slots)
        self._soon()

    def flush(self) -> None:
        """Send what is left, now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        records, self._records = tuple(self._records), []
        load, self._load = self._load, None
        if self._actor is None or not (records or load):
            return
        try:
            self._actor.told.remote(records, load, self._exports())
        except RayError as error:
            logger.debug("telemetry dropped %d records: %s", len(records), error)

    def _soon(self) -> None:
        if self._timer is None and self._actor is not None:
            self._timer = asyncio.get_running_loop().call_later(GATHERED_S, self.flush)

    async def permit(self) -> GuardState:
        """What the thermal guard allows the replica's card now; unlike the rest it may raise.

        Raises:
            RayError: The actor is gone or restarting.
            LookupError: There is no card, no actor, or no reading of the card (yet, or since long).
        """
        if self._actor is None or self.card_uuid is None:
            raise LookupError("nobody guards a card here")
        try:
            state: GuardState | None = await self._actor.permit.remote(self.card_uuid)
        except ActorDiedError:
            # It may be dead for good; who looks it up again finds it, or the one behind it.
            self._actor = None
            raise
        if state is None:
            raise LookupError(f"card {self.card_uuid} has not been read")
        return state

    async def card_over(self, since_unix: float, until_unix: float) -> CardUse | None:
        """What the replica's card did over an interval; raises as :meth:`permit`."""
        if self._actor is None or self.card_uuid is None:
            raise LookupError("there is no card here, or nobody who watches it")
        asked = self._actor.card_over.remote(self.card_uuid, since_unix, until_unix)
        use: CardUse | None = await asked
        return use


class NodeSearch:
    """Finds the telemetry of a replica's node, however often it must look; owned by one loop.

    A start that Ray is slow with must not leave a card without its guard for life. There is one
    question at a time: Ray blocks a thread, which can't be given up.

    Args:
        ask: Finds the node's actor or makes it; blocks. :func:`telemetry.actor.ensure_actor`.
        simulated: A replica without a card gets a simulated one.
        timeout_s: Longest wait for each answer.
    """

    def __init__(
        self, ask: Callable[[], Any], *, simulated: bool = False, timeout_s: float = 15.0
    ) -> None:
        self._ask, self._simulated, self._timeout_s = ask, simulated, timeout_s
        self._asking: asyncio.Future[Any] | None = None

    async def connect(self, link: NodeLink) -> bool:
        """Connect *link*, which keeps the card that it has; False if that failed this time."""
        try:
            actor = await self._found()
            card = link.card_uuid
            if card is None and self._simulated:
                asked = actor.assign_simulated.remote(link.replica)
                card = await asyncio.wait_for(asked, self._timeout_s)
        except Exception as error:  # noqa: BLE001 - whatever Ray's trouble is, speech goes on
            logger.warning("no telemetry on this node yet: %s", error or type(error).__name__)
            return False
        link.connect(actor, card)
        return True

    async def _found(self) -> Any:
        if self._asking is None:
            self._asking = asyncio.ensure_future(asyncio.to_thread(self._ask))
        asking = self._asking
        try:
            return await asyncio.wait_for(asyncio.shield(asking), self._timeout_s)
        finally:
            if asking.done():
                self._asking = None
