"""The processes that hear segments back: each order gets its answer, or an error in time."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop
from pydantic import ValidationError

from serve_app.asr import Recogniser
from serve_app.core.audio import Pcm, pcm_from_bytes
from serve_app.core.letter_clock import unpack_anchors
from serve_app.core.spoken.rule import Language
from serve_app.engines.base import Line, SpeakTask
from serve_app.engines.piper import PiperEngine, PiperOptions
from serve_app.errors import ConfigError, NotReadyError
from serve_app.jobs.bounds import ears
from serve_app.jobs.hear_work import HearAnswer, HearOrder, serve
from serve_app.jobs.hearing import Ears
from serve_app.jobs.settings import AsrSettings, JobSettings
from serve_app.jobs.take_file import PcmPacker
from tests.contract.engine_cases import listen, piper_model
from tests.unit.test_asr_check import SAID, model_path
from tests.unit.test_job_policies import Clock


class TestSettings:
    def test_nobody_listens_unless_asked(self) -> None:
        assert JobSettings().asr is None
        with pytest.raises(ValidationError):
            JobSettings.model_validate({"asr": {"model": ""}})
        with pytest.raises(ValidationError):
            JobSettings.model_validate({"asr": {"model": "m", "processes": 0}})

    def test_a_folder_without_a_model_is_refused_at_the_start(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"model\.bin"):
            ears(AsrSettings(model=str(tmp_path)))


async def packed_speech(text: str) -> bytes:
    engine = PiperEngine(PiperOptions(), piper_model())
    try:
        task = SpeakTask("key", (Line("Ada", "joe", text),), 3, 9.0)
        packer = PcmPacker()
        packer.add(pcm_from_bytes((await listen(engine, task)).pcm))
        return packer.close()
    finally:
        await engine.close()


@pytest.mark.asr
async def test_a_process_hears_what_was_spoken() -> None:
    pytest.importorskip("faster_whisper")
    flac = await packed_speech(SAID)
    listening = Ears(model_path())
    try:
        heard = await listening.hear(flac, SAID, "en")
        assert heard.hearing is not None
        assert heard.hearing.findings == ()
        assert len(unpack_anchors(heard.anchors)) > 20
        assert (await listening.hear(flac, "故乡", "zh")).hearing is None
    finally:
        await listening.close()


STUB = """
import json, os, pathlib, sys
marks = pathlib.Path(sys.argv[1])
(marks / f"started-{os.getpid()}").touch()
print("{}", flush=True)
for line in sys.stdin.buffer:
    order = json.loads(line)
    said, flac = order["text"], sys.stdin.buffer.read(order["flac_bytes"])
    tired = not (marks / said).exists()
    (marks / said).touch()
    if said == "dies" or (said == "dies once" and tired):
        os._exit(3)
    if said == "hangs":
        sys.stdin.buffer.read()
    print("mumbles" if said == "mumbles" else json.dumps({"anchors": f"{len(flac)}:1"}), flush=True)
"""
"""Stands for the program; it notes each start, and what it was told."""


def stub_ears(marks: Path, **bounds: Any) -> Ears:
    """With the stub as program; it leaves its marks in a folder."""
    pytest.importorskip("faster_whisper")
    (marks / "model.bin").touch()
    return Ears(str(marks), program=(sys.executable, "-c", STUB), **bounds)


@pytest.fixture
def stub(tmp_path: Path) -> Callable[..., Ears]:
    return partial(stub_ears, tmp_path)


def starts(marks: Path) -> int:
    return len(list(marks.glob("started-*")))


async def test_a_process_that_dies_is_replaced_and_the_take_heard_again(
    stub: Callable[..., Ears], tmp_path: Path
) -> None:
    listening = stub(processes=2)
    try:
        answers = await asyncio.gather(
            *(
                listening.hear(b"x" * size, "dies once" if size == 3 else "a", "en")
                for size in range(9)
            )
        )
        assert [it.anchors for it in answers] == [f"{size}:1" for size in range(9)]
        with pytest.raises(NotReadyError, match="process has ended"):
            await listening.hear(b"", "dies", "en")
        assert (await listening.hear(b"xx", "a", "en")).anchors == "2:1"
        assert 3 < starts(tmp_path) < 7
        assert len(listening._children) <= 2
    finally:
        await listening.close()
    assert listening._children == set()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_process_that_died_between_two_orders_is_replaced(
    stub: Callable[..., Ears], run: Callable[[Coroutine[None, None, None]], None]
) -> None:
    async def orders() -> None:
        listening = stub()
        try:
            await listening.hear(b"", "a", "en")
            (child,) = listening._children
            child._process.kill()
            await child._process.wait()
            assert (await listening.hear(b"x" * 10**6, "a", "en")).anchors == "1000000:1"
            with pytest.raises(NotReadyError):
                await listening.hear(b"x" * 10**6, "dies", "en")
        finally:
            await listening.close()

    run(orders())


@pytest.mark.parametrize(
    ("said", "why"),
    [("hangs", r"did not answer within 0\.3 s"), ("mumbles", "no answer that can be read")],
)
async def test_a_process_that_gives_no_answer_is_ended(
    stub: Callable[..., Ears], tmp_path: Path, said: str, why: str
) -> None:
    listening = stub(timeout_s=0.3)
    try:
        with pytest.raises(NotReadyError, match=why):
            await listening.hear(b"", said, "en")
        assert listening._children == set()
    finally:
        await listening.close()


async def test_after_some_failures_nobody_waits_for_a_while(
    stub: Callable[..., Ears], tmp_path: Path
) -> None:
    clock = Clock()
    listening = stub(clock=clock)

    async def refused() -> int:
        """Starts that it takes to get an error."""
        before = starts(tmp_path)
        with pytest.raises(NotReadyError, match="process has ended"):
            await listening.hear(b"", "dies", "en")
        return starts(tmp_path) - before

    try:
        assert [await refused() for _ in range(5)] == [2, 2, 2, 0, 0]
        clock.now_s += 61
        assert [await refused(), await refused()] == [2, 0]
        clock.now_s += 61
        assert await refused() == 0  # it rests longer each time
        clock.now_s += 61
        assert (await listening.hear(b"x", "a", "en")).anchors == "1:1"
        assert [await refused() for _ in range(4)] == [1, 2, 2, 0]  # the first had one idle
    finally:
        await listening.close()


async def test_a_listener_that_is_cancelled_takes_its_process_along(
    stub: Callable[..., Ears], tmp_path: Path
) -> None:
    listening = stub()
    try:
        hanging = asyncio.create_task(listening.hear(b"", "hangs", "en"))
        async with asyncio.timeout(20):
            while not (tmp_path / "hangs").exists():
                await asyncio.sleep(0.01)
        hanging.cancel()
        await asyncio.wait({hanging})
        assert listening._children == set()
        assert (await listening.hear(b"x", "a", "en")).anchors == "1:1"
    finally:
        await listening.close()


class Mute(Recogniser):
    """Stands in a process for the recogniser."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure

    def hear(self, pcm: Pcm, text: str, language: Language) -> None:
        assert (len(pcm), text, language) == (240, "a", "en")
        if self._failure is not None:
            raise self._failure


@pytest.mark.parametrize(
    ("recogniser", "flac", "failure"),
    [
        (Mute(), None, ""),
        (Mute(RuntimeError("out of memory")), None, "RuntimeError: out of memory"),
        (Mute(), b"no flac", "DamagedTakeError: its samples can't be decoded"),
    ],
)
def test_a_process_answers_each_order_whatever_becomes_of_it(
    recogniser: Mute, flac: bytes | None, failure: str
) -> None:
    packer = PcmPacker()
    packer.add(np.zeros(240, np.int16))
    data = packer.close() if flac is None else flac
    order = HearOrder(text="a", language="en", flac_bytes=len(data)).model_dump_json().encode()
    answers = io.BytesIO()
    serve(recogniser, io.BytesIO((order + b"\n" + data) * 2), answers)
    told = [HearAnswer.model_validate_json(line) for line in answers.getvalue().splitlines()]
    assert told == [HearAnswer(failure=failure)] * 2


@pytest.mark.asr
async def test_a_model_that_is_none_fails_the_check_only(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    (tmp_path / "model.bin").write_bytes(b"no model")
    listening = Ears(str(tmp_path))
    try:
        with pytest.raises(NotReadyError, match="can't be loaded"):
            await listening.hear(b"", SAID, "en")
    finally:
        await listening.close()
