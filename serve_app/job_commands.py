"""The command ``vibevoice-serve job``: long jobs of a running service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from serve_app.config import api_key
from serve_app.errors import ServeError
from serve_app.job_client import JobClient
from serve_app.screen import console

app = typer.Typer(help="Long jobs of a running service.", no_args_is_help=True)
DEFAULT_URL: Final = "http://127.0.0.1:8000"
Url = Annotated[str, typer.Option(help="Base URL of a running service.")]
JobId = Annotated[str, typer.Argument(help="Id of the job, as 'submit' and 'list' show it.")]
_ENDED: Final = frozenset({"complete", "failed", "cancelled"})


@app.command()
def submit(  # noqa: PLR0917 - typer reads the options of a command from its parameters
    script: Annotated[Path, typer.Argument(help="A .txt, .md, .epub or .srt file.")],
    audio_format: Annotated[
        str, typer.Option("--format", help="Of the finished file: mp3, m4b, flac, wav, opus, aac.")
    ] = "mp3",
    title: Annotated[str, typer.Option(help="For people and for the file.")] = "",
    voice: Annotated[str, typer.Option(help="Voice of the first speaker.")] = "auto",
    cast: Annotated[
        list[str] | None, typer.Option(help="NAME=VOICE: a speaker's voice; once for each.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed gives other takes.")] = None,
    cover: Annotated[Path | None, typer.Option(help="A JPEG or PNG file.")] = None,
    notice: Annotated[str, typer.Option(help="Said before everything else.")] = "",
    key: Annotated[
        str, typer.Option(help="Idempotency key: the same one again is the same job.")
    ] = "",
    wait: Annotated[bool, typer.Option(help="Watch it until it has ended.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Order a script to be spoken; prints the job's id."""
    fields = {
        "format": audio_format,
        "title": title,
        "voice": voice,
        "voices": json.dumps(_cast(cast or [])),
        "notice": notice,
        **({} if seed is None else {"seed": str(seed)}),
    }
    with JobClient(url, api_key()) as client:
        job = client.submit(script, fields, cover=cover, idempotency_key=key)
        console.print(job["id"], soft_wrap=True)
        if wait:
            _watch(client, job["id"])


@app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(help="At most so many.")] = 20, url: Url = DEFAULT_URL
) -> None:
    """Jobs, newest first."""
    with JobClient(url, api_key()) as client:
        jobs = client.newest(limit)
    table = Table(title="Jobs", title_justify="left")
    for name in ("job", "title", "status", "segments", "audio"):
        table.add_column(name, no_wrap=name == "job")
    for job in jobs:
        table.add_row(
            job["id"], job["title"][:40], job["status"], _counts(job), f"{job['audio_s']:.0f} s"
        )
    console.print(table)


@app.command()
def watch(job_id: JobId, url: Url = DEFAULT_URL) -> None:
    """Follow a job until it has ended; what is doubtful is listed then."""
    with JobClient(url, api_key()) as client:
        _watch(client, job_id)


@app.command()
def audio(
    job_id: JobId,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the audio goes.")],
    audio_format: Annotated[
        str | None, typer.Option("--format", help="Instead of what the file's ending says.")
    ] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Fetch the finished file; it goes on where a broken download ended.

    While the job runs this is the part spoken so far, and what comes.
    """
    with JobClient(url, api_key()) as client:
        wanted = audio_format or output.suffix.lstrip(".").lower() or None
        size_bytes = client.audio(job_id, output, wanted)
    console.print(f"Wrote {output} ({size_bytes} bytes)", soft_wrap=True)


@app.command()
def pause(job_id: JobId, url: Url = DEFAULT_URL) -> None:
    """Send out nothing more; what is being spoken is finished and kept."""
    _command(url, job_id, "pause")


@app.command()
def resume(job_id: JobId, url: Url = DEFAULT_URL) -> None:
    """Go on; a failed job tries again what failed."""
    _command(url, job_id, "resume")


@app.command()
def retry(
    job_id: JobId,
    segment: Annotated[int, typer.Argument(help="Number of the segment, from 0.")],
    text: Annotated[str | None, typer.Option(help="To say instead.")] = None,
    voice: Annotated[str | None, typer.Option(help="For all who speak in it.")] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Speak one segment again: a new edition of the job's audio."""
    wanted = {"text": text, "voice": voice}
    body = {name: value for name, value in wanted.items() if value is not None}
    _command(url, job_id, f"segments/{segment}/retry", body)


@app.command()
def cancel(
    job_id: JobId,
    forget: Annotated[bool, typer.Option(help="Remove it too, with all its audio.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Stop a job for good; what was spoken stays until it is forgotten."""
    with JobClient(url, api_key()) as client:
        if not forget:  # a damaged job can't be asked for, only removed
            job = client.job(job_id)
            if job["status"] in _ENDED:
                raise ServeError(f"The job is {job['status']} already; --forget removes it.")
        client.delete(job_id, forget=forget)
    console.print(f"{job_id} is {'forgotten' if forget else 'cancelled'}.", soft_wrap=True)


def _command(url: str, job_id: str, command: str, body: Mapping[str, Any] | None = None) -> None:
    with JobClient(url, api_key()) as client:
        job = client.command(job_id, command, body or {})
    console.print(f"{job_id} is {job['status']}: {_counts(job)} segments.", soft_wrap=True)


def _cast(pairs: list[str]) -> dict[str, str]:
    cast = {}
    for pair in pairs:
        name, equals, voice = pair.partition("=")
        if not (equals and name and voice):
            raise ServeError(f"--cast takes NAME=VOICE, not {pair!r}.")
        cast[name] = voice
    return cast


def _watch(client: JobClient, job_id: str) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("queued", total=1, told="")
        for job in client.watch(job_id):
            counts = job["segments"]
            bar.update(
                task,
                description=job["status"],
                total=max(1, counts["total"]),
                completed=counts["done"],
                told=f"{_counts(job)} segments  {job['audio_s']:.0f} s  {_eta(job)}",
            )
    _print_end(client, job)
    if job["status"] != "complete":
        raise ServeError(f"The job is {job['status']}: {job['reason']}")


def _print_end(client: JobClient, job: Mapping[str, Any]) -> None:
    lines = [f"warning: {text}" for text in job["warnings"]]
    lines += [
        f"doubtful: segment {it['number']}{_times(it)}: {'; '.join(it['findings'])}"
        for it in client.segments(job["id"], "doubtful")
    ]
    lines += [f"failed: segment {it['number']}: {it['failure']}" for it in _failed(client, job)]
    for file in job["files"] or ():
        told = f"{file['size_bytes']} bytes" if file["state"] == "made" else file["state"]
        lines.append(f"file: {file['format']}, edition {file['edition']}: {told}")
    console.print("\n".join(lines), soft_wrap=True)


def _failed(client: JobClient, job: Mapping[str, Any]) -> list[dict[str, Any]]:
    return client.segments(job["id"], "failed") if job["segments"]["failed"] else []


def _times(segment: Mapping[str, Any]) -> str:
    if segment["start_s"] is None or segment["end_s"] is None:
        return ""
    return f" at {segment['start_s']:.1f}-{segment['end_s']:.1f} s"


def _counts(job: Mapping[str, Any]) -> str:
    return f"{job['segments']['done']}/{job['segments']['total']}"


def _eta(job: Mapping[str, Any]) -> str:
    eta = job["eta_s"]
    return "" if eta is None else f"{eta['low_s']:.0f} to {eta['high_s']:.0f} s left"
