"""What all readers of documents share: blocks of text become a script.

A block is a paragraph or a heading. Blocks are parted by blank lines, so each is a paragraph of its
own. A literal block has no labels: where a line of it looks like one, a backslash in front keeps
it plain. ``[pause 1.5s]`` is a pause in every kind of document.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from serve_app.core.chapters import Heading
from serve_app.core.label import read_label
from serve_app.core.text import clean


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it can be spoken.

    Args:
        text: A script (:mod:`serve_app.core.script`), already clean.
        title: If the document names one.
        chapters: Headings as lines of *text*, in order.
        notes: What is not in *text*, one sentence each.
    """

    text: str
    title: str | None
    chapters: tuple[Heading, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph or a heading.

    Args:
        text: One or more lines; a line break is a wrap.
        level: Of a heading, from 1; 0 is no heading.
        literal: Nothing in it is a label.
    """

    text: str
    level: int = 0
    literal: bool = True


@dataclass(frozen=True, slots=True)
class Start:
    """A chapter that begins with the block of this index."""

    block: int
    title: str
    level: int


def headings_of(blocks: Iterable[Block]) -> list[Start]:
    """The chapters that the headings among *blocks* begin."""
    return [
        Start(at, " ".join(clean(block.text).split()), block.level)
        for at, block in enumerate(blocks)
        if block.level
    ]


def compose(blocks: Iterable[Block], starts: Iterable[Start]) -> tuple[str, tuple[Heading, ...]]:
    """The script of *blocks*, and its chapters as lines of it.

    Args:
        blocks: In order; those without text vanish.
        starts: In order; one behind the last block is left out.
    """
    lines: list[str] = []
    first_lines: list[int] = []
    for block in blocks:
        own = [line for line in clean(block.text).split("\n") if line]
        if lines and own:
            lines.append("")
        first_lines.append(len(lines))
        for line in own:
            lines += _plain(line) if block.literal else (line,)
    found = (
        Heading(first_lines[start.block], start.title, start.level)
        for start in starts
        if start.block < len(first_lines)
    )
    return "\n".join(lines), tuple(heading for heading in found if heading.line < len(lines))


def _plain(line: str) -> list[str]:
    """*line* as lines that no label is read from."""
    lines = []
    # The reader of scripts looks for labels behind a pause; a wrap there keeps the words.
    while line.startswith("[") and "]" in line and read_label(line) is None:
        head, _, line = line.partition("]")
        lines.append(f"{head}]")
        line = line.strip()
    if line.startswith("\\") or read_label(line) is not None:
        return [*lines, f"\\{line}"]
    if lines and line:
        return [*lines[:-1], f"{lines[-1]} {line}"]
    return lines or [line]
