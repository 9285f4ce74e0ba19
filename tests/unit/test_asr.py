"""How words are counted; no recogniser is involved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.asr import recall_by_tenths, word_recall, words_of

WORDS = st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat"]), min_size=10)


def test_words_ignore_case_and_punctuation_and_keep_apostrophes() -> None:
    assert words_of("“Don’t — you-know,” SHE said: 42!") == [
        *("don't", "you", "know", "she", "said", "42")
    ]


@given(WORDS)
def test_what_was_said_is_heard_whole(words: list[str]) -> None:
    text = " ".join(words)
    assert word_recall(text, text.upper() + "!") == 1.0
    assert recall_by_tenths(text, text) == [1.0] * 10


@given(WORDS, st.data())
def test_a_lost_word_costs_one_word(words: list[str], data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, len(words) - 1))
    heard = words[:lost] + words[lost + 1 :]
    assert word_recall(" ".join(words), " ".join(heard)) <= 1 - 1 / len(words)


def test_words_out_of_order_are_not_heard_twice() -> None:
    assert word_recall("one two three four", "three four one two") == 0.5


def test_added_words_cost_nothing_and_no_words_are_all_heard() -> None:
    assert word_recall("one two", "one and then two") == 1.0
    assert word_recall("", "noise") == 1.0


def test_a_lost_tenth_shows_where_it_was() -> None:
    words = [f"w{n}" for n in range(100)]
    heard = words[:30] + words[40:]
    assert recall_by_tenths(" ".join(words), " ".join(heard)) == [1.0] * 3 + [0.0] + [1.0] * 6


def test_a_short_text_has_no_tenths() -> None:
    with pytest.raises(ValueError, match="9 words"):
        recall_by_tenths(" ".join("x" * 9), "")
