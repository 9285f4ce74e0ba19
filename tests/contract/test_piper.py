"""Piper by itself: its noise, voices, pauses and refusals."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from serve_app.core.audio import (
    FRAME_SAMPLES,
    SILENCE_DBFS,
    Pcm,
    duration_s,
    frame_energies,
    pcm_from_bytes,
    power_limit,
)
from serve_app.core.level import STEPS_PER_DB, LevelRules, level_steps
from serve_app.core.segment import Boundary
from serve_app.core.stitch import pause_s
from serve_app.engines.base import Line, SpeakTask
from serve_app.engines.piper import SPEAKERS, PiperEngine, PiperOptions
from serve_app.engines.piper_graph import DURATION_NOISE, FRAME_NOISE, with_noise_inputs
from serve_app.engines.piper_model import noise_key, run_options
from serve_app.engines.piper_phonemes import voice_files
from serve_app.engines.piper_sound import EDGE_S, SENTENCE_GAP_S
from serve_app.engines.workers import StopSignal
from serve_app.errors import ConfigError, EngineError
from tests.asr import hear, recall_by_tenths, word_recall
from tests.contract.engine_cases import listen, piper_model, speak

PLAY = (Path(__file__).parents[1] / "data" / "play_1.txt").read_text("utf-8").splitlines()
TURNS = [turn.split(": ", 1)[1] for turn in PLAY[143:183] if 120 < len(turn) < 600][:4]


@pytest.fixture
async def engine() -> AsyncIterator[PiperEngine]:
    made = PiperEngine(PiperOptions(), piper_model())
    yield made
    await made.close()


def task_of(*texts: str, voice: str = "joe", pause: float = 0.0, seed: int = 3) -> SpeakTask:
    lines = (Line("Ada", voice, text, pause if n else 0.0) for n, text in enumerate(texts))
    return SpeakTask("key", tuple(lines), seed, 5.0)


async def heard(engine: PiperEngine, task: SpeakTask) -> Pcm:
    return pcm_from_bytes((await listen(engine, task)).pcm)


def loud_frames(pcm: Pcm) -> NDArray[np.bool_]:
    return frame_energies(pcm) >= power_limit(SILENCE_DBFS) * FRAME_SAMPLES


def silences_s(pcm: Pcm) -> list[float]:
    """Lengths of the silences between sounds, in order."""
    loud = np.flatnonzero(loud_frames(pcm))
    gaps = np.diff(loud) - 1
    return [duration_s(int(gap) * FRAME_SAMPLES) for gap in gaps if gap > 0]


class TestNoise:
    def test_the_dice_are_gone_and_noise_is_read_round_and_round(self) -> None:
        graph = onnx.load_model_from_string(with_noise_inputs(voice_files()[0]))
        onnx.checker.check_model(graph)
        assert not [node for node in graph.graph.node if node.op_type.startswith("Random")]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        (breath,) = piper_model().phonemes.breaths("Round and round.")
        dice = np.random.default_rng(1)
        duration = dice.standard_normal((1, DURATION_NOISE.channels, 5)).astype(np.float32)
        frame = dice.standard_normal((1, FRAME_NOISE.channels, 7)).astype(np.float32)

        def run(rounds: int) -> NDArray[np.float32]:
            feed = {
                "input": np.array([breath.ids], dtype=np.int64),
                "input_lengths": np.array([len(breath.ids)], dtype=np.int64),
                "scales": np.array([0.667, 1.0, 0.8], dtype=np.float32),
                DURATION_NOISE.name: np.tile(duration, rounds),
                FRAME_NOISE.name: np.tile(frame, rounds),
            }
            audio: NDArray[np.float32] = session.run(None, feed)[0]
            return audio

        assert np.array_equal(run(1), run(50))

    def test_a_graph_with_other_dice_is_refused(self) -> None:
        shape = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
        node = helper.make_node("RandomNormalLike", ["x"], ["y"], name="elsewhere")
        model = helper.make_model(helper.make_graph([node], "g", shape[:1], shape[1:]))
        with pytest.raises(ConfigError, match="elsewhere"):
            with_noise_inputs(model.SerializeToString())

    @given(
        st.lists(
            st.tuples(
                st.integers(0, 2**63 - 1),
                st.integers(0, 99),
                st.lists(st.integers(0, 255), max_size=5).map(tuple),
            ),
            unique=True,
            max_size=8,
        )
    )
    def test_noise_differs_with_seed_place_and_words(
        self, drawn: Sequence[tuple[int, int, tuple[int, ...]]]
    ) -> None:
        assert len({noise_key(*item) for item in drawn}) == len(drawn)

    async def test_the_same_words_sound_different_the_second_time(
        self, engine: PiperEngine
    ) -> None:
        once = await heard(engine, task_of("Two."))
        twice = await heard(engine, task_of("Two.", "Two."))
        assert twice.tobytes().startswith(once.tobytes())
        assert twice.tobytes().count(once.tobytes()) == 1


class TestVoices:
    @pytest.fixture(scope="class")
    def spoken(self) -> dict[str, Pcm]:
        """The same twenty seconds from each voice."""

        async def speak_all() -> dict[str, Pcm]:
            engine = PiperEngine(PiperOptions(slots=2), piper_model())
            tasks = [task_of(TURNS[0], voice=speaker.voice.id) for speaker in SPEAKERS]
            pcms = await asyncio.gather(*(heard(engine, task) for task in tasks))
            await engine.close()
            return {task.lines[0].voice: pcm for task, pcm in zip(tasks, pcms, strict=True)}

        return asyncio.run(speak_all())

    def test_they_stand_at_one_level(self, spoken: dict[str, Pcm]) -> None:
        for speaker in SPEAKERS:
            frames = frame_energies(spoken[speaker.voice.id])
            loud = frames[loud_frames(spoken[speaker.voice.id])]
            level_db = level_steps(int(loud.sum()), loud.size * FRAME_SAMPLES) / STEPS_PER_DB
            wanted_db = LevelRules().target_dbfs
            assert level_db + speaker.voice.gain_db == pytest.approx(wanted_db, abs=0.75)

    def test_they_differ_in_pitch_as_they_say(self, spoken: dict[str, Pcm]) -> None:
        plain = pitch_hz(spoken["joe"])
        for speaker in SPEAKERS:
            ratio = pitch_hz(spoken[speaker.voice.id]) / plain
            assert ratio == pytest.approx(speaker.pitch, rel=0.03)

    def test_a_slower_voice_takes_longer(self, spoken: dict[str, Pcm]) -> None:
        by_pace = sorted(SPEAKERS, key=lambda speaker: speaker.pace)
        assert spoken[by_pace[-1].voice.id].size > spoken[by_pace[0].voice.id].size


def pitch_hz(pcm: Pcm) -> float:
    """Median pitch of the voiced frames, by autocorrelation."""
    found = []
    for start in range(0, pcm.size - 1200, 600):
        frame = pcm[start : start + 1200].astype(float)
        if np.sqrt(np.mean(frame**2)) < 1500:
            continue
        power = np.abs(np.fft.rfft(frame - frame.mean(), 4096)) ** 2
        correlation = np.fft.irfft(power)[:400]
        lag = int(np.argmax(correlation[80:400])) + 80
        if correlation[lag] > 0.5 * correlation[0]:
            found.append(24_000 / lag)
    return float(np.median(found))


class TestPauses:
    async def test_sentences_stand_apart_as_segments_do(self, engine: PiperEngine) -> None:
        assert pause_s(Boundary.SENTENCE) == SENTENCE_GAP_S
        silences = silences_s(await heard(engine, task_of("Yes. No.")))
        assert max(silences) == pytest.approx(SENTENCE_GAP_S, abs=0.006)

    @pytest.mark.parametrize("pause", [0.15, 0.5, 2.5])
    async def test_lines_stand_apart_as_asked(self, engine: PiperEngine, pause: float) -> None:
        silences = silences_s(await heard(engine, task_of("Yes.", "No.", pause=pause)))
        assert max(silences) == pytest.approx(pause, abs=0.006)

    async def test_a_line_without_words_leaves_its_pause(self, engine: PiperEngine) -> None:
        silences = silences_s(await heard(engine, task_of("Yes.", "...", "No.", pause=0.4)))
        assert max(silences) == pytest.approx(0.8, abs=0.006)

    async def test_edges_hold_little_silence(self, engine: PiperEngine) -> None:
        pcm = await heard(engine, task_of("Yes."))
        loud = np.flatnonzero(loud_frames(pcm))
        assert duration_s(int(loud[0]) * FRAME_SAMPLES) <= EDGE_S
        assert duration_s(pcm.size - int(loud[-1] + 1) * FRAME_SAMPLES) <= EDGE_S + 0.005
        assert abs(int(pcm[0])) <= 1
        assert abs(int(pcm[-1])) <= 1

    async def test_nothing_to_say_is_silence_and_an_end(self, engine: PiperEngine) -> None:
        for text in ("...", "—", "“!”"):
            nothing = await listen(engine, task_of(text))
            assert nothing.chunks == ()
            assert (nothing.ends[0].finish, nothing.ends[0].input_tokens) == ("stop", 0)


async def test_frames_and_ids_are_counted(engine: PiperEngine) -> None:
    (end,) = (await listen(engine, task_of("Yes. No."))).ends
    ids = [breath.ids for breath in piper_model().phonemes.breaths("Yes. No.")]
    assert end.input_tokens == sum(map(len, ids))
    assert end.output_frames / engine.info.tokens_per_s == pytest.approx(1.0, abs=0.5)


def test_brackets_are_no_phonemes() -> None:
    phonemes = piper_model().phonemes
    assert list(phonemes.breaths("Say [[h@l@U]] now.")) == list(phonemes.breaths("Say h@l@U now."))


def test_a_sentence_of_a_page_is_spoken_in_breaths() -> None:
    breaths = list(piper_model().phonemes.breaths("so they went on and on, " * 60))
    assert len(breaths) > 3
    assert [breath.opens for breath in breaths] == [True] + [False] * (len(breaths) - 1)


async def test_a_run_is_stopped_in_its_middle(engine: PiperEngine) -> None:
    (breath,) = piper_model().phonemes.breaths("so they went on and on")
    ids = [*breath.ids[:-1] * 40, breath.ids[-1]]
    stop = StopSignal()
    run = asyncio.create_task(
        asyncio.to_thread(
            piper_model().model.run, ids, length_scale=1.0, key=1, options=run_options(stop)
        )
    )
    await asyncio.sleep(0)
    stop.stop()
    with pytest.raises(EngineError, match="terminate"):
        await run


async def test_it_needs_no_network(engine: PiperEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> NoReturn:
        raise AssertionError("piper asks the network for something")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert (await heard(engine, task_of("Hello."))).size
    await engine.health()


async def test_an_engine_with_a_broken_voice_is_ill(
    engine: PiperEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = piper_model()
    monkeypatch.setattr(loaded.model, "_noise_scale", float("nan"))
    with pytest.raises(EngineError, match="not numbers"):
        await engine.health()
    monkeypatch.undo()
    await engine.health()


async def test_closing_before_the_first_chunk_frees_the_slot(engine: PiperEngine) -> None:
    task = task_of(" ".join(TURNS))
    stream = asyncio.create_task(listen(engine, task))
    await asyncio.sleep(0)
    stream.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream
    async with speak(engine, replace(task, chunk_s=0.01)) as items:
        await anext(items)


def test_the_revision_names_all_that_decides() -> None:
    revision = piper_model().revision
    for part in ("piper-1", "ort-1", "numpy-", "soxr-", "voice-", "+a1"):
        assert part in revision


@pytest.mark.asr
async def test_words_arrive_from_every_voice(engine: PiperEngine) -> None:
    lines = tuple(
        Line("Ada", speaker.voice.id, turn, pause_s=0.35)
        for speaker, turn in zip(SPEAKERS, TURNS, strict=True)
    )
    pcm = await heard(engine, SpeakTask("key", lines, 3, 120.0))
    understood = await asyncio.to_thread(hear, pcm)
    said = " ".join(TURNS)
    assert word_recall(said, understood) >= 0.85
    assert min(recall_by_tenths(said, understood)) >= 0.7
