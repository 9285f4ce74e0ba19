"""Markdown (CommonMark with tables): the words without the markup.

Headings become chapters. Paragraphs keep their lines, so that a script written in Markdown
(``**Lily:** Hello``) keeps its labels; in headings, lists, quotes and tables nothing is a label.
Numbers of lists are spoken, the cells of a table's row are parted by commas. Code, pictures, raw
HTML tags and front matter are left out; the notes tell of code, pictures and front matter.

markdown-it-py does the reading: it follows the CommonMark suite, and comes with rich anyway.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from serve_app.core.text import clean
from serve_app.documents_script import Block, Document, compose, headings_of
from serve_app.documents_text import decode

_FRONT = re.compile(r"---\n(?P<fields>(?:[^\n]*\n){0,200}?)(?:---|\.\.\.)(?:\n|$)")
_FIELD = re.compile(r"[\w.-]+:(?: .*)?|\s.*|- .*|#.*|")
_TITLE = re.compile(r"""title:\s*(?P<quote>["']?)(?P<title>.+?)(?P=quote)\s*""", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_RAW: Final = ("<script", "<style", "<template")
_SPOKEN: Final = frozenset({"text", "text_special", "code_inline"})
_CONTAINERS: Final = frozenset({"bullet_list", "ordered_list", "blockquote", "table"})


def read_markdown(name: str, data: bytes) -> Document:
    """The words of a Markdown file.

    Args:
        name: For messages.
        data: In one of the encodings of :mod:`serve_app.documents_text`.
    Raises:
        InvalidInputError: Its encoding can't be told.
    """
    text, title, had_front = _without_front(decode(name, data).replace("\r\n", "\n"))
    reader = _Reader()
    reader.read(MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text))
    starts = headings_of(reader.blocks)
    tops = [start.title for start in starts if start.level == 1]
    script, chapters = compose(reader.blocks, starts)
    if title is None and len(tops) == 1:
        title = tops[0]
    return Document(script, title, chapters, tuple(reader.notes(had_front=had_front)))


def _without_front(text: str) -> tuple[str, str | None, bool]:
    """The text behind its front matter, the title in that, and whether there was any."""
    front = _FRONT.match(text)
    if front is None or not all(_FIELD.fullmatch(line) for line in front["fields"].split("\n")):
        return text, None, False
    titles = (_TITLE.fullmatch(line) for line in front["fields"].split("\n"))
    title = next((clean(found["title"]) for found in titles if found), None)
    return text[front.end() :], title, True


class _Reader:
    """Turns tokens into blocks."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._left_out: Counter[str] = Counter()
        self._inside: list[str] = []
        self._level = 0
        self._number = ""
        self._cells: list[str] = []

    def read(self, tokens: Sequence[Token]) -> None:
        """Read the tokens of a whole file."""
        for token in tokens:
            if token.nesting == 0:
                self._leaf(token)
            else:
                self._bracket(token)

    def notes(self, *, had_front: bool) -> list[str]:
        """What was left out."""
        told = ["The front matter is left out."] if had_front else []
        for what, count in self._left_out.items():
            told.append(f"{count} {what}{'s are' if count > 1 else ' is'} left out.")
        return told

    def _bracket(self, token: Token) -> None:
        name, _, side = token.type.rpartition("_")
        opens = side == "open"
        if name in _CONTAINERS:
            self._inside.append(name) if opens else self._inside.pop()
        elif name == "heading":
            self._level = int(token.tag[1:]) if opens else 0
        elif name == "list_item":
            self._number = f"{token.info}{token.markup} " if opens and token.info else ""
        elif name == "tr" and not opens:
            self._add(", ".join(filter(None, self._cells)))
            self._cells = []

    def _leaf(self, token: Token) -> None:
        if token.type == "inline":
            text = self._inline(token.children or ())
            if self._inside[-1:] == ["table"]:
                self._cells.append(text)
            else:
                self._add(text)
        elif token.type in {"fence", "code_block"}:
            self._left_out["code block"] += 1
        elif token.type == "html_block" and not token.content.lstrip().lower().startswith(_RAW):
            self._add(html.unescape(_TAG.sub("", _without_comments(token.content))))

    def _add(self, text: str) -> None:
        self.blocks.append(
            Block(self._number + text, self._level, bool(self._inside or self._level))
        )
        self._number = ""

    def _inline(self, tokens: Sequence[Token]) -> str:
        parts = []
        for token in tokens:
            if token.type in _SPOKEN:
                parts.append(token.content)
            elif token.type.endswith("break") or _BREAK.fullmatch(token.content):
                parts.append("\n")
            elif token.type == "image":
                self._left_out["picture"] += 1
        return "".join(parts)


def _without_comments(text: str) -> str:
    parts = []
    at = 0
    while (start := text.find("<!--", at)) >= 0:
        parts.append(text[at:start])
        end = text.find("-->", start)
        at = len(text) if end < 0 else end + 3
    return "".join((*parts, text[at:]))
