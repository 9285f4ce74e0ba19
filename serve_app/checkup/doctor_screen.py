"""What the doctor found, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from serve_app.core.doctor import reasons
from serve_app.core.finding import Finding, Level
from serve_app.core.machine import Machine

_SHOWN: Final[Mapping[Level, tuple[str, str]]] = MappingProxyType(
    {"ok": ("ok", "green"), "note": ("note", "yellow"), "stop": ("STOP", "bold red")}
)


def findings_table(findings: Sequence[Finding]) -> Table:
    """A row a finding, with what to do below it."""
    table = Table(show_header=False, box=None, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        word, style = _SHOWN[finding.level]
        said = Text(finding.says)
        if finding.do:
            said.append(f"\n-> {finding.do}", style=style)
        table.add_row(Text(word, style=style), finding.subject, said)
    return table


def verdict(machine: Machine, findings: tuple[Finding, ...]) -> Text:
    """Whether the config can run, in a sentence."""
    stops = len(reasons(findings))
    if not stops:
        return Text(f"{machine.wanted.path} can run here.", style="green")
    things = "1 thing stands" if stops == 1 else f"{stops} things stand"
    return Text(
        f"{machine.wanted.path} can't run here: {things} in its way (STOP above).", style="bold red"
    )


def findings_json(machine: Machine, findings: tuple[Finding, ...]) -> str:
    """Everything, as JSON."""
    body: dict[str, Any] = {
        "can_run": not reasons(findings),
        "reasons": [asdict(finding) for finding in reasons(findings)],
        "findings": [asdict(finding) for finding in findings],
        "machine": asdict(machine),
    }
    return json.dumps(body, indent=2)
