"""How long a segment waits for the batch and the batch for a segment, counted in frames."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from serve_app.engines.base import SpeakTask
from serve_app.engines.vibevoice import VibeVoiceEngine
from serve_app.engines.vibevoice_loop import Batch, Row, Sounded
from serve_app.engines.vibevoice_options import VibeVoiceOptions
from serve_app.engines.vibevoice_order import Ended, Order
from serve_app.engines.vibevoice_prefill import Prefill, Reader, Reading
from serve_app.engines.vibevoice_prompt import Turns, turns_of
from serve_app.engines.vibevoice_thread import LoopThread
from tests.contract.engine_cases import listen
from tests.tiny_vibevoice import ArrayVoices
from tests.vibevoice_engine import tiny
from tests.vibevoice_runs import SEGMENTS, STEPS

ARRIVES = 3
"""The frame in which newcomers are handed in."""

TURNS = [turns_of(segment.lines) for segment in SEGMENTS]


async def _scene(newcomers: Sequence[Turns], piece: int | None) -> list[Any]:
    """What happened on the thread: ``"piece"`` is read, or the rows that sound in a frame.

    Two rows are being spoken when the newcomers arrive in the middle of a frame. Rows are named
    by their budgets: 30 and 31, newcomers from 2 on.
    """
    events: list[Any] = []
    with torch.inference_mode():
        reader = Reader(tiny(), ArrayVoices(), piece=piece)
        batch, spare = (Batch(tiny(), reader.begin()) for _ in range(2))
    thread = LoopThread(
        batch,
        reader,
        spare=spare,
        loaded=tiny(),
        memory=lambda: None,
        lowered=mock.Mock(),
    )

    def order(turns: Turns, budget: int) -> Order:
        return Order(turns, Row(budget, torch.Generator().manual_seed(budget), 1.3, STEPS))

    first = [order(TURNS[1], 30), order(TURNS[4], 31)]
    late = [order(turns, 2 + at) for at, turns in enumerate(newcomers)]
    stock_sound, stock_advance = Batch.sound, Reading.advance

    def sound(self: Batch) -> list[Sounded]:
        both = [event for event in events if event != "piece" and {30, 31} <= event]
        if len(both) == ARRIVES and not any(one.row.column for one in late):
            for one in late:
                thread.submit(one)
        given = stock_sound(self)
        events.append({item.row.budget for item in given})
        return given

    def advance(self: Reading) -> Prefill | None:
        events.append("piece")
        return stock_advance(self)

    with mock.patch.object(Batch, "sound", sound), mock.patch.object(Reading, "advance", advance):
        for one in first:
            thread.submit(one)
        async with asyncio.timeout(60):
            for one in (*late, *first):
                while not isinstance(await one.next(), Ended):
                    pass
        await thread.close(10.0)
    return events


def _since_arrival(events: list[Any]) -> list[Any]:
    """What came after the frame in which the newcomers were handed in."""
    both = [at for at, event in enumerate(events) if event != "piece" and {30, 31} <= event]
    return events[both[ARRIVES] + 1 :]


async def test_one_waits_for_a_frame_and_its_own_reading() -> None:
    events = await _scene([TURNS[3]], piece=None)
    assert _since_arrival(events)[:2] == ["piece", {2, 30, 31}]


async def test_the_others_wait_for_one_reading_at_a_time() -> None:
    events = await _scene(TURNS[:3], piece=None)
    assert _since_arrival(events)[:6] == [
        "piece",
        {2, 30, 31},
        "piece",
        {2, 3, 30, 31},
        "piece",
        {3, 4, 30, 31},
    ]


@pytest.mark.parametrize("piece", [40, 64])
async def test_the_others_wait_for_one_piece(piece: int) -> None:
    """Also of a voice that is new, which is a piece by itself."""
    events = await _scene([TURNS[3]], piece=piece)
    heard = _since_arrival(events)
    reading = heard.index({2, 30, 31})
    assert heard[:reading] == ["piece", {30, 31}] * (reading // 2) + ["piece"]
    with torch.inference_mode():
        reader = Reader(tiny(), ArrayVoices(), piece=piece)
        prompt = reader.prompt(TURNS[3])
    pieces = -(-prompt.shared // piece) - (-(len(prompt.ids) - prompt.shared) // piece)
    assert reading // 2 + 1 == pieces + len(prompt.voices)


@pytest.mark.parametrize("moment", [1, 4])
async def test_a_cancelled_one_is_in_no_later_frame(moment: int) -> None:
    """Its caller's task is cancelled in the middle of a frame, which then goes on."""
    engine = VibeVoiceEngine(tiny(), ArrayVoices(), slots=2, steps=STEPS)
    tasks = [SpeakTask("", SEGMENTS[1].lines, seed=at, est_s=at) for at in (1, 2)]
    frames: list[list[int]] = []
    asked = threading.Event()
    stock_sound, stock_cancel = Batch.sound, LoopThread.cancel
    loop = asyncio.get_running_loop()

    def sound(self: Batch) -> list[Sounded]:
        given = stock_sound(self)
        frames.append(sorted(item.row.budget for item in given))
        if [len(frame) for frame in frames].count(2) == moment:
            loop.call_soon_threadsafe(speaking[0].cancel)
            assert asked.wait(30)
        return given

    def cancel(self: LoopThread, order: Order) -> None:
        stock_cancel(self, order)
        asked.set()

    with (
        mock.patch.object(Batch, "sound", sound),
        mock.patch.object(LoopThread, "cancel", cancel),
    ):
        speaking = [asyncio.create_task(listen(engine, task)) for task in tasks]
        with pytest.raises(asyncio.CancelledError):
            await speaking[0]
        assert (await speaking[1]).ends
    await engine.close()
    budgets = [2 * math.ceil(7.5 * task.est_s) + 30 for task in tasks]
    both = [at for at, frame in enumerate(frames) if frame == budgets]
    assert len(both) == moment
    later = frames[both[-1] + 1 :]
    assert later == [budgets[1:]] * len(later) != []


async def test_the_engine_reads_in_chunks_if_told_to() -> None:
    """Which rounds otherwise, so it is told apart."""
    task = SpeakTask("", SEGMENTS[2].lines, seed=3, est_s=2.0)
    heard = []
    for chunk in (None, 32):
        engine = VibeVoiceEngine(tiny(), ArrayVoices(), steps=STEPS, prefill_chunk=chunk)
        heard.append((engine.info.revision, (await listen(engine, task)).pcm))
        await engine.close()
    (whole, expected), (in_chunks, pcm) = heard
    assert in_chunks == f"{whole}+prefill-32"
    one, other = (np.frombuffer(sound, dtype="<i2").astype(int) for sound in (pcm, expected))
    assert np.abs(one - other).max() <= 1
    with pytest.raises(ValueError, match="at least 16"):
        VibeVoiceOptions(model="here", voices={"one": "one.wav"}, prefill_chunk=8)
