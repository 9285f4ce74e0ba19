from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.text import (
    clean,
    ends_question,
    ends_sentence,
    join_lines,
    prefix_words,
    speakable,
    words,
)
from tests.unit import texts

FILLERS = "\u115f\u1160\u3164\uffa0"
anything = st.one_of(
    texts.wild,
    st.text(alphabet=st.characters(categories=("Cc", "Cf", "Cs", "Zs", "Zl", "Mn", "Lo", "Ll"))),
    st.text(alphabet="ab \t\r\n\v\f\x1c\x1f\x85\u2028\u3000\u00a0\u200d\u00ad\ufe0f\u0301가ᄀ"),
)


@texts.no_deadline
@given(anything)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@texts.no_deadline
@given(anything)
def test_cleaning_loses_nothing_that_is_heard(text: str) -> None:
    kept = "".join(char for char in text if char not in FILLERS)
    assert texts.heard(clean(text)) == texts.heard(kept)


@texts.no_deadline
@given(anything)
def test_clean_text_is_plain(text: str) -> None:
    cleaned = clean(text)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert {unicodedata.category(char) for char in cleaned if char != "\n"}.isdisjoint(
        {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    )
    assert {char for char in cleaned if unicodedata.category(char) == "Zs"} <= {" "}
    assert all(line == " ".join(line.split()) for line in cleaned.split("\n"))


@pytest.mark.parametrize(
    "line_break",
    ["\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"],
)
def test_every_line_break_is_one_newline(line_break: str) -> None:
    assert clean(f"one{line_break}two") == "one\ntwo"


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("a\u00a0b\u3000c\u2009d\te\x1ff", "a b c d e f"),
        ("  a   b  \n   c ", "a b\nc"),
        ("exam\u00adple", "example"),
        ("\ufeffzero\u200bwidth\u2060joined", "zerowidthjoined"),
        ("\u202eright to left\u202c", "right to left"),
        ("half \ud800 of a pair", "half of a pair"),
        ("private \ue000 and none \ufdd0\uffff\U0010ffff", "private and none"),
        ("e\u200d\u0301", "é"),
        ("bell\x07 \x00null", "bell null"),
        ("heart ❤\ufe0f", "heart ❤"),
        ("hidden\U000e0041\U000e0042", "hidden"),
        (FILLERS, ""),
        ("“大家好”", "“大家好”"),
    ],
)
def test_cleaning_by_example(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@pytest.mark.parametrize(
    ("lines", "joined"),
    [
        (["one", "two"], "one two"),
        ([" one ", "", "two"], "one two"),
        (["我冒了严寒，", "回到故乡去。"], "我冒了严寒，回到故乡去。"),
        (["他说：", "“走吧。”"], "他说：“走吧。”"),
        (["“走吧。”", "他说。"], "“走吧。”他说。"),
        (["他叫", "Bob", "先生"], "他叫 Bob 先生"),
        (["“one”", "“two”"], "“one” “two”"),
        (["한국어", "문장"], "한국어 문장"),
        (["break\u2028inside", "\n"], "break inside"),
        ([], ""),
    ],
)
def test_joining_by_example(lines: list[str], joined: str) -> None:
    assert join_lines(lines) == joined


@texts.no_deadline
@given(st.lists(anything, max_size=6))
def test_a_joined_line_has_no_line_break(lines: list[str]) -> None:
    joined = join_lines(map(clean, lines))
    assert len(joined.splitlines()) <= 1
    assert texts.heard(joined) == "".join(map(texts.heard, map(clean, lines)))


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("- !", 0), ("one two", 2), ("it's", 2), ("走吧", 2), ("走 away 吧2", 4)],
)
def test_words(text: str, count: int) -> None:
    assert prefix_words(text)[-1] == words(text) == count


@texts.no_deadline
@given(anything)
def test_words_are_there_where_something_is_heard(text: str) -> None:
    words = prefix_words(text)
    assert len(words) == len(text) + 1
    assert sorted(words) == list(words)
    assert (words[-1] > 0) == speakable(text)


@pytest.mark.parametrize(
    ("text", "sentence", "question"),
    [
        ("Yes.", True, False),
        ("“Yes?”", True, True),
        ("and eventually - ?", True, True),
        ("真的吗？”", True, True),
        ("好。", True, False),
        ("well,", False, False),
        ("What? No", False, False),
        ("", False, False),
    ],
)
def test_how_a_text_ends(text: str, sentence: bool, question: bool) -> None:
    assert ends_sentence(text) is sentence
    assert ends_question(text) is question
