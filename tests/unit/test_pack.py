from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from serve_app.core import pack
from serve_app.core.cut import Room, measure
from serve_app.core.estimate import TICKS_PER_S, TURN_TICKS, speech_s, speech_ticks
from serve_app.core.pack import (
    LADDER_S,
    RAMP_S,
    Packer,
    blocks_of,
    budget_ticks,
    is_final,
    limit_ticks,
    most_ticks,
)
from serve_app.core.plan import segment_script
from serve_app.core.script import Script, parse
from serve_app.core.segment import Boundary, Segment, sentences
from serve_app.core.text import prefix_words
from serve_app.errors import InvalidInputError
from tests.unit import texts
from tests.unit.texts import Written

CORPUS = ("alice_excerpt.txt", "play_1.txt", "zh_prose.txt", "zh_dialogue.txt")


def segmented(script: Script) -> tuple[Segment, ...]:
    return tuple(segment_script(script))


def seconds_to_ticks(seconds: float) -> int:
    return round(seconds * TICKS_PER_S)


def limits_s(script: Script) -> list[float]:
    """The hard bound of every segment of a script, from what is left at its start."""
    packer = Packer(tuple(blocks_of(script)))
    left = [packer.left(start) for start in packer.cuts()]
    limits = [limit_ticks(index, budget_ticks(index, rest)) for index, rest in enumerate(left[:-1])]
    most = [
        limit if index > 1 and is_final(rest, left[0]) else most_ticks(index, limit)
        for index, (limit, rest) in enumerate(zip(limits, left, strict=False))
    ]
    return [max(pair) / TICKS_PER_S for pair in zip(limits, most, strict=True)]


def turns(*texts_of_turns: str) -> str:
    """A dialogue of two who take turns."""
    return "\n".join(f"{'AB'[at % 2]}: {text}" for at, text in enumerate(texts_of_turns))


def words(segment: Segment) -> int:
    return sum(prefix_words(utterance.text)[-1] for utterance in segment.utterances)


@pytest.mark.parametrize(
    ("index", "left_s", "budget_s"),
    [
        (0, 5400, 4),
        (1, 5400, 8),
        (2, 5400, 16),
        (3, 5400, 30),
        (4, 5400, 75),
        (4, 5760, 90),
        (4, 10**6, 90),
        (4, 4800, 75),
        (4, 4799, 60),
        (4, 768, 12),
        (4, 767, 10),
        (4, 1, 10),
        (2, 100, 10),
        (3, 1000, 15),
        (0, 1, 4),
    ],
)
def test_budgets(index: int, left_s: float, budget_s: float) -> None:
    assert budget_ticks(index, seconds_to_ticks(left_s)) == seconds_to_ticks(budget_s)


@given(st.integers(0, 50), st.integers(0, 2 * 10**6))
def test_budgets_follow_the_taper_in_steps(index: int, left: int) -> None:
    budget_s = budget_ticks(index, left) / TICKS_PER_S
    assert budget_s <= min(90, max(10, left / TICKS_PER_S / 64))
    if index > 3:
        assert budget_s in LADDER_S


@texts.no_deadline
@given(texts.written)
def test_nothing_is_lost_and_order_holds(written: Written) -> None:
    segments = segmented(parse(written.text))
    assert texts.heard_in_segments(segments) == written.said
    assert [segment.index for segment in segments] == list(range(len(segments)))


@texts.no_deadline
@given(texts.written)
def test_no_segment_is_over_its_limit(written: Written) -> None:
    script = parse(written.text)
    segments = segmented(script)
    for segment, limit_s in zip(segments, limits_s(script), strict=True):
        assert 0 < segment.est_s <= limit_s


@texts.no_deadline
@given(texts.messy)
def test_any_text_is_cut_without_loss_within_its_limits(text: str) -> None:
    try:
        script = parse(text)
    except InvalidInputError:
        return
    segments = segmented(script)
    said = "".join(text for _, text in texts.heard_in_segments(segments))
    assert said == "".join(
        texts.heard(part.text) for turn in script.turns for part in turn.paragraphs
    )
    for segment, limit_s in zip(segments, limits_s(script), strict=True):
        assert 0 < segment.est_s <= limit_s


@pytest.mark.parametrize("name", CORPUS)
def test_no_segment_of_the_corpus_is_over_its_limit_or_tiny(name: str) -> None:
    script = parse(texts.read(name))
    segments = segmented(script)
    for segment, limit_s in zip(segments, limits_s(script), strict=True):
        assert segment.est_s <= limit_s
        assert segment.est_s >= (2 if segment.index < len(RAMP_S) else 3)
        assert words(segment) >= 5


@texts.no_deadline
@given(texts.written)
def test_utterances_are_whole_paragraphs_but_for_the_ends(written: Written) -> None:
    script = parse(written.text)
    whole = {part.text for turn in script.turns for part in turn.paragraphs}
    for segment in segmented(script):
        assert segment.before is segment.utterances[0].before
        for utterance in segment.utterances[1:-1]:
            assert utterance.text in whole
        for utterance in segment.utterances[1:]:
            assert utterance.before in {Boundary.TURN, Boundary.PARAGRAPH}
        for utterance in segment.utterances:
            assert utterance.text == utterance.text.strip()
            assert texts.heard(utterance.text)


@texts.no_deadline
@given(texts.written)
def test_only_the_start_starts(written: Written) -> None:
    script = parse(written.text)
    before = [part.before for segment in segmented(script) for part in segment.utterances]
    assert before[0] is Boundary.START
    assert Boundary.START not in before[1:]
    assert before.count(Boundary.TURN) == len(script.turns) - 1
    assert before.count(Boundary.PARAGRAPH) == sum(
        len(turn.paragraphs) - 1 for turn in script.turns
    )


@texts.no_deadline
@given(st.lists(st.tuples(texts.spoken, st.none() | st.integers(0, 30)), min_size=1, max_size=12))
def test_an_explicit_pause_always_cuts(parts: list[tuple[str, int | None]]) -> None:
    tagged = [text if pause is None else f"[pause {pause}s] {text}" for text, pause in parts]
    script = parse("\n\n".join(tagged) + " [pause 7]")
    segments = segmented(script)
    found = [segment.pause_s for segment in segments if segment.pause_s is not None]
    assert found == [float(pause) for _, pause in parts if pause is not None]
    assert script.final_pause_s == 7


@texts.no_deadline
@given(texts.written)
def test_a_short_text_is_one_segment(written: Written) -> None:
    script = parse(written.text)
    segments = segmented(script)
    if sum(segment.est_s for segment in segments) <= 3.5:
        assert len(segments) == 1


@texts.no_deadline
@given(texts.spoken, texts.prose())
def test_the_first_segment_is_short_where_the_text_allows(text: str, rest: Written) -> None:
    script = parse(f"{text}\n\n{rest.text}")
    first = measure(script.turns[0].paragraphs[0].text)
    room = Room(seconds_to_ticks(4), seconds_to_ticks(8))
    cuts = [
        end
        for end in first.ends[:-1]
        if 2 * room.budget >= 2 * (TURN_TICKS + first.ticks[end]) >= room.budget
        and not room.is_tiny(TURN_TICKS + first.ticks[end], first.words[end])
        and not room.is_tiny(first.ticks[-1] - first.ticks[end], first.words[-1] - first.words[end])
    ]
    segment = segmented(script)[0]
    if cuts:
        assert segment.est_s <= 4


@pytest.mark.parametrize("name", ["alice_excerpt.txt", "play_1.txt", "zh_dialogue.txt"])
def test_the_first_segment_of_real_texts_is_short(name: str) -> None:
    assert segmented(parse(texts.read(name)))[0].est_s <= 9


@pytest.mark.parametrize("name", ["play_1.txt", "zh_prose.txt", "zh_dialogue.txt"])
def test_ramp_and_taper_cut_no_sentence_of_the_corpus(name: str) -> None:
    segments = segmented(parse(texts.read(name)))
    whole_s = sum(segment.est_s for segment in segments)
    done_s = 0.0
    for segment in segments:
        if 16 * done_s <= 15 * whole_s:
            assert segment.before is not Boundary.CLAUSE
        done_s += segment.est_s


@texts.no_deadline
@given(texts.written)
def test_a_sentence_is_cut_only_if_it_is_very_long_or_near_the_end(written: Written) -> None:
    script = parse(written.text)
    parts = [part.text for turn in script.turns for part in turn.paragraphs]
    longest_s = max(speech_s(sentence) for part in parts for sentence in sentences(part))
    segments = segmented(script)
    whole_s = sum(segment.est_s for segment in segments)
    done_s = 0.0
    for segment in segments:
        whole_up_to_s = 19 if 1 < segment.index <= len(RAMP_S) else 44
        if longest_s < whole_up_to_s and 16 * done_s <= 15 * whole_s:
            assert segment.before is not Boundary.CLAUSE
        done_s += segment.est_s


@pytest.mark.parametrize("question", [2, 3])
@pytest.mark.parametrize("verb", ["said", "sung", "told", "read", "done", "sent"])
def test_an_answer_stays_with_its_question(question: int, verb: str) -> None:
    said = [f"This is {verb} in two seconds or so."] * 40  # 2.6 s: one, then two or three of them
    said[question] = f"Is it {verb} in two seconds or so?"
    segments = segmented(parse(turns(*said)))
    taken = [len(segment.utterances) for segment in segments]
    assert taken[:2] == [1, 5 - question]


@pytest.mark.parametrize(("letters", "taken"), [(85, 2), (86, 1)])
def test_a_block_that_just_fits_is_taken(letters: int, taken: int) -> None:
    twelve_words = "word " * 11 + "word"
    rest = "The rabbit went straight on like a tunnel for some way, and then dipped down. " * 9
    said = f"So it goes.\n\n[pause 1] {twelve_words}\n\n{'a' * letters}\n\n{rest}"
    second = segmented(parse(said))[1]
    assert len(second.utterances) == taken
    assert (second.est_s == 8) == (taken == 2)


def test_a_heading_goes_with_its_text() -> None:
    body = "The rabbit went straight on like a tunnel for some way, and then dipped down. " * 5
    said = "\n\n".join(f"{body}\n\nChapter {number}.\n\n{body}" for number in range(1, 6))
    for segment in segmented(parse(said))[1:]:
        assert not segment.utterances[-1].text.startswith("Chapter")
        assert words(segment) > 5


def test_a_tiny_end_goes_with_what_is_before_it() -> None:
    body = "The rabbit went straight on like a tunnel for some way, and then dipped down. " * 2
    segments = segmented(parse(turns(*[body] * 9, "Oh!")))
    assert segments[-1].utterances[-1].text == "Oh!"
    assert len(segments[-1].utterances) == 2


@texts.no_deadline
@given(texts.prose())
def test_what_is_in_front_matters_only_through_the_ramp(back: Written) -> None:
    parts = [sentence for _, said in back.turns for part in said for sentence in sentences(part)]
    assume(max(map(speech_s, parts)) < 10)  # longer ones may be cut in the last sixteenth
    ramp = "\n\n".join(f"[pause {at}] A short one, number {at}." for at in range(1, 5))
    fronts = (ramp, f"{texts.read('zh_prose.txt')}\n\n{ramp}")
    behind = []
    for front in fronts:
        segments = segmented(parse(f"{front}\n\n[pause 9] {back.text}"))
        at = next(segment.index for segment in segments if segment.pause_s == 9)
        behind.append([[part.text for part in segment.utterances] for segment in segments[at:]])
    assert behind[0] == behind[1]


@texts.no_deadline
@given(texts.messy)
def test_cuts_do_not_depend_on_what_has_been_measured(text: str) -> None:
    try:
        blocks = tuple(blocks_of(parse(text)))
    except InvalidInputError:
        return
    measured = Packer(blocks)
    measured.left(next(measured.cuts()))
    assert list(measured.cuts()) == list(Packer(blocks).cuts())


def test_the_first_segments_are_found_before_the_end_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[str] = []

    def noting(text: str) -> int:
        measured.append(text)
        return speech_ticks(text)

    monkeypatch.setattr(pack, "speech_ticks", noting)
    blocks = tuple(blocks_of(parse(texts.read("alice_excerpt.txt"))))
    cuts = Packer(blocks).cuts()
    found = [next(cuts) for _ in range(3)]
    assert len(measured) < found[-1].block + 3 < len(blocks) / 4
    assert len([*found, *cuts]) > 100
    assert measured == [block.text for block in blocks]


def test_the_packer_knows_what_is_left() -> None:
    script = parse(texts.read("alice_excerpt.txt"))
    packer = Packer(tuple(blocks_of(script)))
    left = [packer.left(point) for point in packer.cuts()]
    spoken = sum(speech_s(part.text) for turn in script.turns for part in turn.paragraphs)
    assert left[0] == seconds_to_ticks(spoken) + TURN_TICKS
    assert left[-1] == 0
    assert all(later < earlier for earlier, later in pairwise(left))
