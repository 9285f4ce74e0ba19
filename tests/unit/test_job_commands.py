"""The command ``vibevoice-serve job`` against a real HTTP server over simulated cards."""

from __future__ import annotations

import asyncio
import struct
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from serve_app.cli import app
from serve_app.client import set_wav_length
from serve_app.errors import ServeError
from serve_app.ingress.http import create_app
from serve_app.job_client import JobClient
from serve_app.jobs.port import JobsPort
from serve_app.jobs.reader import FileReader
from serve_app.jobs.settings import JobSettings
from tests.processes import free_port
from tests.unit.fake_replicas import FakeReplicas
from tests.unit.ingress_stage import service
from tests.unit.job_scene import FAST, TEXT, Scene, finish_here, scene

SLOW = replace(FAST, first_chunk_s=0.05, real_time_factor=0.01)
Run = Callable[..., Awaitable[Result]]


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[tuple[Scene, str, Run]]:
    """A service, its URL, and the command that talks to it."""
    async with scene(path, [SLOW] * 2, finish=finish_here) as at:
        reader = FileReader(at.folder)
        port = JobsPort(at.runner.jobs, reader, JobSettings(store=str(path)))
        made = create_app(replace(service(FakeReplicas()), jobs=port))
        number = free_port()
        server = uvicorn.Server(
            uvicorn.Config(made, port=number, log_level="error", lifespan="off")
        )
        running = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{number}"

        async def run(*args: str) -> Result:
            return await asyncio.to_thread(CliRunner().invoke, app, ["job", *args, "--url", url])

        try:
            yield at, url, run
        finally:
            server.should_exit = True
            await running
            reader.close()


async def test_a_job_from_the_order_to_the_file(tmp_path: Path) -> None:
    script, output = tmp_path / "ship.txt", tmp_path / "out" / "ship.flac"
    script.write_text(TEXT)
    async with serving(tmp_path / "store") as (at, _, run):
        made = await run("submit", str(script), "--format", "flac", "--title", "Ship", "--wait")
        assert made.exit_code == 0, made.output
        (view,) = await at.runner.jobs.list()
        assert view.id in made.output
        assert f"{view.segments}/{view.segments}" in made.output
        assert "file: flac" in made.output
        fetched = await run("audio", view.id, "-o", str(output))
        assert fetched.exit_code == 0, fetched.output
        file = await at.runner.jobs.file(view.id, audio_format="flac", wait_s=20)
        assert output.stat().st_size == file.size_bytes
        retried = await run("retry", view.id, "1", "--text", "Something else.")
        assert retried.exit_code == 0, retried.output
        watched = await run("watch", view.id)
        assert "edition 1" in watched.output
        listed = await run("list")
        assert view.id in listed.output
        assert "complete" in listed.output


async def test_commands_and_refusals(tmp_path: Path) -> None:
    script = tmp_path / "ship.txt"
    script.write_text(TEXT)
    async with serving(tmp_path / "store") as (at, _, run):
        await run("submit", str(script), "--key", "one", "--cast", "Narrator=sim-2")
        await run("submit", str(script), "--key", "one", "--cast", "Narrator=sim-2")
        (view,) = await at.runner.jobs.list()
        assert dict(view.voices) == {"Narrator": "sim-2"}
        for command, told in (("pause", "paused"), ("cancel", "cancelled")):
            assert told in (await run(command, view.id)).output
        refused = await run("resume", view.id)
        assert isinstance(refused.exception, ServeError)
        assert "409" in str(refused.exception)
        assert isinstance((await run("cancel", view.id)).exception, ServeError)
        await run("cancel", view.id, "--forget")
        assert await at.runner.jobs.list() == ()
        for wrong in (("submit", "nothing.txt"), ("submit", str(script), "--cast", "Narrator")):
            assert isinstance((await run(*wrong)).exception, ServeError)


async def test_a_damaged_job_can_be_removed(tmp_path: Path) -> None:
    async with serving(tmp_path / "store") as (at, _, run):
        job = await at.submit("One sentence.")
        await at.done(job)
        (tmp_path / "store" / "jobs" / job / "plan.json").write_bytes(b"{")
        at.runner._shelf._lives.clear()
        assert "damaged" in str((await run("watch", job)).exception)
        removed = await run("cancel", job, "--forget")
        assert removed.exit_code == 0, removed.output
        assert await at.runner.jobs.list() == ()


async def test_a_broken_download_goes_on_where_it_ended(tmp_path: Path) -> None:
    async with serving(tmp_path / "store") as (at, url, _):
        job = await at.submit(audio_format="wav")
        await at.done(job)
        file = await at.runner.jobs.file(job, audio_format="wav", wait_s=20)
        whole = tmp_path / "whole.wav"
        part = tmp_path / "part.wav.part"

        def fetch() -> None:
            with JobClient(url) as client:
                client.audio(job, whole, "wav")
                part.write_bytes(whole.read_bytes()[:5_000])
                done, etag = client._download(job, part, file.etag, "wav")
                assert (done, etag) == (True, file.etag)
                assert part.read_bytes() == whole.read_bytes()
                part.write_bytes(b"of another file")
                client._download(job, part, '"other"', "wav")
                assert part.read_bytes() == whole.read_bytes()

        await asyncio.to_thread(fetch)


@pytest.mark.parametrize("title", ["data", "a data b", ""])
def test_a_wav_gets_its_length_whatever_stands_before_the_samples(
    tmp_path: Path, title: str
) -> None:
    path = tmp_path / "it.wav"
    text = title.encode() + b"\0" * (1 + (len(title) + 1) % 2)
    listed = b"INFOINAM" + struct.pack("<I", len(text)) + text
    head = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 24_000, 48_000, 2, 16)
    head += b"LIST" + struct.pack("<I", len(listed)) + listed
    samples = b"\1\0" * 100
    unknown = struct.pack("<I", 0xFFFF_FFFF)
    path.write_bytes(b"RIFF" + unknown + b"WAVE" + head + b"data" + unknown + samples)
    set_wav_length(path)
    with wave.open(str(path)) as found:
        assert found.getnframes() == 100
        assert found.readframes(100) == samples
