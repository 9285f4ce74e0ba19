from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.cut import Room, clause_ends, cut, measure, sentence_ends
from serve_app.core.estimate import speech_s
from serve_app.core.segment import (
    Boundary,
    Segment,
    Utterance,
    halve,
    make_segment,
    pieces,
    sentences,
    utterance_ticks,
)
from serve_app.core.text import clean, join_lines, speakable
from tests.unit import texts

paragraphs = st.one_of(
    texts.spoken, texts.wild.map("a{}".format), texts.messy.map("a{}".format)
).map(lambda text: join_lines([clean(text)]))
budgets = st.sampled_from([1.0, 1.5, 4.0, 10.0, 90.0])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two.", ["One. ", "Two."]),
        ("Mr. Smith paid 3.14 dollars. Good.", ["Mr. Smith paid 3.14 dollars. ", "Good."]),
        ("“Stop!” Bob said. He ran.", ["“Stop!” Bob said. ", "He ran."]),
        ("“Stop!” He ran.", ["“Stop!” ", "He ran."]),
        ("“真的吗？”我问。是的。", ["“真的吗？”我问。", "是的。"]),
        ("他说：“走吧。”然后走了！", ["他说：“走吧。”", "然后走了！"]),
        ("One. - ! Two.", ["One. - ! ", "Two."]),
        ("... One.", ["... One."]),
        ("See www.Example.Org. Yes.", ["See www.Example.Org. ", "Yes."]),
        ("A\u3000.", ["A\u3000."]),
        ("", []),
    ],
)
def test_sentences_by_example(text: str, parts: list[str]) -> None:
    assert sentences(text) == parts


@texts.no_deadline
@given(st.one_of(paragraphs, texts.wild, texts.messy))
def test_sentences_lose_nothing(text: str) -> None:
    parts = sentences(text)
    assert "".join(parts) == text
    assert all(map(speakable, parts)) or len(parts) == 1


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("one, two; three: four", ["one, ", "two; ", "three: ", "four"]),
        ("1,000 and 10:30", ["1,000 and 10:30"]),
        ("one - two -- three—four", ["one - ", "two -- ", "three—", "four"]),
        ("co-operate", ["co-operate"]),
        ("‘one,’ two", ["‘one,’ ", "two"]),
        ("本也如此，——虽然没有进步；好", ["本也如此，——", "虽然没有进步；", "好"]),
    ],
)
def test_clauses_by_example(text: str, parts: list[str]) -> None:
    places = [0, *clause_ends(text, 0, len(text), len(text)), len(text)]
    assert [text[start:end] for start, end in pairwise(places)] == parts


@texts.no_deadline
@given(paragraphs, budgets)
def test_pieces_lose_nothing_and_keep_the_budget(text: str, budget_s: float) -> None:
    found = pieces(text, budget_s)
    assert "".join(piece for piece, _ in found) == text
    assert [before for _, before in found[:1]] == [Boundary.START]
    assert {before for _, before in found[1:]} <= {Boundary.SENTENCE, Boundary.CLAUSE}
    for piece, _ in found:
        assert speakable(piece)
        assert speech_s(piece.strip()) <= budget_s


@texts.no_deadline
@given(paragraphs, budgets)
def test_a_piece_behind_a_sentence_starts_one(text: str, budget_s: float) -> None:
    ends = sentence_ends(text)
    start = 0
    for piece, before in pieces(text, budget_s):
        assert (before is Boundary.SENTENCE) == (start in ends)
        start += len(piece)


def test_pieces_by_example() -> None:
    text = "A short one. Then, as it were, comes a rather longer sentence, which goes on. The end."
    assert [piece for piece, _ in pieces(text, 90)] == [text]
    assert pieces(text, 4) == (
        ("A short one. ", Boundary.START),
        ("Then, as it were, comes a rather longer sentence, which goes on. ", Boundary.SENTENCE),
        ("The end.", Boundary.SENTENCE),
    )
    assert pieces(text, 5) == (
        (
            "A short one. Then, as it were, comes a rather longer sentence, which goes on. ",
            Boundary.START,
        ),
        ("The end.", Boundary.SENTENCE),
    )
    assert pieces("", 1) == ()


def test_an_endless_word_is_cut_between_letters() -> None:
    found = pieces("x" * 300, 4)
    assert len(found) == 5
    assert {len(piece) for piece, _ in found} == {60}


def test_a_long_sentence_of_the_book_is_cut_at_clauses() -> None:
    text = next(
        text for text in texts.read("alice_excerpt.txt").split("\n\n") if text.startswith("Hardly")
    )
    assert sentences(text) == [text]
    found = pieces(text, 15)
    assert len(found) == 4
    assert all(piece.rstrip()[-1] in ",;:" for piece, _ in found[:-1])


def test_a_budget_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="below 1 s"):
        pieces("one", 0.9)


def room(budget_s: float, limit_s: float, head_s: float = 0, head_words: int = 0) -> Room:
    return Room(round(180 * budget_s), round(180 * limit_s), round(180 * head_s), head_words)


def sized(seconds: float) -> str:
    """A sentence without clauses of about that length."""
    return "word " * round((seconds - 0.3) * 18 / 5 - 1) + "last. "


def cut_length_s(text: str, room: Room) -> float | None:
    place = cut(measure(text), 0, room)
    return None if place is None else speech_s(text[: place[0]].strip())


def test_text_within_its_room_stays_whole() -> None:
    assert cut(measure(sized(9)), 0, room(10, 13)) is None
    assert cut(measure(sized(12.5)), 0, room(10, 13)) is None  # one sentence within the limit
    assert cut(measure(sized(9) + sized(2)), 0, room(10, 13)) is None  # no tiny part


def test_parts_are_nearly_equal() -> None:
    length = cut_length_s(sized(4) * 6, room(10, 13))
    assert length == pytest.approx(8, abs=0.3)


def test_a_sentence_over_the_limit_is_cut_into_equal_parts() -> None:
    text = ", ".join(["one two three four"] * 15) + ". " + sized(9)
    length = cut_length_s(text, room(10, 13))
    assert length is not None
    assert length == pytest.approx(speech_s(text.split(".")[0]) / 2, abs=1)


def test_a_first_end_over_the_budget_is_taken_within_the_limit() -> None:
    assert cut_length_s(sized(7) + sized(9), room(4, 8)) == pytest.approx(7, abs=0.3)


def test_a_sentence_over_the_limit_stays_whole_up_to_the_most() -> None:
    def most(seconds: float) -> Room:
        return Room(180 * 4, 180 * 8, most=round(180 * seconds))

    clauses = ", ".join(["one two three four"] * 15) + ". "  # 16.9 s
    assert cut(measure(clauses), 0, most(17)) is None
    assert cut(measure(clauses + sized(9)), 0, most(17)) == (len(clauses), True)
    assert cut(measure("Oh! " + clauses + sized(9)), 0, most(18)) == (len("Oh! " + clauses), True)
    assert cut(measure("Oh! " + clauses + sized(9)), 0, most(17)) == (len("Oh! "), True)
    assert cut(measure(clauses + "Oh!"), 0, most(18)) is None  # nothing tiny is left
    place = cut(measure(clauses), 0, most(16))
    assert place is not None
    assert not place[1]


def test_words_are_parted_only_where_nothing_else_can_be() -> None:
    first, second = "Oh, no! ", sized(10.5)
    assert cut(measure(first + second), 0, room(10, 11)) == (len(first), True)
    assert cut(measure(second), 0, room(10, 11, head_s=1, head_words=2)) == (0, True)
    place = cut(measure(second), 0, room(10, 10.8, head_s=0.4))  # only the change of speaker
    assert place is not None
    assert place[0] > 0
    place = cut(measure(sized(18)), 0, room(10, 13))
    assert place is not None
    assert not place[1]


@pytest.mark.parametrize("budget_s", [10, 20, 40])
def test_cuts_in_a_long_text_fall_into_step_again(budget_s: int) -> None:
    common = " ".join(texts.long_book(60)).replace("\n", " ")
    ends = []
    for share in (0, 0.3, 0.5, 0.8):
        start = "Once more. " * round(share * budget_s)
        left = len(start + common)
        ends.append({left := left - len(piece) for piece, _ in pieces(start + common, budget_s)})
    assert len(set.intersection(*ends)) >= 0.75 * max(map(len, ends))


segments = st.lists(
    st.builds(
        Utterance,
        st.sampled_from(["Ann", "Bob"]),
        paragraphs,
        st.sampled_from([Boundary.TURN, Boundary.PARAGRAPH, Boundary.SENTENCE]),
    ),
    min_size=1,
    max_size=5,
).map(lambda utterances: make_segment(7, tuple(utterances), 1.5))


@texts.no_deadline
@given(segments)
def test_halves_say_what_the_segment_says(segment: Segment) -> None:
    halves = halve(segment)
    if halves is None:
        assert len(segment.utterances) == 1
        assert len(sentences(segment.utterances[0].text)) == 1
        return
    first, second = halves
    assert texts.heard_in_segments(halves) == texts.heard_in_segments([segment])
    assert (first.index, first.before, first.pause_s) == (7, segment.before, 1.5)
    assert (second.index, second.pause_s) == (7, None)
    for half in halves:
        assert half.before is half.utterances[0].before
        assert half.est_s == sum(map(utterance_ticks, half.utterances)) / 180
        assert 0 < half.est_s <= segment.est_s
        for utterance in half.utterances:
            assert speakable(utterance.text)
            assert utterance.text == utterance.text.strip()


@texts.no_deadline
@given(segments)
def test_halving_comes_to_an_end_at_single_words(segment: Segment) -> None:
    todo = [segment]
    words = 0
    while todo:
        halves = halve(todo.pop())
        words += halves is None
        todo += halves or ()
    assert words <= sum(len(utterance.text) for utterance in segment.utterances)


@pytest.mark.parametrize(
    ("said", "first", "second", "before"),
    [
        (["One two. Three four."], ["One two."], ["Three four."], Boundary.SENTENCE),
        (["Yes.", "No. Never at all."], ["Yes.", "No."], ["Never at all."], Boundary.SENTENCE),
        (["Yes, I do.", "No, I don't."], ["Yes, I do."], ["No, I don't."], Boundary.TURN),
        (
            ["one, two, a thousand and seven"],
            ["one, two,"],
            ["a thousand and seven"],
            Boundary.CLAUSE,
        ),
        (["one two"], ["one"], ["two"], Boundary.CLAUSE),
        (["走吧"], ["走"], ["吧"], Boundary.CLAUSE),
    ],
)
def test_halving_by_example(
    said: list[str], first: list[str], second: list[str], before: Boundary
) -> None:
    utterances = [Utterance("Ann", text, Boundary.TURN) for text in said]
    halves = halve(make_segment(0, tuple(utterances), None))
    assert halves is not None
    assert [part.text for part in halves[0].utterances] == first
    assert [part.text for part in halves[1].utterances] == second
    assert halves[1].before is before


@pytest.mark.parametrize("word", ["word", "“Word!”", "我", "x" * 500])
def test_a_word_is_not_halved(word: str) -> None:
    assert halve(make_segment(0, (Utterance("Ann", word, Boundary.TURN),), None)) is None
