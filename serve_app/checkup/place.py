"""Where a check runs: on the card that the config's device means, else on the CPU if allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from serve_app.checkup.cards import CardsFound, find_cards
from serve_app.checkup.check import Place
from serve_app.checkup.look import find_torch
from serve_app.checkup.meter import CardMeter
from serve_app.core.machine import Torch
from serve_app.errors import ConfigError
from telemetry.here import ThisNode

METER_PERIOD_S = 0.2


@dataclass(frozen=True, slots=True)
class Chosen:
    """A place, and the engine's options with the device that belongs to it."""

    place: Place
    options: dict[str, Any]


@contextmanager
def chosen_place(options: Mapping[str, Any], *, allow_cpu: bool) -> Iterator[Chosen]:
    """Find the card; it is watched within the block.

    Args:
        options: Of the engine.
        allow_cpu: Take the CPU where there is no card, or the options ask for it.

    Raises:
        ConfigError: There is no card to be used and the CPU is not allowed, or no torch.
    """
    found, torch = find_cards(), find_torch(asked=True)
    why = why_no_card(found, torch, str(options.get("device", "auto")))
    if why is not None:
        if torch.version is None or torch.problem is not None or not allow_cpu:
            raise ConfigError(f"No card to check: {why}.{_OR_CPU if torch.version else ''}")
        place = Place(found.driver, None, False, None, None, torch.cuda)
        yield Chosen(place, {**options, "device": "cpu"})
        return
    yield from _on_card(found, torch, options)


_OR_CPU = (
    " 'vibevoice-serve doctor' says more; with --allow-cpu the check runs on the CPU, and says so."
)


def why_no_card(found: CardsFound, torch: Torch, device: str) -> str | None:
    """Why the engine would not compute on a card; None if it would."""
    if torch.version is None:
        return "torch is not installed; pip install 'vibevoice-serve[vibevoice]'"
    if torch.problem is not None:
        return f"torch {torch.version} does not work: {torch.problem}"
    if device == "cpu":
        return "the config says device: cpu"
    return None if torch.cards > 0 else _unseen(found, torch)


def _unseen(found: CardsFound, torch: Torch) -> str:
    if found.driver.missing is not None:
        return found.driver.missing
    if torch.cuda is None:
        return f"torch {torch.version} is built without CUDA; install a build with it"
    return f"torch {torch.version} sees none of the driver's {len(found.cards)} cards"


def _on_card(found: CardsFound, torch: Torch, options: Mapping[str, Any]) -> Iterator[Chosen]:
    from serve_app.checkup.torch_probe import TorchMemory, card_uuid  # noqa: PLC0415 - seconds

    device = str(options.get("device", "auto"))
    device = "cuda" if device == "auto" else device
    uuid = card_uuid(device)
    named = [card for card in found.cards if uuid in {None, card.uuid}]
    card = named[0] if len(named) == 1 else None
    memory = TorchMemory(device)
    if card is None:
        yield Chosen(Place(found.driver, None, True, None, memory, torch.cuda), dict(options))
        return
    watch = ThisNode(period_s=METER_PERIOD_S)
    try:
        meter = CardMeter(watch, card.uuid)
        yield Chosen(Place(found.driver, card, True, meter, memory, torch.cuda), dict(options))
    finally:
        watch.close()
