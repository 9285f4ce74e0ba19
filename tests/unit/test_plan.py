from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import blake2b
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.plan import (
    PLAN_VERSION,
    Plan,
    plan,
    plan_segments,
    replan_halves,
    seed_of,
    segment_script,
)
from serve_app.core.script import NARRATOR, Script, parse
from serve_app.errors import UnknownVoiceError
from tests.unit import texts
from tests.unit.texts import Written


def planned(script: Script, **changes: Any) -> Plan:
    voices = {name: f"voice {number}" for number, name in enumerate(script.speakers)}
    told: dict[str, Any] = {"voices": voices, "revision": "r1", **changes}
    return plan(script, **told)


def keys(script: Script, **changes: object) -> list[str]:
    return [item.key for item in planned(script, **changes).segments]


def keys_of(paragraphs: Sequence[str]) -> list[str]:
    return keys(parse("\n\n".join(paragraphs)))


@texts.no_deadline
@given(texts.written)
def test_a_plan_covers_each_segment_once(written: Written) -> None:
    script = parse(written.text)
    made = planned(script)
    assert tuple(item.segment for item in made.segments) == tuple(segment_script(script))
    assert made.est_s == pytest.approx(sum(item.segment.est_s for item in made.segments))
    assert made.speakers == script.speakers
    assert len({item.key for item in made.segments}) == len(made.segments)
    for item in made.segments:
        assert item.seed == seed_of(item.key, 0)


@texts.no_deadline
@given(texts.written)
def test_a_plan_is_a_function_of_its_input(written: Written) -> None:
    assert planned(parse(written.text)) == planned(parse(written.text))


@texts.no_deadline
@given(texts.written, st.integers(1, 6))
def test_a_plan_from_the_front_is_the_whole_plan(written: Written, head: int) -> None:
    script = parse(written.text)
    voices = dict.fromkeys(script.speakers, "voice")
    segments = plan_segments(script, voices=voices, revision="r1", seed=3)
    front = tuple(islice(segments, head))
    with ThreadPoolExecutor(1) as elsewhere:
        rest = elsewhere.submit(tuple, segments).result(timeout=30)
    whole = plan(script, voices=voices, revision="r1", seed=3)
    assert (*front, *rest) == whole.segments
    assert len(front) == min(head, len(whole.segments))


@texts.no_deadline
@given(texts.dialogues())
def test_boundaries_do_not_depend_on_voices_and_keys_not_on_names(written: Written) -> None:
    script = parse(written.text)
    made = planned(script)
    other = planned(script, voices=dict.fromkeys(script.speakers, "one for all"), seed=3)
    assert [item.segment for item in other.segments] == [item.segment for item in made.segments]
    assert {item.key for item in other.segments}.isdisjoint(item.key for item in made.segments)
    named = {name: f"Actor {number}" for number, name in enumerate(script.speakers)}
    renamed = Script(
        tuple(replace(turn, speaker=named[turn.speaker]) for turn in script.turns),
        tuple(named.values()),
    )
    assert keys(renamed) == keys(script)


@pytest.mark.parametrize(
    "changes",
    [
        {"revision": "r2"},
        {"seed": 0},
        {"seed": 1},
        {"options": (("steps", 10.0),)},
        {"options": (("steps", 10.0), ("cfg", 1.3))},
        {"options": (("step", 10.0),)},
        {"options": (("steps", 11.0),)},
        {"voices": {"A": "voice 1", "B": "voice 0"}},
    ],
)
def test_every_source_of_the_audio_is_in_the_key(changes: dict[str, object]) -> None:
    script = parse("A: Hello there.\nB: And hello to you.")
    everything: list[dict[str, object]] = [
        {"revision": "r2"},
        {"seed": 0},
        {"seed": 1},
        {"options": (("steps", 10.0),)},
        {"options": (("steps", 10.0), ("cfg", 1.3))},
        {"options": (("step", 10.0),)},
        {"options": (("steps", 11.0),)},
        {"voices": {"A": "voice 1", "B": "voice 0"}},
        {},
    ]
    others = [keys(script, **other)[0] for other in everything if other != changes]
    assert keys(script, **changes)[0] not in others


def test_the_order_of_options_does_not_matter() -> None:
    script = parse("Hello.")
    one, two = ("steps", 10.0), ("cfg", 1.3)
    assert keys(script, options=(one, two)) == keys(script, options=(two, one))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("A: One. Two.", "A: One.\nA: Two."),
        ("A: One.\nB: Two.", "A: One.\nA: Two."),
        ("A: One.\n\nTwo.", "A: One.\nA: Two."),
        ("A: ab.\nA: c.", "A: a.\nA: bc."),
    ],
)
def test_what_is_spoken_differently_has_another_key(left: str, right: str) -> None:
    voices = {"A": "same", "B": "same"}
    assert keys(parse(left, "A"), voices=voices) != keys(parse(right), voices=voices)


def test_same_contents_are_told_apart_by_their_number() -> None:
    once = "[pause 1] Tick, tock, goes the clock on the wall."
    script = parse("\n\n".join([once] * 5))
    five = keys(script)
    assert len(set(five)) == 5
    assert keys(parse("\n\n".join([once] * 4))) == five[:4]


def test_what_lies_before_a_segment_is_not_in_its_key() -> None:
    said = "Tick, tock, goes the clock on the wall."
    assert keys(parse(f"[pause 3] {said}")) == keys(parse(said))
    assert keys(parse(f"One. [pause 1] {said}"))[1] == keys(parse(said))[0]


def test_a_speaker_without_a_voice_is_named() -> None:
    script = parse("A: Hello.\nB: Hi.\nC:\nA: Ho.")
    assert planned(script, voices={"A": "x", "B": "y"}).speakers == ("A", "B", "C")
    with pytest.raises(UnknownVoiceError, match="'B' has no voice"):
        plan_segments(script, voices={"A": "x"}, revision="r1")


def test_the_final_pause_is_in_the_plan() -> None:
    assert planned(parse("Hello. [pause 2]")).final_pause_s == 2
    assert planned(parse("Hello.")).final_pause_s is None


@given(st.text(), st.integers(0, 1000), st.integers(0, 1000))
def test_seeds(key: str, attempt: int, other: int) -> None:
    key = key.encode("utf-8", "replace").decode()
    assert 0 <= seed_of(key, attempt) < 2**63
    assert (seed_of(key, attempt) == seed_of(key, other)) == (attempt == other)


@texts.no_deadline
@given(texts.written)
def test_halves_have_keys_of_their_own(written: Written) -> None:
    made = planned(parse(written.text))
    known = {item.key for item in made.segments}
    for item in made.segments:
        halves = replan_halves(item)
        assert replan_halves(item) == halves
        for half in halves or ():
            assert half.key not in known
            assert half.seed == seed_of(half.key, 0)
            assert half.segment.index == item.segment.index
            known.add(half.key)
        if halves:
            assert texts.heard_in_segments(half.segment for half in halves) == (
                texts.heard_in_segments([item.segment])
            )


def test_a_word_has_no_halves() -> None:
    (item,) = planned(parse("Word.")).segments
    assert replan_halves(item) is None


def edited(paragraphs: Sequence[str], choose: random.Random) -> list[str]:
    """The paragraphs with one replaced, removed, inserted or changed in a word."""
    found = list(paragraphs)
    at = choose.randrange(len(found))
    kind = choose.randrange(4)
    if kind == 0:
        found[at] = "Another paragraph stands here now, and it says this. " * choose.randint(1, 5)
    elif kind == 1:
        del found[at]
    elif kind == 2:
        found.insert(at, "This line has been added to the text.")
    else:
        found[at] = f"{found[at]} So it was."
    return found


@pytest.mark.parametrize(
    ("paragraphs", "edits", "least", "usual"),
    [
        (texts.read("alice_excerpt.txt").strip().split("\n\n"), 60, 0.88, 0.96),
        (texts.long_book(355), 12, 0.95, 0.98),
    ],
    ids=["excerpt", "90 minutes"],
)
def test_an_edit_stays_local(paragraphs: list[str], edits: int, least: float, usual: float) -> None:
    before = set(keys_of(paragraphs))
    choose = random.Random(1)
    kept = [
        len(before.intersection(keys_of(edited(paragraphs, choose)))) / len(before)
        for _ in range(edits)
    ]
    assert min(kept) >= least
    assert sum(kept) / len(kept) >= usual


def test_an_edit_stays_local_in_an_endless_paragraph() -> None:
    sentences = [f"{part}. " for part in " ".join(texts.long_book(400)).split(". ")]
    before = set(keys(parse("".join(sentences))))
    kept = []
    for at in range(40, len(sentences), len(sentences) // 6):
        changed = [*sentences[:at], "And this is another thing. ", *sentences[at + at % 2 :]]
        kept.append(len(before.intersection(keys(parse("".join(changed))))) / len(before))
    assert min(kept) >= 0.97
    assert sum(kept) / len(kept) >= 0.985


def test_the_plan_of_version_2() -> None:
    """Keys outlive a release: raise PLAN_VERSION when this changes."""
    assert PLAN_VERSION == 2
    found = {}
    for name in ("alice_excerpt.txt", "play_1.txt", "zh_prose.txt", "zh_dialogue.txt"):
        made = keys(parse(texts.read(name)), seed=1, options=(("steps", 10.0),))
        found[name] = (len(made), blake2b("".join(made).encode(), digest_size=8).hexdigest())
    assert found == {
        "alice_excerpt.txt": (112, "de9da1ac3b291cb8"),
        "play_1.txt": (162, "871cbf6373f25ee2"),
        "zh_prose.txt": (11, "462ef11060c7311d"),
        "zh_dialogue.txt": (9, "59ffad46746f559f"),
    }


def test_the_narrator_reads_prose() -> None:
    assert planned(parse("Hello."), voices={NARRATOR: "x"}).speakers == (NARRATOR,)
