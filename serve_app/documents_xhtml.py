"""One page of an EPUB: its paragraphs and headings, without what only the eye needs.

Left out: scripts and styles, navigation, the marks of notes and pages, the reading beside a
character (ruby), pictures and formulas. Of these, marks of notes, pictures and formulas are
counted.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from serve_app.documents_script import Block


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


_BLOCKS: Final = _names(
    "address article aside blockquote body caption center dd details div dl dt figcaption figure "
    "footer form h1 h2 h3 h4 h5 h6 header hgroup hr li main ol p pre section summary table tbody "
    "tfoot thead tr ul"
)
_HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
_SKIPPED: Final = _names("head script style template nav rt rp noscript object iframe")
_COUNTED: Final = {"svg": "picture", "math": "formula", "audio": "recording", "video": "film"}
_CELLS: Final = frozenset({"td", "th"})
_UNSEEN: Final = {"noteref": "mark of a note", "pagebreak": ""}
_WRAP = re.compile(r"[^\S\n]*\n\s*")


class Page:
    """Takes the elements of one page (a target of :func:`serve_app.documents_xml.feed`).

    Args:
        blocks: Where its blocks are added.
        left_out: What was not read, by name; added to.
    """

    def __init__(self, blocks: list[Block], left_out: Counter[str]) -> None:
        self._blocks = blocks
        self._left_out = left_out
        self.ids: dict[str, int] = {}
        """Block that each identifier stands before or in."""
        self._text: list[str] = []
        self._level = 0
        self._skipping = 0

    def start(self, tag: str, attrs: dict[str, str]) -> None:
        """An element begins."""
        if self._skipping or self._is_skipped(tag, attrs):
            self._skipping += 1
            return
        if tag in _BLOCKS:
            self.flush()
            self._level = _HEADINGS.get(tag, self._level)
        elif tag in _CELLS:
            self._text.append(" ")
        elif tag == "br":
            self._text.append("\n")
        elif tag == "img":
            self._left_out["picture"] += 1
        if "id" in attrs:
            self.ids.setdefault(attrs["id"], len(self._blocks))

    def end(self, tag: str) -> None:
        """An element ends."""
        if self._skipping:
            self._skipping -= 1
        elif tag in _BLOCKS:
            self.flush()
            if tag in _HEADINGS:
                self._level = 0

    def data(self, data: str) -> None:
        """Text."""
        if not self._skipping:
            self._text.append(_WRAP.sub("\n", data))

    def flush(self) -> None:
        """End the block that is open."""
        text = "".join(self._text).strip()
        self._text = []
        if text:
            self._blocks.append(Block(text, self._level))

    def _is_skipped(self, tag: str, attrs: dict[str, str]) -> bool:
        kinds = attrs.get("epub:type", "").split()
        unseen = next((_UNSEEN[kind] for kind in kinds if kind in _UNSEEN), None)
        counted = _COUNTED.get(tag, unseen)
        if counted:
            self._left_out[counted] += 1
        return tag in _SKIPPED or counted is not None
