"""The commands ``doctor`` and ``check-gpu``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from serve_app.checkup.doctor_screen import findings_json, findings_table, verdict
from serve_app.checkup.look import look
from serve_app.config import load_serve_file
from serve_app.core.doctor import examine, reasons
from serve_app.screen import console

TEST_SCRIPT = Path(__file__).with_name("check_script.txt")


def doctor(
    config: Annotated[Path, typer.Option(help="The Serve config that shall run here.")] = Path(
        "configs/local.yaml"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say what this machine can run; exit status 1 with the reasons if not the config."""
    machine = look(config, load_serve_file(config), os.environ)
    findings = examine(machine)
    if as_json:
        typer.echo(findings_json(machine, findings))
    else:
        console.print(findings_table(findings))
        console.print(verdict(machine, findings), soft_wrap=True)
    if reasons(findings):
        raise typer.Exit(1)


def check_gpu(
    *,
    config: Annotated[Path, typer.Option(help="A Serve config with the vibevoice engine.")] = Path(
        "configs/vibevoice-1.5b.yaml"
    ),
    slots: Annotated[str, typer.Option(help="Segments at once, a run each; 1 is always run.")] = (
        "1,2,4,8"
    ),
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for all of it.")] = Path(
        "out/check-gpu"
    ),
    script: Annotated[Path, typer.Option(help="What to speak.")] = TEST_SCRIPT,
    segments: Annotated[
        int | None, typer.Option(min=1, help="Segments a run; twice the most slots unless told.")
    ] = None,
    segment_s: Annotated[
        float, typer.Option(min=1, max=90, help="Estimated length of one, at most, in seconds.")
    ] = 30.0,
    allow_cpu: Annotated[
        bool, typer.Option("--allow-cpu", help="Run without a card; the report says so.")
    ] = False,
) -> None:
    """Measure a card: speak a script at rising slots; WAVs, report.json and report.md."""
    from serve_app.checkup.session import Asked, run_check  # noqa: PLC0415 - numpy, av and more

    asked = Asked(config, slots, output, script, segments, segment_s, allow_cpu)
    if not run_check(asked):
        raise typer.Exit(1)
