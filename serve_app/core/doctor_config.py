"""Whether a config can run on a machine: cards and CPUs for its replicas, weights, voices."""

from __future__ import annotations

from typing import Final

from serve_app.core.finding import COLUMNS, Finding, gib, slots_on, slots_text
from serve_app.core.machine import Card, Machine, Wanted
from serve_app.core.vram import ModelSize, segment_columns

INGRESS_CPUS: Final = 0.1


def examine_config(machine: Machine) -> tuple[Finding, ...]:
    """Judge the config alone."""
    wanted = machine.wanted
    return (
        _config(wanted),
        *_cpus(machine),
        *_replicas(machine),
        *_weights(wanted),
        *_voices(wanted),
    )


def _config(wanted: Wanted) -> Finding:
    many = "a replica on every card" if wanted.replicas is None else f"{wanted.replicas} replicas"
    says = f"{wanted.path}: {wanted.kind}, {many}, slots {wanted.slots}, cards: {wanted.cards}"
    return Finding("config", "ok", says)


def _cpus(machine: Machine) -> list[Finding]:
    booked = _count(machine) * machine.wanted.replica_cpus + INGRESS_CPUS
    if booked <= machine.cpus:
        return []
    says = f"the replicas book {booked:g} CPUs; this machine has {machine.cpus}"
    do = "lower replica_cpus, or replicas, or join a cluster (serve --address)"
    return [Finding("CPUs", "stop", says, do)]


def _replicas(machine: Machine) -> list[Finding]:
    """A card for each replica, and memory on it."""
    wanted, replicas = machine.wanted, _count(machine)
    healthy = [card for card in machine.cards if card.error is None]
    findings = []
    if wanted.cards == "nvml" and len(healthy) < replicas and machine.cards:
        says = f"{replicas} replicas need a card each; {len(healthy)} of this machine's work"
        do = "set replicas to the number that work, or join a cluster (serve --address)"
        findings.append(Finding("cards", "stop", says, do))
    if wanted.needs_cards and wanted.weights is not None and healthy:
        findings += _fits(wanted, healthy, replicas if wanted.cards == "nvml" else 1)
    return findings


def _count(machine: Machine) -> int:
    replicas = machine.wanted.replicas
    return len(machine.cards) if replicas is None else replicas


def _fits(wanted: Wanted, cards: list[Card], replicas: int) -> list[Finding]:
    """Whether the config's model fits on the cards that its replicas get."""
    assert wanted.weights is not None
    model, columns = wanted.size, COLUMNS
    if wanted.static_cache_s is not None:
        columns = max(columns, segment_columns(wanted.static_cache_s))
    if model is None:
        says = f"the size of {wanted.weights.model} is unknown until its weights are here"
        return [Finding("memory", "note", says)]
    fits = {card.index: slots_on(card, model, columns) for card in cards}
    full = [card for card in cards if fits[card.index] == 0]
    if len(cards) - len(full) < min(replicas, len(cards)):
        return [_too_small(model, card, columns) for card in full]
    known = [slots for slots in fits.values() if slots]
    if not known:
        return [Finding("memory", "note", "the cards don't tell their memory: start with slots: 1")]
    fewest = min(known)
    name = f"{model.name} in int8" if wanted.int8 else model.name
    says = f"{name} with {slots_text(fewest)} on the fullest of {len(known)} cards (computed)"
    if fewest < wanted.slots:
        do = f"set slots: {fewest}; the engine would lower them by itself when memory runs out"
        return [Finding("memory", "note", f"{says}; the config asks for {wanted.slots}", do)]
    return [Finding("memory", "ok", says)]


def _too_small(model: ModelSize, card: Card, columns: int) -> Finding:
    assert card.total_bytes is not None
    assert card.free_bytes is not None
    needed = model.bytes_for(1, card.total_bytes, columns)
    says = (
        f"{model.name} needs {gib(needed)} GiB with head-room for one slot; card {card.index} "
        f"has {gib(card.free_bytes)} of {gib(card.total_bytes)} GiB free"
    )
    if needed <= card.total_bytes:
        do = "see with 'nvidia-smi' what holds the rest and stop it, or choose other cards"
    else:
        do = "take a larger card or a smaller model"
    return Finding("memory", "stop", says, do)


def _weights(wanted: Wanted) -> list[Finding]:
    weights = wanted.weights
    if weights is None:
        return []
    if weights.problem is None:
        size = "" if weights.weights_bytes is None else f", {gib(weights.weights_bytes)} GiB"
        return [Finding("weights", "ok", f"{weights.folder}{size}")]
    do = weights.fetch_command
    if weights.named_on_hub:
        do += f", then set model: models/{weights.model.rpartition('/')[2]}"
    if weights.revision is None:
        do += " (COMMIT: choose one of the model's page, so that it never changes under you)"
    return [Finding("weights", "stop", f"{weights.model}: {weights.problem}", do)]


def _voices(wanted: Wanted) -> list[Finding]:
    if wanted.kind != "vibevoice":
        return []
    if wanted.voices is None:
        return [
            Finding(
                "voices",
                "stop",
                "the config names no recording and no library",
                "add recordings of 1-30 s to the engine's options, voices: {alice: alice.wav}, or "
                "name a library: voices: {path: /srv/voices}",
            )
        ]
    if wanted.voices:
        says = f"can't be read: {', '.join(wanted.voices)}"
        return [
            Finding("voices", "stop", says, "correct the paths in the config or put them there")
        ]
    return [Finding("voices", "ok", "every recording that the config names is there")]
