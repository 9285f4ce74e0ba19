"""Scripts for the tests of the text core: made-up ones by strategy, and real ones.

tests/data: Lewis Carroll, Alice's Adventures in Wonderland (1865), two chapters and the whole; a
stretch of Arthur Wing Pinero, The "Mind the Paint" Girl (1912); passages of 鲁迅; all in the public
domain. The Chinese podcast was written for this project.
"""

from __future__ import annotations

import random
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st

from serve_app.core.script import NARRATOR, Script
from serve_app.core.segment import Segment

DATA = Path(__file__).parent.parent / "data"
EXAMPLES = Path(__file__).parent.parent.parent / "configs" / "examples"


no_deadline = settings(deadline=None, max_examples=60)
"""How long an example takes is no property of the text; scripts are costly to draw."""


def read(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


def heard(text: str) -> str:
    """The letters and digits of *text*, whatever their composition."""
    return "".join(char for char in unicodedata.normalize("NFD", text) if char.isalnum())


def heard_in_script(script: Script) -> dict[str, str]:
    """What each speaker of a script says."""
    said: defaultdict[str, str] = defaultdict(str)
    for turn in script.turns:
        for paragraph in turn.paragraphs:
            said[turn.speaker] += heard(paragraph.text)
    return dict(said)


def heard_in_segments(segments: Iterable[Segment]) -> list[tuple[str, str]]:
    """Who says what, in order, without the cuts."""
    said: list[tuple[str, str]] = []
    for segment in segments:
        for utterance in segment.utterances:
            text = heard(utterance.text)
            if said and said[-1][0] == utterance.speaker:
                said[-1] = (utterance.speaker, said[-1][1] + text)
            else:
                said.append((utterance.speaker, text))
    return said


_SENTENCES = (
    "a I the fox runs quickly over hills, and nobody knows why; yet Mr. Dr. U.S. e.g. 3.14 1,000 "
    "2026 well - well -- however—still “quoted” ‘so’ (aside) naïve co-operate it's yes what? Oh! "
    "Ah... or,so: she said he asked. stop. go. now! then? “Really?” Bob replied. "
    "antidisestablishmentarianism"
)
WORDS = tuple(_SENTENCES.split())
PHRASES = (
    "大家好，",
    "欢迎收听今天的节目。",
    "他说：“走吧。”",
    "“真的吗？”我问。",
    "一共切了 47 处；",
    "故乡本也如此，——虽然没有进步",
    "我的心禁不住悲凉起来了。",
    "为什么？",
)
ODD = (
    "😀",
    "é",
    "e\u0301",
    "한국어",
    "カタカナ",
    "Ⅷ",
    "½",
    "שלום",
    "हिन्दी",
    "x" * 300,
    "!!!",
    "* * *",
    "- !",
)

english = st.lists(st.sampled_from(WORDS), min_size=1, max_size=30).map(" ".join)
chinese = st.lists(st.sampled_from(PHRASES), min_size=1, max_size=15).map("".join)
odd = st.lists(st.sampled_from(ODD + WORDS[:9] + PHRASES[:2]), min_size=1, max_size=12).map(
    " ".join
)
wild = st.text(max_size=120)

_MESS = (
    *"abc AB .!?…。！？，“”‘’「」()'—-_12\u0301😀한か我*#\\[]{}:：;\n",
    *(
        "\n\n",
        "Ann: ",
        "Bob: ",
        "老王：",
        "[pause 1s]",
        "word word ",
        "Mr. ",
        "x" * 200,
        "1.",
        "１！",
    ),
    *(" - ", "-- ", "我们说道走吧好吗", "\U0003134b", "\u3000"),
)
messy = st.lists(st.sampled_from(_MESS), max_size=200).map("".join)
"""What no one would write, made of all that the rules look at."""

spoken = st.one_of(english, english, chinese, odd).map(lambda text: f"So {text}")
"""Paragraphs that hold something to speak and whose start is no label."""

NAMES = ("Alice", "Mrs. Upjohn", "Speaker 2", "老王", "Jean-Luc", "O’Neil")


@dataclass(frozen=True)
class Written:
    """A script as text, and what it means."""

    text: str
    turns: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def said(self) -> list[tuple[str, str]]:
        said: list[tuple[str, str]] = []
        for name, paragraphs in self.turns:
            text = "".join(map(heard, paragraphs))
            if said and said[-1][0] == name:
                said[-1] = (name, said[-1][1] + text)
            else:
                said.append((name, text))
        return said


@st.composite
def dialogues(draw: st.DrawFn) -> Written:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    turn = st.tuples(st.sampled_from(names), st.lists(spoken, min_size=1, max_size=2).map(tuple))
    turns = draw(st.lists(turn, min_size=2, max_size=8))  # a single label is prose
    colon = draw(st.sampled_from([": ", ":", "：", ":\n"]))
    gap = draw(st.sampled_from(["\n", "\n\n", "\r\n \r\n"]))
    lines = [f"{name}{colon}" + "\n\n".join(paragraphs) for name, paragraphs in turns]
    return Written(gap.join(lines), tuple(turns))


@st.composite
def prose(draw: st.DrawFn) -> Written:
    paragraphs = tuple(draw(st.lists(spoken, min_size=1, max_size=10)))
    return Written("\n\n".join(paragraphs), ((NARRATOR, paragraphs),))


written = st.one_of(dialogues(), prose())


def long_book(paragraphs: int, seed: int = 1) -> list[str]:
    """Varied prose in the shape of the excerpt: its paragraphs with their words exchanged."""
    choose = random.Random(seed)
    models = [text for text in read("alice_excerpt.txt").split("\n\n") if text.strip()]
    words = " ".join(models).replace(",", "").split()
    plain = sorted({word for word in words if word.isalpha() and word.islower()})

    def vary(text: str) -> str:
        return " ".join(
            choose.choice(plain) if word.isalpha() and word.islower() else word
            for word in text.split()
        )

    return [vary(models[at % len(models)]) for at in range(paragraphs)]
