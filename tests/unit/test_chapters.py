"""Headings are found, and only headings; chapters begin where they are heard."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.chapter_times import ChapterMark, chapter_starts, locate, mark
from serve_app.core.chapters import Heading, gutenberg_body, headings, paused
from serve_app.core.letter_clock import count_letters
from serve_app.core.plan import segment_script
from serve_app.core.script import Script, parse
from serve_app.core.segment import Segment
from serve_app.core.text import clean
from serve_app.errors import InvalidInputError
from tests.unit import texts
from tests.unit.texts import no_deadline

BODY = "It was a long day, and nobody said a word. " * 12


def titles(text: str) -> list[str]:
    return [heading.title for heading in headings(text)]


def book(*lines: str) -> str:
    return "\n\n".join(f"{line}\n\n{BODY}" for line in lines)


@pytest.mark.parametrize(
    "line",
    [
        "CHAPTER I. Down the Rabbit-Hole",
        "CHAPTER XI. Who Stole the Tarts?",
        "Chapter 12",
        "Chapter Twenty-One: The Sea",
        "CHAPTER THE LAST",
        "THE FIRST ACT.",
        "ACT I. SCENE II.",
        "ACT II",
        "SCENE III. A room in the castle.",
        "Part Two — London",
        "BOOK 3",
        "PROLOGUE",
        "Epilogue.",
        "# A title",
        "第三章",
        "第三章 故乡",
        "第1回 甄士隐梦幻识通灵，贾雨村风尘怀闺秀",
        "第二十一章：雪夜",
        "第三幕",
        "楔子",
    ],
)
def test_headings_are_known(line: str) -> None:
    assert titles(book(line)) == [line.removeprefix("# ")]


@pytest.mark.parametrize(
    "line",
    [
        "Chapter 12 is about whales.",
        "Chapter 12, however, was lost.",
        "Part of me was glad.",
        "Part I have read.",
        "Chapter 3 Whales are large and swim.",
        "Book one flight now.",
        "chapter 3",
        "Section",
        "Act now!",
        "第三章讲的是一条鱼。",
        "第一回去北京，我没有钱。",
        "第一 章程要写清楚",
        "#hashtag",
        "Introduction to whales",
        "CHORUS.",
        "ALICE’S RIGHT FOOT, ESQ. HEARTHRUG, NEAR THE FENDER",
        "*****",
        "- - -",
        "IV.",
        "7",
    ],
)
def test_prose_is_no_heading(line: str) -> None:
    assert titles(f"{BODY}\n\n{line}\n\n{BODY}") == []


def test_a_heading_inside_a_wrapped_paragraph_is_prose() -> None:
    assert titles(f"{BODY}\n\nHe had read the book up to\nChapter 12\nand no more.") == []


def test_chinese_chapters_need_no_empty_lines() -> None:
    text = "第一章 雪\n我走了。\n“来吧。”\n第二章\n他说：\n第三章没有写完\n完了。"
    assert titles(text) == ["第一章 雪", "第二章"]


def test_levels_go_from_the_outer_to_the_inner() -> None:
    text = book("PART ONE", "Chapter 1", "SCENE I", "## Two", "第一卷", "第一章", "第一节")
    assert [heading.level for heading in headings(text)] == [1, 2, 3, 2, 1, 2, 3]


def test_the_line_below_is_the_title() -> None:
    text = (
        f"CHAPTER I.\nDown the Rabbit-Hole\n\n{BODY}\n\nCHAPTER II\n\nThe Pool of Tears\n\n{BODY}"
        f"\n\nCHAPTER III.\n\n“Stop!”\n\n{BODY}\n\n第四章\n\n雪夜\n\n{BODY}"
    )
    assert titles(text) == [
        "CHAPTER I. Down the Rabbit-Hole",
        "CHAPTER II. The Pool of Tears",
        "CHAPTER III.",
        "第四章 雪夜",
    ]


def test_ruled_lines_are_headings() -> None:
    text = f"The Sea\n=======\n\n{BODY}\n\nThe Land\n--------\n\n{BODY}\n\nA line\n\n---\n\n{BODY}"
    assert [(heading.title, heading.level) for heading in headings(text)] == [
        ("The Sea", 1),
        ("The Land", 2),
    ]


def test_a_table_of_contents_is_no_chapter() -> None:
    contents = "CHAPTER I. One\nCHAPTER II. Two\n\nCHAPTER III. Three"
    text = f"Contents\n\n{contents}\n\n{book('CHAPTER I. One', 'CHAPTER II. Two', 'CHAPTER III')}"
    found = headings(text)
    lines = clean(text).split("\n")
    assert [heading.title for heading in found] == [
        "CHAPTER I. One",
        "CHAPTER II. Two",
        "CHAPTER III",
    ]
    assert all(lines[heading.line + 2] == BODY.strip() for heading in found)


def test_a_play_has_acts_and_scenes() -> None:
    text = (
        "ACT I\n\nSCENE I. Elsinore. A platform before the Castle.\n\nFrancisco: Who’s there?\n"
        "Barnardo: Nay, answer me.\n\nSCENE II. A room of state.\n\nFrancisco: Long live the king!"
        "\n\nACT II\n\nSCENE I. A room in Polonius’s house.\n\nBarnardo: He?"
    )
    script = parse(text)
    places = locate(headings(text), text, script)
    assert [chapter.title for chapter in places] == [
        "ACT I",
        "SCENE I. Elsinore. A platform before the Castle.",
        "SCENE II. A room of state.",
        "ACT II",
        "SCENE I. A room in Polonius’s house.",
    ]
    assert [begins(script, chapter.turn, chapter.paragraph) for chapter in places] == [
        "ACT I",
        "SCENE I. Elsinore. A platform before the Castle.",
        "SCENE II. A room of state.",
        "ACT II",
        "SCENE I. A room in Polonius’s house.",
    ]


def begins(script: Script, turn: int, paragraph: int) -> str:
    return script.turns[turn].paragraphs[paragraph].text


def test_numbers_alone_count_if_they_count_up() -> None:
    assert titles(book("I.", "II.", "III.", "IV.", "VI.")) == ["I.", "II.", "III.", "IV."]
    assert titles(book("1", "2")) == ["1", "2"]
    assert titles(book("2", "3")) == []


def test_capitals_count_only_where_nothing_else_does() -> None:
    assert titles(book("THE SEA", "THE LAND", "THE SEA BIRDS")) == [
        "THE SEA",
        "THE LAND",
        "THE SEA BIRDS",
    ]
    assert titles(book("THE SEA", "THE LAND", "THE SEA")) == []
    assert titles(book("CHAPTER I", "THE SEA", "THE LAND")) == ["CHAPTER I"]


def test_gutenberg_s_own_text_has_no_chapters() -> None:
    text = (
        f"PREFACE\n\n*** START OF THIS PROJECT GUTENBERG EBOOK X ***\n\n{book('CHAPTER I')}\n\n"
        "*** END OF THIS PROJECT GUTENBERG EBOOK X ***\n\nSection 1. General Terms\n\nx"
    )
    assert titles(text) == ["CHAPTER I"]
    lines = text.split("\n")
    assert [lines[gutenberg_body(lines).start + 1], lines[gutenberg_body(lines).stop]] == [
        "CHAPTER I",
        "*** END OF THIS PROJECT GUTENBERG EBOOK X ***",
    ]
    assert gutenberg_body(["a", "b"]) == range(2)


def test_the_real_excerpt_has_its_chapters_and_no_others() -> None:
    assert titles(texts.read("alice_excerpt.txt")) == [
        "CHAPTER IV. The Rabbit Sends in a Little Bill",
        "CHAPTER V. Advice from a Caterpillar",
    ]
    for name in ("play_1.txt", "zh_prose.txt", "zh_dialogue.txt"):
        assert titles(texts.read(name)) == []


@no_deadline
@given(st.one_of(texts.messy, texts.wild, texts.written.map(lambda one: one.text)))
def test_any_text_has_headings_on_lines_of_its_own(text: str) -> None:
    lines = clean(text).split("\n")
    found = headings(text)
    assert [heading.line for heading in found] == sorted({heading.line for heading in found})
    assert all(lines[heading.line] and heading.title for heading in found)
    try:
        script = parse(text)
    except InvalidInputError:
        return
    every = [Heading(at, "x", 1) for at, line in enumerate(lines)]
    places = [(here.turn, here.paragraph, here.offset) for here in locate(every, text, script)]
    assert places == sorted(places)
    assert places[0] == (0, 0, 0)


@no_deadline
@given(texts.written, st.data())
def test_headings_are_found_again_in_the_script(script: texts.Written, data: st.DataObject) -> None:
    """Put a heading with a number into a script: where it is located, the number stands."""
    lines = script.text.split("\n")
    empty = [at for at, line in enumerate(lines) if not line.strip()]
    at = data.draw(st.sampled_from([0, *empty]))
    lines[at:at] = ["", "Chapter 77", ""]
    text = "\n".join(lines)
    parsed = parse(text)
    found = [heading for heading in headings(text) if heading.title.startswith("Chapter 77")]
    (chapter,) = locate(found, text, parsed)
    rest = parsed.turns[chapter.turn].paragraphs[chapter.paragraph].text[chapter.offset :]
    assert rest.startswith("Chapter 77")


@pytest.mark.parametrize(
    "text",
    [
        "Ann: Ann is\n\nAnn: here.\n\n# Go\n\nx",
        "Ann: [pause 1s] pause [pause] 1s [aside] x\nBob: ...\n\n# Go\n\nAnn: x",
        "[pause 2s]\n\\Note: x [a] [b [pause 1s]\n\n# Go\n\nx",
        "Ann: [Bob: hi]\nBob: Bob: hi\nAnn: - !\n\n# Go\n\nx",
        "Ann: Hi\n# Go\nBob: Ho\n\nAnn: Hi",
        "So it was.\n\nNarrator: nothing.\n\n# Go\n\nx",
        "Narrator: Hi\nAnn: Narrator\n\n# Go\n\nx",
        "[pause for thought] Ann: x\nAnn: y\nAnn: z\n\n# Go\n\nx",
        "a: a: a\n" * 300 + "\n# Go\n\nx",
        "[00:01] **Ann (7):** x\n- [0:02] Ann: y\nAnn: z\n\n# Go\n\nx",
        "So.\n[00:01] Narrator: Hi\n\n# Go\n\nx",
    ],
)
def test_labels_and_pauses_before_a_heading_are_no_words(text: str) -> None:
    script = parse(text)
    line = clean(text).split("\n").index("# Go")
    (chapter,) = locate([Heading(line, "Go", 1)], text, script)
    found = begins(script, chapter.turn, chapter.paragraph)[chapter.offset :]
    assert found.lstrip(".!-# ").startswith("Go")


def test_a_script_of_another_text_is_refused() -> None:
    with pytest.raises(ValueError, match="not read from this text"):
        locate(headings("# A\n\nx"), "# A\n\nx", parse("other words"))


def timeline(script: Script) -> tuple[list[Segment], list[tuple[float, float]]]:
    segments = list(segment_script(script))
    ends = list(accumulate(segment.est_s for segment in segments))
    return segments, [(end - item.est_s, end) for item, end in zip(segments, ends, strict=True)]


def test_chapters_of_a_book_begin_in_its_audio() -> None:
    text = book("CHAPTER I. One", "CHAPTER II. Two", "CHAPTER III. Three")
    script = parse(text)
    marks = mark(locate(headings(text), text, script), script)
    segments, spans = timeline(script)
    starts = chapter_starts(marks, segments, spans)
    assert [start.title for start in starts] == [found.title for found in marks]
    assert (starts[0].start_s, starts[0].estimated) == (0.0, False)
    third = spans[-1][1] / 3
    assert [start.start_s for start in starts] == pytest.approx([0, third, 2 * third], abs=1.0)


def test_a_pause_before_each_chapter_makes_its_start_exact() -> None:
    text = clean(book("CHAPTER I. One", "CHAPTER II. Two", "CHAPTER III. Three"))
    found = headings(text)
    quiet = paused(text, found, 1.5)
    assert headings(quiet.replace("[pause 1.5s] ", "")) == found
    script = parse(quiet)
    assert [part.pause_s for part in script.turns[0].paragraphs] == [
        None,
        None,
        1.5,
        None,
        1.5,
        None,
    ]
    segments, spans = timeline(script)
    starts = chapter_starts(mark(locate(found, quiet, script), script), segments, spans)
    assert not any(start.estimated for start in starts)
    assert {start.start_s for start in starts} <= {start_s for start_s, _ in spans}
    assert paused(quiet, found, 1.5) == quiet


def test_places_that_nobody_knows_are_left_out() -> None:
    segments, spans = timeline(parse(book("CHAPTER I", "CHAPTER II")))
    total = sum(count_letters(said.text) for item in segments for said in item.utterances)
    marks = [
        ChapterMark("a", 0),
        ChapterMark("b", 0),
        ChapterMark("c", total - 1),
        ChapterMark("d", total),
    ]
    known = [*spans[:-1], None]
    assert [start.title for start in chapter_starts(marks, segments, known)] == ["a"]
    with pytest.raises(ValueError, match="spans"):
        chapter_starts(marks, segments, spans[1:])


@no_deadline
@given(texts.written, st.data())
def test_starts_are_in_order_and_inside_the_audio(
    script: texts.Written, data: st.DataObject
) -> None:
    segments, spans = timeline(parse(script.text))
    total = sum(count_letters(said.text) for item in segments for said in item.utterances)
    places = sorted(data.draw(st.sets(st.integers(0, total - 1), max_size=6)))
    starts = chapter_starts([ChapterMark(str(at), at) for at in places], segments, spans)
    times = [start.start_s for start in starts]
    assert len(starts) == len(places)
    assert times == sorted(times)
    assert all(0 <= time <= spans[-1][1] for time in times)
