"""Two rounds of changes as one: what the second replaced, in terms of the first one's source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serve_app.core.spoken.rule import Change


def merge(middle: str, first: Sequence[Change], second: Sequence[Change]) -> tuple[Change, ...]:
    """One list of changes from source to result.

    Changes that overlap become one, of the kind of the later round.

    Args:
        middle: The text between the rounds.
        first: Changes that made it, in order.
        second: Changes to it, in order.
    """
    merged = []
    shift = 0
    for start, end, old, new in _groups(first, second):
        source_start = start - shift
        shift += sum(len(change.spoken) - (change.end - change.start) for change in old)
        spoken = _apply(middle, start, end, new) if new else middle[start:end]
        kind = (new or old)[0].kind
        merged.append(Change(source_start, end - shift, spoken, kind))
    return tuple(merged)


_Group = tuple[int, int, list[Change], list[Change]]


def _groups(first: Sequence[Change], second: Sequence[Change]) -> Iterator[_Group]:
    """Overlapping changes together: start and end in the middle text, old ones, new ones."""
    spans = [(start, end, change, None) for start, end, change in _placed(first)]
    both: list[tuple[int, int, Change | None, Change | None]] = [
        *spans,
        *((change.start, change.end, None, change) for change in second),
    ]
    both.sort(key=lambda span: span[:2])
    group: _Group | None = None
    for start, end, old, new in both:
        if group is not None and (start < group[1] or start == group[1] in {end, group[0]}):
            group = (group[0], max(group[1], end), group[2], group[3])
        else:
            if group is not None:
                yield group
            group = (start, end, [], [])
        if old is not None:
            group[2].append(old)
        if new is not None:
            group[3].append(new)
    if group is not None:
        yield group


def _placed(changes: Sequence[Change]) -> Iterator[tuple[int, int, Change]]:
    """Changes with the start and end of what they put into their result."""
    shift = 0
    for change in changes:
        start = change.start + shift
        yield start, start + len(change.spoken), change
        shift += len(change.spoken) - (change.end - change.start)


def _apply(text: str, start: int, end: int, changes: Sequence[Change]) -> str:
    """``text[start:end]`` after *changes*, which all lie inside."""
    parts = []
    for change in changes:
        parts += [text[start : change.start], change.spoken]
        start = change.end
    return "".join([*parts, text[start:end]])
