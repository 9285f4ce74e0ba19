"""Text in words, options and languages: what is spoken, what is refused, what is reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.text import speakable
from serve_app.engines.base import EngineInfo, Voice
from serve_app.errors import EmptyInputError, InvalidInputError, ServeError, UnknownVoiceError
from serve_app.prepare import Ability, Prepared, ScriptOrder, prepare

ENGINE = EngineInfo(
    "fake", "m", "r", (Voice("alto", "Anna", ("en",)), Voice("tenor", "Tom", ("en", "zh"))), 7.5
)


def prepared(text: str, **more: Any) -> Prepared:
    order = replace(ScriptOrder(text), **more)
    return prepare(order, ENGINE, Ability(aliases={"Alloy": "tenor", "lost": "nobody"}))


def spoken(found: Prepared) -> list[str]:
    return [part.text for turn in found.script.turns for part in turn.paragraphs]


def test_figures_are_put_into_words_unless_the_request_says_no() -> None:
    text = "Lily: It is 7:30, and I have $5.\n\nBob: 50% off! ☺☺ [pause 2s] Good."
    found = prepared(text)
    assert found.script.speakers == ("Lily", "Bob")
    assert not any(char.isdigit() for part in spoken(found) for char in part)
    assert [part.pause_s for part in found.script.turns[1].paragraphs] == [None, 2.0]
    assert sum(found.report.readings.values()) == 3
    assert found.report.unspoken == {"☺": 2}
    assert "☺" not in "".join(spoken(found))
    as_written = prepared(text, in_words=False)
    assert "7:30" in spoken(as_written)[0]
    assert as_written.report.readings == {}
    assert as_written.report.unspoken == {"☺": 2}
    assert found.report.to_json()["unspoken_characters"] == 2


def test_the_language_of_figures_is_told_or_found() -> None:
    assert spoken(prepared("3 4", voice="tenor", language="zh")) == ["三 四"]
    assert spoken(prepared("3 4", voice="tenor")) == ["three four"]
    with pytest.raises(InvalidInputError, match="alto"):
        prepared("3 4", voice="alto", language="zh")


def test_what_cleaning_takes_away_is_reported_too() -> None:
    report = prepared("Hello \ue001\ue001\ud800 there.").report
    assert report.unspoken_characters == 3
    assert report.to_json()["unspoken"] == {"U+E001": 2, "U+D800": 1}


def test_aliases_go_behind_ids_and_names() -> None:
    assert prepared("Hello.", voice="alloy").voices == {"Narrator": "tenor"}
    assert prepared("Alloy: Hello.\nAlloy: Well.").voices == {"Alloy": "alto"}
    with pytest.raises(UnknownVoiceError, match="lost"):
        prepared("Hello.", voice="lost")


def test_options_that_the_engine_has_not_are_refused() -> None:
    order = ScriptOrder("Hello.", options=(("cfg_scale", 1.5),))
    with pytest.raises(InvalidInputError, match="cfg_scale"):
        prepare(order, ENGINE, Ability())
    assert prepare(order, ENGINE, Ability(options=frozenset({"cfg_scale"}))).voices


@given(st.text(st.sampled_from("a1 .\n%☺─▓²①½\ue000$€5°C我们A:"), max_size=60), st.booleans())
def test_every_paragraph_can_be_spoken_and_no_sign_is_lost_in_silence(
    text: str, in_words: bool
) -> None:
    try:
        found = prepared(text, in_words=in_words)
    except EmptyInputError:
        return
    except ServeError as error:
        assert error.status == 400  # noqa: PT017
        return
    parts = spoken(found)
    assert parts
    assert all(map(speakable, parts))
    for sign in "☺─▓\ue000":
        left = sum(part.count(sign) for part in parts)
        reported = found.report.unspoken.get(sign, 0)
        assert left + reported >= text.count(sign)
