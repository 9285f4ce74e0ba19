"""Turns as JSON become the script that the same text with labels would be."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.dialogue import Said, script_of, voices_of
from serve_app.core.script import parse
from serve_app.core.text import clean
from serve_app.errors import EmptyInputError, InvalidInputError, ScriptError, TooManySpeakersError
from tests.unit.fake_replicas import FakeReplicas
from tests.unit.ingress_stage import client_of, service

NAMES = st.sampled_from(["Lily", "Jeyes", "Note", "l'été", "4th man", "他说"])
TEXTS = st.text("ab. \n:\\[]*_-#pause 3s'Lily: ", min_size=1, max_size=60).filter(
    lambda text: bool(clean(text).strip("\n"))
)


def test_a_dialogue_is_the_script_of_its_labelled_text() -> None:
    turns = (
        Said("Lily", "Is anybody there?\n\nI heard a noise."),
        Said("Jeyes", "Only me, [pause 2s] miss.", pause_s=1.5),
        Said("lily", "Oh."),
    )
    text = (
        "Lily: Is anybody there?\n\nI heard a noise.\n[pause 1.5s]\n"
        "Jeyes: Only me, [pause 2s] miss.\nLily: Oh."
    )
    assert script_of(turns) == parse(text)


def test_names_and_lines_that_look_like_something_else_are_taken_as_they_are() -> None:
    script = script_of(
        (Said("Note", "Bob: hello\nLily: and this is text"), Said("4th man", "Chapter 2: go"))
    )
    assert script.speakers == ("Note", "4th man")
    spoken = [paragraph.text for turn in script.turns for paragraph in turn.paragraphs]
    assert spoken == ["Bob: hello Lily: and this is text", "Chapter 2: go"]


@given(st.lists(st.tuples(NAMES, TEXTS), min_size=1, max_size=6))
def test_every_letter_is_spoken_by_who_says_it(turns: list[tuple[str, str]]) -> None:
    if len({name for name, _ in turns}) > 4:
        return
    try:
        script = script_of([Said(name, text) for name, text in turns])
    except (EmptyInputError, ScriptError):
        return
    for speaker in script.speakers:
        heard = "".join(
            paragraph.text
            for turn in script.turns
            if turn.speaker == speaker
            for paragraph in turn.paragraphs
        )
        wanted = "".join(text for name, text in turns if name == speaker)
        for letter in "bLily":  # the others are letters of "pause" too
            assert heard.count(letter) == wanted.count(letter)


@pytest.mark.parametrize(
    ("turns", "error", "says"),
    [
        ((), EmptyInputError, "turns"),
        ((Said("Lily", " \n "),), EmptyInputError, "Turn 0"),
        ((Said("Lily", "..."),), EmptyInputError, "nothing to speak"),
        ((Said("...", "Hello."),), InvalidInputError, "letter"),
        ((Said("L" * 41, "Hello."),), InvalidInputError, "41"),
        ((Said("Lily", "Hello.", pause_s=31.0),), InvalidInputError, "31"),
        (tuple(Said(name, "Hello.") for name in "abcde"), TooManySpeakersError, "a, b, c, d, e"),
    ],
)
def test_refusals(turns: tuple[Said, ...], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        script_of(turns)


def test_a_speaker_has_one_voice() -> None:
    turns = [Said("Lily", "Hi.", voice="alto"), Said("LILY", "Hi."), Said("Bob", "Hi.", voice="x")]
    assert voices_of(turns) == {"Lily": "alto", "Bob": "x"}
    with pytest.raises(InvalidInputError, match="alto"):
        voices_of([*turns, Said("lily", "Hi.", voice="tenor")])


TURNS: list[dict[str, Any]] = [
    {"speaker": "Lily", "text": "Is anybody there?", "voice": {"id": "tenor"}},
    {"speaker": "Jeyes", "text": "Only me, miss.", "pause_s": 2.0},
]


async def post(body: dict[str, Any]) -> httpx.Response:
    async with client_of(service(FakeReplicas())) as client:
        return await client.post(
            "/v1/audio/dialogue", json={"model": "tts-1", "response_format": "pcm", **body}
        )


async def test_the_route_speaks_what_the_text_route_speaks() -> None:
    answer = await post({"turns": TURNS})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-speakers"] == "Lily=tenor,Jeyes=alto"
    async with client_of(service(FakeReplicas())) as client:
        same = await client.post(
            "/v1/audio/speech",
            json={
                "model": "tts-1",
                "response_format": "pcm",
                "voice": "tenor",
                "input": "Lily: Is anybody there?\n[pause 2s]\nJeyes: Only me, miss.",
            },
        )
    assert answer.content == same.content
    longer = await post(
        {"turns": [TURNS[0], {"speaker": "Jeyes", "text": "Only me, miss."}], "pause_s": 3.0}
    )
    assert len(longer.content) == len(answer.content) + 48_000


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "turns"),
        ({"turns": []}, "turns"),
        ({"turns": [{"speaker": "Lily"}]}, "turns.0.text"),
        ({"turns": [{**TURNS[0], "pause_s": -1}]}, "turns.0.pause_s"),
        ({"turns": [{**TURNS[0], "voice": "nobody"}]}, "voice"),
        ({"turns": [{**TURNS[0], "mood": "sad"}]}, "turns.0.mood"),
        ({"turns": TURNS, "input": "Hello."}, "input"),
    ],
)
async def test_the_route_names_the_fault(body: dict[str, Any], param: str) -> None:
    answer = await post(body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
