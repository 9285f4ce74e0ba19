"""What a machine can run: from what was found out about it to findings that say what to do.

A finding is ``ok``, a ``note`` (worth knowing, stops nothing) or a ``stop``: the config can't run
here as long as it stands. Everything is a function of :class:`~serve_app.core.machine.Machine`.
"""

from __future__ import annotations

from typing import Final

from serve_app.core.doctor_config import examine_config
from serve_app.core.finding import Finding, Level, gib, slots_on, slots_text
from serve_app.core.machine import Card, Machine, Wanted
from serve_app.core.pack import LADDER_S
from serve_app.core.vram import PUBLISHED

HOT_C: Final = 75.0
"""Temperature from which the service gives a card no new work."""


def examine(machine: Machine) -> tuple[Finding, ...]:
    """Judge a machine and the config that shall run on it."""
    return (
        _driver(machine),
        *(_card(machine.wanted, card) for card in machine.cards),
        *(_holds(card) for card in machine.cards if card.error is None),
        _torch(machine),
        _transformers(machine),
        *_engines(machine),
        *examine_config(machine),
        _port(machine),
        _telemetry(machine),
    )


def reasons(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Why the config can't run; empty if it can."""
    return tuple(finding for finding in findings if finding.level == "stop")


def _driver(machine: Machine) -> Finding:
    driver = machine.driver
    if driver.missing is not None:
        if machine.wanted.needs_cards:
            return Finding("driver", "stop", driver.missing, _no_card_advice(machine.wanted))
        return Finding("driver", "note", f"none, and this config needs none ({driver.missing})")
    version = driver.version or "unknown version"
    cuda = f"up to CUDA {driver.cuda}" if driver.cuda else "does not tell its CUDA"
    says = f"NVIDIA {version}, {cuda}, {len(machine.cards)} cards"
    if not machine.cards and machine.wanted.needs_cards:
        return Finding("driver", "stop", says, "see 'lspci | grep -i nvidia' and the kernel log")
    return Finding("driver", "ok", says)


def _no_card_advice(wanted: Wanted) -> str:
    other = "set cards: none"
    if wanted.kind == "vibevoice":
        other += " and device: cpu (slow)"
    return f"install the driver until 'nvidia-smi' lists the card; without a card, {other}"


def _card(wanted: Wanted, card: Card) -> Finding:
    subject = f"card {card.index}"
    if card.error is not None:
        level: Level = "stop" if wanted.needs_cards and wanted.replicas is None else "note"
        return Finding(
            subject,
            level,
            f"{card.name}, {card.uuid}: {card.error}",
            "look for 'Xid' in the kernel log; reset the card (nvidia-smi --gpu-reset) or restart "
            "the node; until then leave it out with CUDA_VISIBLE_DEVICES",
        )
    memory = "memory unknown"
    if card.total_bytes is not None and card.free_bytes is not None:
        memory = f"{gib(card.free_bytes)} of {gib(card.total_bytes)} GiB free"
    heat = "temperature unknown" if card.temp_c is None else f"{card.temp_c:.0f} C"
    says = f"{card.name}, {card.uuid}, {memory}, {heat}"
    if card.temp_c is not None and card.temp_c >= HOT_C:
        return Finding(
            subject,
            "note",
            says,
            f"from {HOT_C:.0f} C on it gets no new work; look at its fans and at what runs on it",
        )
    return Finding(subject, "ok", says)


def _holds(card: Card) -> Finding:
    """How many slots of each published model fit."""
    subject = f"card {card.index} holds"
    fits = [(model.name, slots_on(card, model)) for model in PUBLISHED]
    if any(slots is None for _, slots in fits):
        return Finding(subject, "note", "the card does not tell its memory; start with slots: 1")
    told = [f"{name}: {slots_text(slots or 0)}" for name, slots in fits]
    level: Level = "ok" if any(slots for _, slots in fits) else "note"
    return Finding(
        subject,
        level,
        f"{', '.join(told)} (16 bit, {LADDER_S[-1]} s segments, four voices; computed, not "
        "measured: 'vibevoice-serve check-gpu' measures)",
    )


def _torch(machine: Machine) -> Finding:
    torch = machine.torch
    level: Level = "stop" if machine.wanted.kind == "vibevoice" else "note"
    if torch.version is None:
        return Finding("torch", level, "not installed", _extra("vibevoice", level))
    if torch.problem is not None:
        do = "install torch again in this environment"
        return Finding("torch", level, f"{torch.version}: {torch.problem}", do)
    if not torch.asked:
        return Finding("torch", "ok", f"{torch.version} (not needed here, so not imported)")
    return _torch_cuda(machine)


def _torch_cuda(machine: Machine) -> Finding:
    torch, cards = machine.torch, len(machine.cards)
    needed = machine.wanted.uses_torch_on_cards
    bad: Level = "stop" if needed else "note"
    if torch.cuda is None:
        says = f"{torch.version}, built without CUDA"
        if not needed and not cards:
            return Finding("torch", "ok", says)
        do = "install a build of torch with CUDA (its 'Get started' page has the command)"
        return Finding("torch", bad, says, do)
    says = f"{torch.version}, CUDA {torch.cuda}, sees {torch.cards} of {cards} cards"
    if torch.cards == 0 and cards:
        do = (
            "empty CUDA_VISIBLE_DEVICES hides cards; else the driver is too old for CUDA "
            f"{torch.cuda}: update it, or install torch for an older CUDA"
        )
        return Finding("torch", bad, says, do)
    if torch.cards < cards:
        return Finding("torch", "note", says, "unset CUDA_VISIBLE_DEVICES to use all of them")
    return Finding("torch", "ok", says)


def _transformers(machine: Machine) -> Finding:
    version = machine.torch.transformers
    if version is not None:
        return Finding("transformers", "ok", version)
    level: Level = "stop" if machine.wanted.kind == "vibevoice" else "note"
    return Finding("transformers", level, "not installed", _extra("vibevoice", level))


def _extra(name: str, level: Level) -> str:
    command = f"pip install 'vibevoice-serve[{name}]'"
    return command if level == "stop" else f"for the {name} engine: {command}"


def _engines(machine: Machine) -> list[Finding]:
    findings = []
    for engine in machine.engines:
        subject = f"engine {engine.kind}"
        level: Level = "stop" if engine.kind == machine.wanted.kind else "note"
        if engine.missing is None:
            findings.append(
                Finding(
                    subject,
                    "note",
                    "what it needs is unknown: vibevoice-serve is not installed as a package",
                    "pip install -e . in the checkout",
                )
            )
        elif engine.missing:
            says = f"lacks {', '.join(engine.missing)}"
            findings.append(Finding(subject, level, says, _extra(engine.extra or "", level)))
        else:
            findings.append(Finding(subject, "ok", "what it needs is installed"))
    return findings


def _port(machine: Machine) -> Finding:
    port = machine.port
    name = f"{port.host}:{port.port}"
    told: dict[str, tuple[Level, str, str]] = {
        "free": ("ok", f"{name} is free", ""),
        "ours": (
            "note",
            f"{name}: a service answers there already",
            "a second one needs another port: serve --port N",
        ),
        "taken": (
            "stop",
            f"{name} is taken by another program",
            f"'ss -ltnp sport = :{port.port}' names it; stop it, or serve --port N",
        ),
        "denied": ("stop", f"this user may not listen at {name}", "serve --port N, N above 1023"),
        "foreign": (
            "stop",
            f"{port.host} is no address of this machine",
            "set http_options.host to 127.0.0.1, 0.0.0.0 or an address of this machine",
        ),
    }
    return Finding("port", *told[port.state])


def _telemetry(machine: Machine) -> Finding:
    endpoint, answers = machine.telemetry.endpoint, machine.telemetry.answers
    if endpoint is None:
        do = "set OTEL_EXPORTER_OTLP_ENDPOINT to send traces and metrics to a collector"
        return Finding("OTLP", "note", "no endpoint is set, so nothing is exported", do)
    if answers is False:
        do = "start the collector (configs/otel-collector.yaml); the service runs without it"
        return Finding("OTLP", "note", f"nothing listens at {endpoint}", do)
    return Finding("OTLP", "ok", f"{endpoint} answers" if answers else endpoint)
