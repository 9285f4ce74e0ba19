from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.estimate import (
    ESTIMATE_VERSION,
    TICKS_PER_S,
    TURN_S,
    TURN_TICKS,
    language,
    prefix_ticks,
    speech_s,
    speech_ticks,
)
from serve_app.core.text import speakable
from tests.unit import texts

texts_of_any_kind = st.one_of(texts.spoken, texts.wild)


def test_the_constants_of_version_1() -> None:
    assert ESTIMATE_VERSION == 1
    assert pytest.approx(TURN_S) == TURN_TICKS / TICKS_PER_S
    assert speech_s("a" * 18) == 1
    assert speech_s("我" * 9) == speech_s("カ" * 9) == speech_s("한" * 9) == 2
    assert speech_s("1234") == 1
    assert speech_s("ab cd") == 5 / 18
    assert speech_s("ab, (cd)") == pytest.approx(8 / 18 - 1 / 18)  # the space is beside no letter
    assert speech_s("ab.") == pytest.approx(3 / 18 + 0.3)


@pytest.mark.parametrize("silent", ["", " ", "...", "- !", "* * * * *", "=" * 500, "! ! !", "😀"])
def test_what_says_nothing_takes_no_time(silent: str) -> None:
    assert speech_ticks(silent) == 0


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("No end", 0),
        ("One. Two! Three? Four…", 4),
        ("Really?! Oh...", 2),
        ("He said “go.” Then he went.", 2),
        ("It is (so). He “left”!", 2),
        ("It is 3.14 by U.S. law", 1),
        ("好。走吧！真的吗？”我问。", 4),
        ("www.example.org", 0),
        ("! one", 0),
    ],
)
def test_sentence_ends_cost_a_pause(text: str, ends: int) -> None:
    marks = str.maketrans("", "", ".!?…。！？")
    letters = sum(10 if char.isascii() else 40 for char in text if char.isalpha())
    digits = sum(45 for char in text if char.isdigit())
    silent_cost = speech_ticks(text) - letters - digits - ends * 54
    assert silent_cost % 10 == 0
    assert 0 <= silent_cost <= 10 * (len(text) - len(text.translate(marks)) + text.count(" ") + 2)


@texts.no_deadline
@given(texts_of_any_kind)
def test_the_running_sum_ends_at_the_whole(text: str) -> None:
    ticks = prefix_ticks(text)
    assert len(ticks) == len(text) + 1
    assert ticks[0] == 0
    assert list(ticks) == sorted(ticks)
    assert ticks[-1] == speech_ticks(text)
    assert (ticks[-1] > 0) == speakable(text)


@texts.no_deadline
@given(texts_of_any_kind, st.data())
def test_parts_never_cost_more_than_the_whole(text: str, data: st.DataObject) -> None:
    places = [at for at in range(len(text) + 1) if at == 0 or text[at - 1] != "."]
    places.append(len(text))
    start, end = sorted((data.draw(st.sampled_from(places)), data.draw(st.sampled_from(places))))
    ticks = prefix_ticks(text)
    assert speech_ticks(text[start:end].strip()) <= ticks[end] - ticks[start]


@texts.no_deadline
@given(texts.spoken, texts.spoken)
def test_sentences_add_up(left: str, right: str) -> None:
    whole = speech_ticks(f"{left}. {right}")
    assert 0 <= whole - speech_ticks(f"{left}.") - speech_ticks(right) <= 10


def test_the_corpus_takes_as_long_as_it_says() -> None:
    play = texts.read("play_1.txt").strip().split("\n")
    minutes = sum(speech_s(line.split(": ", 1)[1]) + TURN_S for line in play) / 60
    assert minutes == pytest.approx(26, rel=0.07)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello", "en"),
        ("你好", "zh"),
        ("我用 PyTorch 训练", "zh"),
        ("Alice met 王 in the garden", "en"),
        ("カタカナ", "en"),
        ("12:30", "en"),
        ("\u2e80\u2f00", "en"),
        ("", "en"),
    ],
)
def test_language(text: str, expected: str) -> None:
    assert language(text) == expected


@given(
    text=st.text(st.sampled_from("abZ19 .,!?…-_'\"()，。！？“”你好é\u3000\n"), max_size=60)
    | st.text()
)
def test_the_whole_costs_what_its_prefixes_add_up_to(text: str) -> None:
    assert speech_ticks(text) == prefix_ticks(text)[-1]
