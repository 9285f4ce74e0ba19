"""Captions hold every word once, in order, in pieces that can be read along."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.caption_files import to_json, to_srt, to_vtt
from serve_app.core.captions import (
    LINE_COLUMNS,
    LINE_COLUMNS_ZH,
    MAX_S,
    MIN_S,
    Caption,
    TimedSegment,
    captions,
)
from serve_app.core.letter_clock import (
    Anchor,
    LetterClock,
    count_letters,
    pack_anchors,
    unpack_anchors,
)
from serve_app.core.plan import segment_script
from serve_app.core.script import parse
from serve_app.core.segment import Boundary, Utterance
from serve_app.documents import read_document
from tests.unit import texts
from tests.unit.texts import heard, no_deadline


def timed(text: str, rate: float = 1.0, gap_s: float = 0.35) -> list[TimedSegment]:
    """The segments of a script, spoken as fast as estimated times *rate*."""
    found = []
    at_s = 0.0
    for segment in segment_script(parse(text)):
        end_s = at_s + segment.est_s * rate
        found.append(TimedSegment(segment.index, segment.utterances, at_s, end_s))
        at_s = end_s + gap_s
    return found


def one(*said: str, start_s: float = 0.0, end_s: float = 10.0, **more: Any) -> TimedSegment:
    utterances = tuple(
        Utterance(text.split(": ")[0], text.split(": ")[1], Boundary.TURN) for text in said
    )
    return TimedSegment(0, utterances, start_s, end_s, **more)


def columns(line: str) -> int:
    """Marks stand on the letter before them."""
    seen = [char for char in line if unicodedata.category(char) not in {"Mn", "Mc", "Me"}]
    return sum(2 if ord(char) > 0x2E80 else 1 for char in seen)


@no_deadline
@given(texts.written, st.floats(0.2, 3.0), st.floats(0.0, 2.0))
def test_every_word_is_shown_once_in_order(script: texts.Written, rate: float, gap: float) -> None:
    segments = timed(script.text, rate, gap)
    shown = list(captions(segments))
    words = [
        (said.speaker, heard(said.text)) for segment in segments for said in segment.utterances
    ]
    assert joined((cue.speaker, heard(cue.text)) for cue in shown) == joined(words)
    assert all(heard(cue.text) for cue in shown)
    plain = re.sub(r"\s", "", "".join(cue.text for cue in shown))
    text = "".join(said.text for segment in segments for said in segment.utterances)
    assert plain == re.sub(r"\s", "", text)


def joined(said: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    whole: list[tuple[str, str]] = []
    for speaker, text in said:
        if whole and whole[-1][0] == speaker:
            whole[-1] = (speaker, whole[-1][1] + text)
        else:
            whole.append((speaker, text))
    return whole


@no_deadline
@given(texts.written, st.floats(0.01, 3.0), st.floats(0.0, 2.0))
def test_times_are_in_order_and_exact_at_segments(
    script: texts.Written, rate: float, gap: float
) -> None:
    segments = timed(script.text, rate, gap)
    shown = list(captions(segments))
    assert all(cue.start_ms < cue.end_ms for cue in shown)
    assert all(left.end_ms <= right.start_ms for left, right in pairwise(shown))
    if rate > 0.2:
        for segment in segments:
            own = [cue for cue in shown if cue.segment == segment.number]
            assert own[0].start_ms == round(segment.start_s * 1000)
            end_ms = round(segment.end_s * 1000)
            if MIN_S * 1000 <= end_ms - own[-1].start_ms <= MAX_S * 1000:
                assert own[-1].end_ms == end_ms
            assert own[0].estimated == (len(own) > 1) == own[-1].estimated


@no_deadline
@given(texts.written, st.floats(0.5, 2.0))
def test_pieces_are_short(script: texts.Written, rate: float) -> None:
    for cue in captions(timed(script.text, rate)):
        assert 1 <= len(cue.lines) <= 2
        assert cue.end_ms - cue.start_ms <= MAX_S * 1000
        for line in cue.lines:
            assert columns(line) <= LINE_COLUMNS or len(re.findall(r"[^\W_]+", line)) == 1


def test_sentences_and_clauses_stay_together() -> None:
    said = (
        "Ann: Alice was beginning to get very tired of sitting by her sister on the bank, and of "
        "having nothing to do. Once or twice she had peeped into the book her sister was reading."
    )
    shown = list(captions([one(said, end_s=11.0)]))
    assert [cue.lines for cue in shown] == [
        ("Alice was beginning to get very tired", "of sitting by her sister on the bank,"),
        ("and of having nothing to do.",),
        ("Once or twice she had peeped into", "the book her sister was reading."),
    ]


def test_chinese_lines_hold_twenty_signs_and_are_cut_at_their_clauses() -> None:
    said = (
        "甲: 我冒了严寒，回到相隔二千余里，别了二十余年的故乡去。"
        "时候既然是深冬；渐近故乡时，天气又阴晦了。"
    )
    shown = list(captions([one(said)]))
    assert [cue.lines for cue in shown] == [
        ("我冒了严寒，回到相隔二千余里，", "别了二十余年的故乡去。"),
        ("时候既然是深冬；", "渐近故乡时，天气又阴晦了。"),
    ]
    assert all(columns(line) <= LINE_COLUMNS_ZH for cue in shown for line in cue.lines)


def test_a_word_longer_than_a_line_stands_alone() -> None:
    shown = list(captions([one(f"Ann: So {'x' * 60} it is.", end_s=4.0)]))
    assert [cue.text for cue in shown] == ["So", "x" * 60, "it is."]


def test_a_short_caption_lasts_into_the_silence_but_not_into_the_next_words() -> None:
    first = one("Ann: Yes.", end_s=0.3)
    second = one("Bob: No.", start_s=0.8, end_s=1.1)
    third = one("Ann: Oh!", start_s=5.0, end_s=5.2)
    times = [(cue.start_ms, cue.end_ms) for cue in captions([first, second, third])]
    assert times == [(0, 800), (800, 1800), (5000, 5200)]


def test_a_segment_without_audio_has_no_captions() -> None:
    assert list(captions([one("Ann: Lost.", start_s=3.0, end_s=3.0)])) == []
    with pytest.raises(ValueError, match="can't end"):
        list(captions([one("Ann: Lost.", start_s=3.0, end_s=2.0)]))


def test_silence_between_lines_is_counted_and_no_caption_hangs_over_it() -> None:
    said = one("Ann: one two three four.", "Bob: five six seven eight.", end_s=4.0)
    first, second = captions([said])
    assert 340 <= second.start_ms - first.end_ms <= 1000
    assert (first.start_ms, second.end_ms) == (0, 4000)


def test_captions_between_heard_words_are_aligned() -> None:
    text = "One two three, four five six seven. Eight nine ten, eleven twelve. " * 4
    said = one(f"Ann: {text.strip()}", end_s=20.0)
    plain = list(captions([said]))
    assert len(plain) > 3
    assert not any(caption.aligned for caption in plain)
    letters = count_letters(text)
    words = [count_letters(text[: match.start()]) for match in re.finditer(r"\b\w", text)]
    known = tuple(Anchor(at, 20 * (at / letters) ** 2) for at in words if at)
    aligned = list(captions([replace(said, anchors=known)]))
    assert all(caption.aligned and not caption.estimated for caption in aligned)
    assert {caption.start_ms / 1000 for caption in aligned} <= {
        0.0,
        *(round(anchor.at_s, 3) for anchor in known),
    }
    some = list(captions([replace(said, anchors=known[:20])]))
    assert {caption.estimated for caption in some} == {True, False}


class TestClock:
    UTTERANCES = (Utterance("Ann", "one two, three.", Boundary.START),)

    def test_it_runs_by_the_estimate_from_end_to_end(self) -> None:
        clock = LetterClock(self.UTTERANCES, 10.0, 20.0)
        begins = clock.begins(range(clock.letters + 1))
        assert (begins[0], begins[-1], clock.letters) == (10.0, 20.0, 11)
        assert begins == sorted(begins)
        assert [clock.is_known(at) for at in (0, 3, 11)] == [True, False, True]

    def test_a_heard_word_moves_its_neighbours(self) -> None:
        clock = LetterClock(self.UTTERANCES, 10.0, 20.0, (Anchor(3, 9.0), Anchor(6, 8.0)))
        assert clock.begins([0, 3]) == pytest.approx([10.0, 19.0])
        assert 19.0 < clock.begins([6])[0] < 20.0
        assert clock.is_known(3)
        assert not clock.is_known(6)
        assert [clock.is_exact(at) for at in (0, 3, 11)] == [True, False, True]

    @given(
        st.lists(st.tuples(st.integers(0, 99_999), st.integers(0, 10**8)), max_size=9), st.text()
    )
    def test_packed_anchors_come_back(self, known: list[tuple[int, int]], other: str) -> None:
        anchors = tuple(Anchor(letters, at_ms / 1000) for letters, at_ms in known)
        packed = pack_anchors((*anchors, Anchor(3, -0.1)))
        assert unpack_anchors(packed) == anchors
        for anchor in unpack_anchors(other):
            assert anchor.letters >= 0
            assert anchor.at_s >= 0

    def test_nothing_to_say_has_no_time(self) -> None:
        with pytest.raises(ValueError, match="without a letter"):
            LetterClock((), 0.0, 1.0)

    @no_deadline
    @given(
        st.lists(texts.spoken, min_size=1, max_size=4),
        st.floats(0, 60),
        st.lists(st.tuples(st.integers(0, 200), st.floats(0, 60)), max_size=8),
    )
    def test_time_never_runs_back(
        self, said: list[str], duration_s: float, known: list[tuple[int, float]]
    ) -> None:
        utterances = [Utterance("Ann", text, Boundary.PARAGRAPH) for text in said]
        clock = LetterClock(utterances, 5.0, 5.0 + duration_s, [Anchor(*one) for one in known])
        assert clock.letters == sum(map(count_letters, said))
        places = range(clock.letters + 1)
        both = [*zip(clock.ends(places), clock.begins(places), strict=True)]
        flat = [time for pair in both for time in pair]
        assert flat[0] == 5.0
        assert flat[-1] == 5.0 + duration_s
        assert all(left <= right + 1e-9 for left, right in pairwise(flat))


class TestFiles:
    SHOWN = (
        Caption(0, 1500, "A & <B>", True, ("1 < 2 --> x", "done"), False, 0),
        Caption(1500, 3_723_004, "A & <B>", False, ("More.",), True, 1),
        Caption(3_723_004, 3_724_000, "C", True, ("End.",), True, 1),
    )
    ALIGNED = Caption(0, 1500, "A", True, ("Heard.",), False, 0, aligned=True)

    def test_srt(self) -> None:
        assert to_srt(self.SHOWN, names=True) == (
            "1\n00:00:00,000 --> 00:00:01,500\nA & <B>: 1 < 2 -> x\ndone\n\n"
            "2\n00:00:01,500 --> 01:02:03,004\nMore.\n\n"
            "3\n01:02:03,004 --> 01:02:04,000\nC: End.\n"
        )
        assert "C:" not in to_srt(self.SHOWN, names=False)
        assert to_srt((), names=True) == ""

    def test_webvtt(self) -> None:
        head, *cues = to_vtt(self.SHOWN).split("\n\n00:")
        assert head.startswith("WEBVTT\n\nNOTE\n")
        assert cues[0] == (
            "00:00.000 --> 00:00:01.500\n<v A &amp; &lt;B&gt;>1 &lt; 2 --&gt; x\ndone</v>"
        )
        assert cues[1].endswith(
            "<v.estimated A &amp; &lt;B&gt;>More.</v>\n\n01:02:03.004 --> "
            "01:02:04.000\n<v.estimated C>End.</v>\n"
        )

    def test_json(self) -> None:
        first, second, _ = json.loads(to_json(self.SHOWN))["captions"]
        assert first == {
            "start_s": 0.0,
            "end_s": 1.5,
            "speaker": "A & <B>",
            "text": "1 < 2 --> x done",
            "lines": ["1 < 2 --> x", "done"],
            "estimated": False,
            "aligned": False,
            "segment": 0,
        }
        assert second["estimated"]

    def test_what_was_heard_is_marked(self) -> None:
        assert "\n<v.aligned A>Heard.</v>\n" in to_vtt([self.ALIGNED])
        assert json.loads(to_json([self.ALIGNED]))["captions"][0]["aligned"]

    @no_deadline
    @given(st.lists(texts.spoken.filter(lambda said: not re.search(r"[<&{\d-]", said)), min_size=1))
    def test_an_srt_reads_back_as_what_was_said(self, said: list[str]) -> None:
        segments = timed("\n\n".join(said))
        srt = to_srt(captions(segments), names=False)
        back = parse(read_document("a.srt", srt.encode()).text)
        words = "".join(heard(part.text) for turn in back.turns for part in turn.paragraphs)
        assert words == heard("".join(said))
