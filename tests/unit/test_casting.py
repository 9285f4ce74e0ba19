"""The cast is a function of the request, and every speaker has a voice that exists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.casting import STOCK_NAMES, cast, with_stock_names
from serve_app.errors import InvalidInputError, UnknownVoiceError

VOICES = {"alto": "Anna", "tenor": "Tom", "bass": "Ben", "mezzo": "Mia"}


def test_the_requested_voice_goes_to_the_first_speaker_then_the_order() -> None:
    assert cast(["Lily", "Jeyes", "Nurse"], VOICES, requested="bass") == {
        "Lily": "bass",
        "Jeyes": "alto",
        "Nurse": "tenor",
    }


def test_explicit_then_by_name_then_by_order() -> None:
    got = cast(["Lily", "anna", "Jeyes"], VOICES, explicit={"LILY": "mezzo"})
    assert got == {"Lily": "mezzo", "anna": "alto", "Jeyes": "tenor"}


def test_a_voice_is_asked_for_by_id_or_by_name() -> None:
    assert cast(["Lily"], VOICES, requested="ben") == {"Lily": "bass"}
    assert cast(["Lily"], VOICES, explicit={"Lily": "MIA"}) == {"Lily": "mezzo"}
    twins = {"one": "Ann", "two": "ANN", "ann": "Someone else"}
    assert cast(["Lily"], twins, requested="Ann") == {"Lily": "ann"}
    del twins["ann"]
    assert cast(["Lily"], twins, requested="ann") == {"Lily": "one"}


def test_a_voice_that_somebody_adds_catches_nothing_by_its_name() -> None:
    """Voices of the library come last, under names that their uploaders chose."""
    added = {"one": "Alloy", "two": "Narrator", "three": "Lily", "four": "TOM", "five": "auto"}
    voices = {**VOICES, **{f"voice_{number}": name for number, name in added.items()}}
    meant = {"alloy": "tenor"}
    assert cast(["Lily"], voices, requested="alloy", aliases=meant) == {"Lily": "tenor"}
    assert cast(["Lily"], voices, requested="ALLOY", aliases=meant) == {"Lily": "tenor"}
    assert cast(["Narrator"], voices) == {"Narrator": "alto"}
    assert cast(["narrator"], voices, requested="bass") == {"narrator": "bass"}
    assert cast(["Lily", "Tom"], voices, requested="bass") == {"Lily": "bass", "Tom": "tenor"}
    assert cast(["Lily", "Tom"], voices, requested="tenor") == {"Lily": "tenor", "Tom": "alto"}
    assert cast(["Tom"], voices, explicit={"Tom": "auto"}) == {"Tom": "alto"}


def test_openais_names_stand_for_the_engines_voices_and_nothing_that_is_added_moves_them() -> None:
    own = list(VOICES)
    found = with_stock_names({"ash": "mezzo", "reader": "bass"}, own)
    assert (found["alloy"], found["ballad"], found["fable"]) == ("alto", "bass", "tenor")
    assert (found["ash"], found["reader"]) == ("mezzo", "bass")
    assert set(found) == {*STOCK_NAMES, "reader"}
    added = ["voice_" + digit * 24 for digit in "12"]
    assert with_stock_names({}, own + added) == with_stock_names({}, own)
    assert with_stock_names({}, added) == with_stock_names({}, added[:1])
    assert with_stock_names({}, []) == {}
    assert "alloy" not in with_stock_names({}, ["Alloy", "alto"])


def test_without_any_voice_it_says_so() -> None:
    with pytest.raises(UnknownVoiceError, match="no voices yet"):
        cast(["Lily"], {})


def test_unknown_voice_is_named_with_those_that_exist() -> None:
    with pytest.raises(UnknownVoiceError, match=r"'soprano'.*'alto', 'tenor'"):
        cast(["Lily"], VOICES, requested="soprano")
    with pytest.raises(UnknownVoiceError):
        cast(["Lily"], VOICES, explicit={"Lily": "soprano"})


def test_a_map_for_somebody_else_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"'bob'.*'Lily'"):
        cast(["Lily"], VOICES, explicit={"Bob": "alto"})


@given(
    speakers=st.lists(st.text("abcdef", min_size=1, max_size=3), unique=True, max_size=4),
    voices=st.lists(st.text("vwxyz", min_size=1, max_size=3), unique=True, min_size=1, max_size=5),
    data=st.data(),
)
def test_distinct_voices_while_there_are_enough(
    speakers: list[str], voices: list[str], data: st.DataObject
) -> None:
    table = {voice: voice.upper() for voice in voices}
    requested = data.draw(st.sampled_from([*voices, "auto"]))
    got = cast(speakers, table, requested=requested)
    assert list(got) == speakers
    assert set(got.values()) <= set(voices)
    if len(voices) >= len(speakers):
        assert len(set(got.values())) == len(speakers)
    if speakers and requested != "auto":
        assert got[speakers[0]] == requested
    assert got == cast(speakers, table, requested=requested)
