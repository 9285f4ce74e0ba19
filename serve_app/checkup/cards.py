"""The driver and the cards of this machine, through the sampler that also watches the service."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from serve_app.checkup.bounded import within
from serve_app.core.machine import Card, Driver
from telemetry.core.sample import CardSample
from telemetry.here import ThisNode
from telemetry.nvml_driver import DriverAnswer, ask_driver
from telemetry.snapshot import NodeSnapshot

DRIVER_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class CardsFound:
    """The driver and its cards."""

    driver: Driver
    cards: tuple[Card, ...]


def find_cards(timeout_s: float = DRIVER_TIMEOUT_S) -> CardsFound:
    """Read the driver and one sample of each card; a card that hangs is named, not waited for."""
    try:
        answer = within(timeout_s, ask_driver)
        seen = within(timeout_s, _first_look)
    except TimeoutError:
        reason = (
            f"the driver does not answer within {timeout_s:g} s; look for 'Xid' in the kernel log "
            "and restart the node"
        )
        return CardsFound(Driver(missing=reason), ())
    return found_in(answer, seen)


def _first_look() -> NodeSnapshot:
    watch = ThisNode()
    try:
        return asyncio.run(watch.snapshot("here", None))
    finally:
        watch.close()


def found_in(answer: DriverAnswer | None, seen: NodeSnapshot) -> CardsFound:
    """What the driver and its cards have told together."""
    if answer is None:
        return CardsFound(Driver(missing="; ".join(seen.problems) or "NVML gives no reason"), ())
    cards = {aged.sample.index: card_of(aged.sample) for aged in seen.latest}
    for index in range(answer.cards):
        silent = "; ".join(("does not answer", *seen.problems))
        cards.setdefault(index, Card(index, "UUID unknown", "NVIDIA card", error=silent))
    driver = Driver(version=answer.version, cuda=answer.cuda)
    return CardsFound(driver, tuple(cards[index] for index in sorted(cards)))


def card_of(sample: CardSample) -> Card:
    """What the doctor wants to know of a sample."""
    free_bytes = sample.mem_free_bytes
    if free_bytes is None and sample.mem_total_bytes is not None:
        used_bytes = (sample.mem_used_bytes or 0) + (sample.mem_reserved_bytes or 0)
        free_bytes = sample.mem_total_bytes - used_bytes
    return Card(
        index=sample.index,
        uuid=sample.uuid,
        name=sample.name,
        total_bytes=sample.mem_total_bytes,
        free_bytes=free_bytes,
        temp_c=sample.temp_c,
        error=sample.error,
    )
