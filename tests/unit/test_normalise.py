"""What holds for the normalisation of any text."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serve_app.core import normalise as module
from serve_app.core.normalise import Normalised, Unspoken, normalise
from serve_app.core.spoken.rule import Language, Rule
from serve_app.core.spoken.symbols import _NAMES_EN, _NAMES_ZH
from serve_app.core.text import clean
from tests.unit.texts import DATA, read

_SIGNS = (
    "3 42 007 1984 1990s 2026-11-22 11/22/2026 10:30 3pm 1/2 ½ 1,000,000 "
    "3.14 -5 +5 ~5 50% $5 $1.5 million £3.50 ¥ ¥3 €5 US$ km/h 5km kg ℃ -5°C "
    "° No. no. Dr. St. Main Jr. Inc. etc. e.g. i.e. vs. p. pp. Ph.D. a.m. "
    "p.m. Mr. Mr Nov. May Sat. U.S. Henry VIII IV I II Chapter X Elizabeth "
    "C++ C# AT&T & B2B v2.1 w/ # #tag @bob a@b.com www.x.com http://x.org/ "
    "y.py _ * ** ` ~ ^ | < > <- -> >= = + × ÷ ± √ © ™ 😀 ❤ ─ • † § № ① Ⅳ ² ₂ "
    "٣ ５ ％ ＡＢ ： ， 。 第 年 月 日 个 元 3月 2个 12日 世纪 你好 到 电话 ( ) [ ] { } \" ' ’ “ ” "
    ". , ; : ! ? … - – — / \\ the a in The He cats x y "
    "<5% >= ≥3 <3 I 1米75 歼-20 5日-8日 9·11 $1.5B 京A12345 1w 8k-15k 2h30m 3×10⁸ 10^-9 m/s "
    "10cm×20cm 21:15 比分 以 胜 -12℃~-5℃ 图3-1 (010) 8888-8888 747-8 2024-05 "
    "ISO9001 NO.2 周一~周五 ， €1.234,56 3,5% ₹1,00,000 Rs. R$10 ₺5 1:02:03 05/2021 2021-05 "
    "m.p.h. 2-3x 5' x 5'11 55\" TV Mon-Fri 1980s-90s 5th–6th '99 v. w/o +/- 1/10th #100Days "
    "/etc/hosts 2023/24 911 Call zip 90210 BA2490 1080p 1.2bn :8080 127.0.0.1 John 3:16-17 "
    "won 112-108 <b> h m s 10.0.0.0/16 "
    "5.1假期 24Q1 90后 〔2023〕5号 RTX 4060 1/1.3 §§ 0600 at 375 F was Fri /250"
)
PIECES = _SIGNS.split()
texts = st.one_of(
    st.lists(st.sampled_from([*PIECES, " ", " ", " "]), max_size=12).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=8).map(" ".join),
    st.text(max_size=40),
)
languages = st.sampled_from([None, "en", "zh"])
many = settings(deadline=None, max_examples=150)
plain = st.text("BDabdefhjkquwyzéñßжд你好の가ء", min_size=1)


def rebuilt(source: str, result: Normalised) -> str:
    parts = []
    at = 0
    for change in result.changes:
        assert at <= change.start < change.end <= len(source)
        parts += [source[at : change.start], change.spoken]
        at = change.end
    return "".join([*parts, source[at:]])


@many
@given(texts, languages)
def test_every_character_outside_the_changes_stays_in_order(
    text: str, language: Language | None
) -> None:
    result = normalise(text, language)
    assert rebuilt(text, result) == result.text
    assert (result.text is text) == (not result.changes)


@many
@given(texts, languages)
def test_the_result_normalises_to_itself(text: str, language: Language | None) -> None:
    result = normalise(text, language).text
    assert normalise(result, language).text is result


@many
@given(texts, languages)
def test_no_figure_is_left(text: str, language: Language | None) -> None:
    spoken = normalise(text, language).text
    assert not [char for char in spoken if unicodedata.category(char) == "Nd"]


@many
@given(texts, languages)
def test_letters_and_figures_outside_the_changes_are_heard(
    text: str, language: Language | None
) -> None:
    """Text that says something still says something, and its words stay in order."""
    result = normalise(text, language)
    if any(char.isalpha() or char.isdecimal() for char in text):
        assert any(map(str.isalpha, result.text))


@many
@given(texts, languages)
def test_what_cannot_be_said_is_reported_and_gone(text: str, language: Language | None) -> None:
    result = normalise(text, language)
    gone = {sign.char for sign in result.unspoken}
    symbols = {char for char in result.text if unicodedata.category(char) in {"So", "Sc", "Cc"}}
    assert symbols <= set("\n\t\r\v\f\x1c\x1d\x1e\x1f\x85")
    for sign in result.unspoken:
        assert 0 < sign.count <= text.count(sign.char)
        assert not sign.char.isalpha()
    assert not gone & {char for char in text if char.isdecimal()}


class Spy:
    """A pattern that counts the characters it is shown."""

    def __init__(self, pattern: re.Pattern[str], seen: Counter[str]) -> None:
        self._pattern, self._seen = pattern, seen

    def match(self, text: str, start: int, stop: int | None = None) -> re.Match[str] | None:
        stop = len(text) if stop is None else min(stop, len(text))
        self._seen["rules"] += stop - start
        return self._pattern.match(text, start, stop)

    def search(self, text: str, start: int = 0, stop: int | None = None) -> re.Match[str] | None:
        found = self._pattern.search(text, start, len(text) if stop is None else stop)
        self._seen["search"] += (found.end() if found else stop or len(text)) - start
        return found


def work(text: str, language: Language | None) -> int:
    """How many characters all rules are shown, with a reach that is short against the text."""
    seen: Counter[str] = Counter()

    def spy(rule: Rule) -> Rule:
        # re.Pattern can't be subclassed; the spy has what is called of it.
        return replace(rule, pattern=cast("re.Pattern[str]", Spy(rule.pattern, seen)))

    spied = {
        told: {trigger: tuple(map(spy, rules)) for trigger, rules in by_trigger.items()}
        for told, by_trigger in module._RULES.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_RULES", spied)
        patch.setattr(module, "_REACH", 16)
        patch.setattr(module, "_START", Spy(module._START, seen))
        normalise(text, language)
    return seen.total()


@settings(deadline=None, max_examples=4)
@example("1111 ", "en")
@example("11,", "en")
@example("x.com ", None)
@given(st.text("0123456789.,:;-–/()'\"<>+*=~@#$%^xe 第，、月", min_size=1, max_size=5), languages)
def test_work_grows_no_faster_than_the_text(unit: str, language: Language | None) -> None:
    """Four times the text is four times the work, so 100 kB of figures end as soon as prose."""
    short = unit * (500 // len(unit))
    assert work(4 * short + "1", language) < 7 * work(short + "1", language)


@many
@given(st.lists(plain, min_size=1), st.sampled_from([" ", ", ", ". ", " - ", "; ", "? “", "…"]))
def test_plain_words_come_back_as_the_same_object(words: list[str], joint: str) -> None:
    text = joint.join(words)
    assert normalise(text).text is text


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("*.txt")))
def test_prose_keeps_its_words(name: str) -> None:
    """Real texts of the tests: few changes, all of them reported, nothing unspoken but markup."""
    text = clean(read(name))
    result = normalise(text)
    assert rebuilt(text, result) == result.text
    assert len(result.changes) < len(text) / 30
    assert {sign.char for sign in result.unspoken} <= {"_"}


def test_changes_tell_what_and_where() -> None:
    result = normalise("See Dr. Who at 10:30 😀.")
    assert [(c.start, c.end, c.spoken, c.kind.value) for c in result.changes] == [
        (4, 7, "Doctor", "abbreviation"),
        (15, 20, "ten thirty", "time"),
        (20, 22, "", "unspoken"),
    ]
    assert result.unspoken == (Unspoken("😀", 1),)
    assert result.text == "See Doctor Who at ten thirty."


@pytest.mark.parametrize(
    ("written", "spoken", "unspoken"),
    [
        ("Hello 😀!", "Hello!", "😀"),
        ("😀 Hello", "Hello", "😀"),
        ("one😀two", "one two", "😀"),
        ("one 😀 two", "one two", "😀"),
        ("**bold** text", "bold text", "*"),
        ("a `code` b", "a code b", "`"),
        ("snake_case", "snake case", "_"),
        ("你好😀世界", "你好世界", "😀"),
        ("Acme™ is here", "Acme is here", "™"),
        ("│ box │", "box", "│"),
        ("a\x00b", "a b", "\x00"),
        ("👨\u200d👩", "", "👨\u200d👩"),
        ("word¹ more", "word more", "¹"),
    ],
)
def test_signs_without_a_reading(written: str, spoken: str, unspoken: str) -> None:
    result = normalise(written)
    assert result.text == spoken
    assert {sign.char for sign in result.unspoken} == set(unspoken)


def test_repeated_signs_are_counted() -> None:
    assert normalise("😀 a 😀 b ™ c 😀").unspoken == (Unspoken("😀", 3), Unspoken("™", 1))


def test_both_languages_name_the_same_signs() -> None:
    assert _NAMES_EN.keys() == _NAMES_ZH.keys()
