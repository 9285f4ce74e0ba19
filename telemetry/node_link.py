"""A replica's line to the telemetry of its node."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import ray
from ray.exceptions import RayError

from telemetry.actor import ensure_actor
from telemetry.core.card_use import CardUse
from telemetry.core.replica_reports import LoadReport
from telemetry.core.sample import SynthesisRecord
from telemetry.core.thermal import GuardState
from telemetry.nvml import uuid_of
from telemetry.watch_config import TelemetryConfig

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


async def local_actor(config: TelemetryConfig, timeout_s: float = 5.0) -> Any | None:
    """The actor of this worker's node, or None if it can't be had in time."""
    node = ray.get_runtime_context().get_node_id()
    try:
        return await asyncio.wait_for(asyncio.to_thread(ensure_actor, node, config), timeout_s)
    except (TimeoutError, RayError) as error:
        logger.warning("no telemetry on node %s: %s", node, error or "timed out")
        return None


class NodeLink:
    """A replica's line to its node's actor: sends and forgets, never waits, never raises.

    It is a :class:`~telemetry.speech_metrics.SynthesisHook`. What it is told within
    ``GATHERED_S`` goes in one call: a call costs the replica and the actor a millisecond each,
    which is much beside a short sentence. Its calls belong to one event loop.

    Args:
        actor: From :func:`local_actor`; with None everything is dropped.
        replica: Replica id.
        card_uuid: The replica's card, or None.
    """

    def __init__(self, actor: Any | None, replica: str, card_uuid: str | None) -> None:
        self._actor = actor
        self._replica = replica
        self._card_uuid = card_uuid
        self._records: list[SynthesisRecord] = []
        self._load: LoadReport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def spoken(self, record: SynthesisRecord, context: object) -> None:  # noqa: ARG002
        """Send a record, soon."""
        self._records.append(record)
        if len(self._records) >= _MOST_RECORDS:
            self.flush()
        else:
            self._soon()

    def load(self, busy: int, slots: int) -> None:
        """Send how many slots are busy, soon; at every change and every 5 s at least."""
        self._load = LoadReport(self._replica, self._card_uuid, busy, slots)
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
            self._actor.told.remote(records, load)
        except RayError as error:
            logger.debug("telemetry dropped %d records: %s", len(records), error)

    def _soon(self) -> None:
        if self._timer is None and self._actor is not None:
            self._timer = asyncio.get_running_loop().call_later(GATHERED_S, self.flush)

    @property
    def guarded(self) -> bool:
        """Whether there is a card and somebody who guards it."""
        return self._actor is not None and self._card_uuid is not None

    async def permit(self) -> GuardState:
        """What the thermal guard allows the replica's card now; unlike the rest it may raise.

        Raises:
            RayError: The actor is gone or restarting.
            LookupError: There is no card, no actor, or no reading of the card (yet, or since long).
        """
        if self._actor is None or self._card_uuid is None:
            raise LookupError("nobody guards a card here")
        state: GuardState | None = await self._actor.permit.remote(self._card_uuid)
        if state is None:
            raise LookupError(f"card {self._card_uuid} has not been read")
        return state

    async def card_over(self, since_unix: float, until_unix: float) -> CardUse | None:
        """What the replica's card did over an interval; raises as :meth:`permit`."""
        if self._actor is None or self._card_uuid is None:
            raise LookupError("there is no card here, or nobody who watches it")
        asked = self._actor.card_over.remote(self._card_uuid, since_unix, until_unix)
        use: CardUse | None = await asked
        return use
