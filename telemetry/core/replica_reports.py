"""What a node's replicas say of themselves, in bounded memory.

Plain state without a clock, a thread or a lock: its owner passes the monotonic time in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

REPORT_EXPIRY_S = 15.0
"""A replica that has reported nothing for this long counts as idle, or gone."""

MAX_REPLICAS = 512
"""Replicas whose reports one node keeps; the longest silent one leaves first."""


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """What a replica said about itself last.

    Args:
        replica: Replica id.
        card_uuid: Card it runs on, or None without one.
        busy, slots: Slots that are speaking, and slots in all.
        age_s: Seconds since it said so.
    """

    replica: str
    card_uuid: str | None
    busy: int
    slots: int
    age_s: float


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a replica says about itself.

    Args:
        replica: Replica id.
        card_uuid: Card it runs on, or None without one.
        busy, slots: Slots that are speaking, and slots in all.
    """

    replica: str
    card_uuid: str | None
    busy: int
    slots: int


@dataclass(frozen=True, slots=True)
class _Report:
    uuid: str | None
    busy: int
    slots: int
    at: float


class ReplicaReports:
    """The last report of each replica."""

    def __init__(self) -> None:
        self._reports: dict[str, _Report] = {}

    def heard(
        self, now_s: float, replica: str, card_uuid: str | None, busy: int, slots: int
    ) -> None:
        """Take a report; one with ``slots=0`` says goodbye."""
        self._reports.pop(replica, None)
        if slots > 0:
            self._reports[replica] = _Report(card_uuid, busy, slots, now_s)
        while len(self._reports) > MAX_REPLICAS:
            self._reports.pop(next(iter(self._reports)))

    def loads(self, now_s: float) -> tuple[ReplicaLoad, ...]:
        """What the replicas that still report do."""
        return tuple(
            ReplicaLoad(name, report.uuid, report.busy, report.slots, now_s - report.at)
            for name, report in self._reports.items()
            if now_s - report.at <= REPORT_EXPIRY_S
        )

    def assign(self, now_s: float, replica: str, uuids: Sequence[str]) -> str:
        """The card of a replica: the one it has, or the one with the fewest live replicas.

        Between equally used cards it is the one whose replicas have been silent longest, so that
        the successor of a dead replica gets its card.
        """
        known = self._reports.get(replica)
        if known is not None and known.uuid is not None and known.uuid in uuids:
            return known.uuid
        uuid = min(uuids, key=lambda uuid: self._usage(uuid, now_s))
        self._reports[replica] = _Report(uuid, 0, 1, now_s)
        return uuid

    def _usage(self, uuid: str, now_s: float) -> tuple[int, float]:
        """Live replicas on a card, and when one of them was heard last."""
        heard = [report.at for report in self._reports.values() if report.uuid == uuid]
        live = sum(now_s - at <= REPORT_EXPIRY_S for at in heard)
        return live, max(heard, default=-math.inf)
