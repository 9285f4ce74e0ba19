from __future__ import annotations

import pytest
from hypothesis import given

from serve_app.core.label import (
    Grade,
    Label,
    name_key,
    read_label,
    speaker_keys,
    without_aside,
)
from serve_app.core.text import clean
from tests.unit import texts


def labels(*lines: str) -> list[Label]:
    return [label for label in map(read_label, lines) if label is not None]


@pytest.mark.parametrize(
    ("line", "name", "rest"),
    [
        ("Alice: Hello", "Alice", "Hello"),
        ("Alice : Hello", "Alice", "Hello"),
        ("Alice:Hello", "Alice", "Hello"),
        ("Alice：Hello", "Alice", "Hello"),
        ("Mrs. Upjohn: Lil - ?", "Mrs. Upjohn", "Lil - ?"),
        ("SPEAKER N_00: Hi", "SPEAKER N_00", "Hi"),
        ("Guard #1: Halt", "Guard #1", "Halt"),
        ("A/B: yo", "A/B", "yo"),
        ("Anna / Bob: yo", "Anna / Bob", "yo"),
        ("The Old Man of the Sea: Hi", "The Old Man of the Sea", "Hi"),
        ("**Alice:** Hi **you**", "Alice", "Hi **you**"),
        ("**Alice**: Hi", "Alice", "Hi"),
        ("_Alice_: Hi", "Alice", "Hi"),
        ("*Alice :* Hi", "Alice", "Hi"),
        ("Alice: **Hi**", "Alice", "**Hi**"),
        ("[Alice]: Hi", "Alice", "Hi"),
        ("**[Alice]:** Hi", "Alice", "Hi"),
        ("[00:01] Host: Hi", "Host", "Hi"),
        ("(0:01:02.500) Host: Hi", "Host", "Hi"),
        ("[00:01 - 00:05] Host: Hi", "Host", "Hi"),
        ("[00:01] **Host:** Hi", "Host", "Hi"),
        ("**[00:01] Host:** Hi", "Host", "Hi"),
        ("Alice (to Bob, in a low voice): Hi", "Alice (to Bob, in a low voice)", "Hi"),
        ("Bob & Carol (both): Yes: no", "Bob & Carol (both)", "Yes: no"),
        ("O’Neil-Smith: Hi", "O’Neil-Smith", "Hi"),
        ("老王：走吧。", "老王", "走吧。"),
        ("约翰·史密斯：走吧。", "约翰·史密斯", "走吧。"),
        ("Old Man: Hi", "Old Man", "Hi"),
        ("Ludwig van Beethoven: Hi", "Ludwig van Beethoven", "Hi"),
        ("Alice:", "Alice", ""),
        ("राम: नमस्ते", "राम", "नमस्ते"),
        ("解说：开始了", "解说", "开始了"),
        ("Q: Why?", "Q", "Why?"),
    ],
)
def test_a_name(line: str, name: str, rest: str) -> None:
    label = read_label(line)
    assert label is not None
    assert (label.name, label.rest, label.grade) == (name, rest, Grade.NAME)


@pytest.mark.parametrize(
    "line",
    [
        "no colon here",
        ": empty",
        "http://example.org",
        "Std::vector is a class",
        "C:\\temp",
        "At 10:30 we left",
        "10:30 is the time",
        "1st Guard: Halt",
        "“Alice”: Hello",
        "Wait, Bob: no",
        "One Two Three Four Five Six Seven Eight Nine: no",
        "The others had only this: no",
        "Guard #: no",
        "src/main.py: no",
        "README.md/x: no",
        "www.example.org/a: no",
        "max_tokens: no",
        "and/or: no",
        "_Alice: no",
        "Alice_: no",
        "**Alice: no",
        "Alice:: no",
        "**Alice: no**",
        "[Alice: no]",
        "[1]: no",
        "[docs]: https://example.org",
        "[docs]: <https://example.org>",
        "[00:01]: no",
        "- 10:30 no",
        "A" * 41 + ": no",
        "Alice replied: no",
        "The Mouse said: no",
        "He said the following: no",
        "he did three things: no",
        "他说：走吧",
        "于是他笑道：走吧",
        "一二三四五六七八九十甲：走吧",
        "snake_case: no",
        "",
    ],
)
def test_not_a_name(line: str) -> None:
    assert read_label(line) is None


@pytest.mark.parametrize(
    ("line", "grade"),
    [
        ("Note: beware", Grade.COMMON),
        ("CHAPTER 1: The end", Grade.COMMON),
        ("Chapter One: The end", Grade.COMMON),
        ("Dear Sir: thank you", Grade.COMMON),
        ("mailto:a@b.org", Grade.COMMON),
        ("P.S.: more", Grade.COMMON),
        ("第三章：归来", Grade.COMMON),
        ("注意：小心", Grade.COMMON),
        ("亲爱的读者：你好", Grade.COMMON),
        ("alice: hello", Grade.SMALL),
        ("Speaker 1: hello", Grade.ALWAYS),
        ("- SPEAKER_00: hello", Grade.ALWAYS),
        ("speaker_00: hello", Grade.ALWAYS),
        ("Speaker #1: hello", Grade.ALWAYS),
        ("narrator: hello", Grade.ALWAYS),
        ("旁白：开始", Grade.ALWAYS),
        ("- Note: beware", Grade.COMMON),
        ("- Bob: hello", Grade.LISTED),
        ("* **Bob:** hello", Grade.LISTED),
        ("> Bob: hello", Grade.LISTED),
        ("### Bob: hello", Grade.LISTED),
        ("10:30 Lunch: soup", Grade.LISTED),
        ("我想：“算了。”", Grade.QUOTING),
        ("老王：「走吧」", Grade.QUOTING),
    ],
)
def test_a_doubtful_name(line: str, grade: Grade) -> None:
    label = read_label(line)
    assert label is not None
    assert label.grade is grade


@pytest.mark.parametrize(
    ("lines", "keys"),
    [
        (["Alice: a", "Bob: b"], {"alice", "bob"}),
        (["Alice: a", "Note: b"], {"alice"}),
        (["Alice: a", "Note: b", "NOTE: c"], {"alice", "note"}),
        (["Note: a", "Note: b"], set()),
        (["Note: a", "Note: b", "Tip: c"], set()),
        (["Alice: a", "alice: b", "this: c"], {"alice"}),
        (["Alice: a", "bob: b", "bob: c"], {"alice", "bob"}),
        (["alice: a", "bob: b"], {"alice", "bob"}),
        (["老王：a", "老王：“b”", "我想：“c”"], {"老王"}),
        (["- Pears: a", "- Plums: b"], set()),
        (["- Bob: a", "- Alice: b", "- Bob: c"], {"bob", "alice"}),
        (["Bob: a", "- Bob: b", "- Alice: c"], {"bob"}),
        (["10:30 Lunch: a", "11:30 Rest: b"], set()),
        (["我想：“a”", "我想：“b”"], set()),
        (["O'Neil: a", "O’NEIL: b"], {"o'neil"}),
        ([], set()),
    ],
)
def test_names_in_company(lines: list[str], keys: set[str]) -> None:
    assert speaker_keys(labels(*lines)) == keys


def test_what_stands_in_brackets_tells_no_one_apart_who_also_stands_without() -> None:
    (aside,) = labels("- Alice （小声）: hi")
    assert without_aside(aside, {"bob"}) == aside
    plain = without_aside(aside, {"alice"})
    assert (plain.name, plain.key, plain.rest, plain.grade) == ("Alice", "alice", "hi", aside.grade)


def test_width_and_case_do_not_tell_speakers_apart() -> None:
    assert name_key("Ｓｐｅａｋｅｒ １") == name_key("speaker 1") == name_key("SPEAKER 1")
    assert name_key("Bob") != name_key("Rob")


@texts.no_deadline
@given(texts.wild)
def test_a_label_loses_nothing(text: str) -> None:
    for line in clean(text).split("\n"):
        label = read_label(line)
        if label is not None:
            assert texts.heard(label.lead + label.name + label.rest) == texts.heard(line)
            assert 1 <= len(label.name) <= 40
            assert label.name[0].isalpha()
