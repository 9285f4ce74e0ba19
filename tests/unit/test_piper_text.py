"""Text before espeak-ng: what it is changed to, refused for, and cut at."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.engines.base import Line
from serve_app.engines.piper_text import breaths, readable, require_speakable
from serve_app.errors import UnsupportedTextError


def refuse(text: str) -> None:
    require_speakable([Line("Ada", "joe", text)])


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Nicko - ! Good-bye.", "Nicko! Good-bye."),
        ("these - these - these - ! Oh", "these - these - these! Oh"),
        ("Stop. ! Go", "Stop.  Go"),
        ('"!" she said. "?"', '"" she said. ""'),
        ("“Really?!” he said.", "“Really?!” he said."),
        ('"What"? he said', '"What"? he said'),
        ("Mr. Smith met Dr. No.", "Mr Smith met Dr No."),
        ("Well... yes", "Well, yes"),
        ("Well… Yes", "Well. Yes"),
        ("No . . . “Who?”", "No. “Who?”"),
        ("Wait...", "Wait."),
        ("Ah!... Ah!", "Ah!... Ah!"),
        ("say [[h@l@U]] now", "say   h@l@U   now"),
        ("ﬁne 𝐀 Ⅳ ①", "fine A IV 1"),
        ("½ of 5 ㎏, 20 ℃, x² № 3™", "½ of 5 kg, 20 °C, x2 № 3™"),
        ("Hello，world！", "Hello,world!"),
        ("cafe\u0301 🙂", "café  "),
        ("ʼtis Hawaiʻi, 5 µm", "'tis Hawai'i, 5 µm"),
    ],
)
def test_text_is_made_readable(text: str, read: str) -> None:
    assert readable(text) == read


@pytest.mark.parametrize("text", ["", "...", "…", "—", " - !", "(!)", "“”", "* * *", "🙂", "♪♪"])
def test_nothing_to_say_is_nothing(text: str) -> None:
    refuse(text)
    assert readable(text) == ""


@pytest.mark.parametrize("text", ["&", "100%", "5 €", "a", "3"])
def test_signs_and_digits_are_something_to_say(text: str) -> None:
    assert readable(text) == text


@given(st.text(st.characters(max_codepoint=0x7E)))
def test_no_letter_or_digit_of_english_is_lost(text: str) -> None:
    def kept(string: str) -> str:
        return "".join(char for char in string if char.isalnum())

    refuse(text)
    assert kept(readable(text)) == kept(text)


LATIN = st.characters(min_codepoint=0x20, max_codepoint=0x24F, exclude_categories=["Cc"])
BLOCKS = [
    *("αω", "ая", "את", "ءي", "٠٩", "अह", "०९", "ぁん", "ァヺ", "一龥", "가힣"),
    "\U00020000\U0002a6d6",
]
OTHER_SCRIPTS = st.one_of(
    *(
        st.characters(
            min_codepoint=ord(first), max_codepoint=ord(last), categories=["Ll", "Lo", "Nd"]
        )
        for first, last in map(tuple, BLOCKS)
    )
)


@given(st.text(LATIN), OTHER_SCRIPTS, st.text(LATIN))
def test_letters_and_digits_are_refused_unless_they_are_latin(
    before: str, strange: str, after: str
) -> None:
    refuse(before + after)
    with pytest.raises(UnsupportedTextError) as refused:
        refuse(f"{before} {strange} {after}")
    assert unicodedata.normalize("NFKC", strange)[0] in str(refused.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Hello, 你好!", "2 characters of 'Ada': 你 好"),
        ("Привет", "6 characters of 'Ada': П р и в е ..."),
        ("the α particle", "1 characters of 'Ada': α"),
        ("٣ days", "٣"),
        ("〇", "〇"),
    ],
)
def test_the_refusal_names_speaker_and_characters(text: str, named: str) -> None:
    with pytest.raises(UnsupportedTextError) as refused:
        refuse(text)
    assert named in str(refused.value)
    assert "vibevoice" in str(refused.value)


@given(st.lists(st.sampled_from("ab ,"), max_size=60), st.integers(1, 20))
def test_breaths_joined_are_the_sentence(phonemes: list[str], limit: int) -> None:
    pieces = list(breaths(phonemes, limit))
    assert [phoneme for piece in pieces for phoneme in piece] == phonemes
    assert all(len(piece) <= limit for piece in pieces)
    assert all(pieces) or not phonemes


def test_breath_is_taken_after_a_clause_else_between_words() -> None:
    def cut(sentence: str, limit: int) -> list[str]:
        return ["".join(piece) for piece in breaths(list(sentence), limit)]

    assert cut("one, two three four", 12) == ["one, ", "two three ", "four"]
    assert cut("one two three", 9) == ["one two ", "three"]
    assert cut("onetwothree", 4) == ["onet", "woth", "ree"]
