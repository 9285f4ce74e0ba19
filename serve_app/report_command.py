"""``vibevoice-serve report``: the fleet's health report, fetched into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from serve_app import screen
from serve_app.client import Client
from serve_app.config import api_key
from serve_app.errors import ServeError

_FORMATS = {".html": "html", ".md": "md"}


def report(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file ending in .html or .md.")
    ] = Path("report.html"),
    hours: Annotated[float, typer.Option(min=0.1, max=24, help="What it is about.")] = 24.0,
    language: Annotated[Literal["en", "zh"], typer.Option(help="Of the report.")] = "en",
    url: Annotated[
        str, typer.Option(help="Base URL of a running service.")
    ] = "http://127.0.0.1:8000",
) -> None:
    """Write what a running service knows of its cards' health, and what to do about it."""
    kind = _FORMATS.get(output.suffix.lower())
    if kind is None:
        raise ServeError(
            f"A report ends in {' or '.join(_FORMATS)}, and {str(output)!r} does not; "
            "choose its form by --output."
        )
    with Client(url, api_key()) as client:
        text = client.get_text("/report", format=kind, hours=hours, language=language)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ServeError(f"The report can't be written to {output}: {error}") from error
    screen.console.print(f"Wrote {output}", soft_wrap=True)
