"""What a PromQL expression asks for: its metrics with their matchers, and its label lists.

No parser of the language: it takes an expression apart into words, which is enough to see whether
every name in it is one that is served.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_WORDS = re.compile(
    r'"(?:[^"\\]|\\.)*"|\[[^\]]*\]|[A-Za-z_:][A-Za-z0-9_:]*|[0-9.]+[a-z]*|=~|!~|!=|[^\s]'
)
_LISTS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_OTHERS = frozenset({"and", "or", "unless", "offset", "bool"})
_CALLS = (["("], ["by"], ["without"])
"""What follows the name of a function."""
_NAME = re.compile(r"[A-Za-z_:]")


@dataclass(frozen=True, slots=True)
class Asked:
    """What an expression asks for.

    Args:
        metrics: Name, and matchers by label with their text, of each selector.
        labels: Labels of its lists.
    """

    metrics: tuple[tuple[str, dict[str, str]], ...]
    labels: frozenset[str]


def asked(expression: str) -> Asked:
    """The names in an expression."""
    words = _WORDS.findall(expression)
    metrics, labels, at = [], set[str](), 0
    while at < len(words):
        word, following = words[at], words[at + 1 : at + 2]
        at += 1
        if word in _LISTS:
            end = words.index(")", at)
            labels.update(name for name in words[at:end] if _NAME.match(name))
            at = end + 1
        elif _NAME.match(word) and word not in _OTHERS and following not in _CALLS:
            matchers: dict[str, str] = {}
            if following == ["{"]:
                end = words.index("}", at)
                matchers = dict(_matchers(words[at + 1 : end]))
                at = end + 1
            metrics.append((word, matchers))
    return Asked(tuple(metrics), frozenset(labels))


def _matchers(words: list[str]) -> Iterator[tuple[str, str]]:
    for name, _operator, value in zip(words[::4], words[1::4], words[2::4], strict=True):
        yield name, value.strip('"')
