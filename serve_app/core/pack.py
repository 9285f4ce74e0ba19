"""How much of a script goes into each segment.

Boundaries are a function of the text alone: never of voices, cards, history or memory. A change of
these rules changes all audio; ``PLAN_VERSION`` in :mod:`serve_app.core.plan` is raised with them.

**Budgets.** A segment that starts at a point may take, in estimated seconds of speech,
``min(ramp[index], middle)``. The ramp 4, 8, 16, 30 s makes the first sound early. *middle* is
``min(90, max(10, left / 64))``, with the seconds of speech from the point to the end, rounded down
to a step of :data:`LADDER_S`: it tapers so that many cards finish together. It looks only forward,
so text in front has no influence but through the ramp and through the place where the last
sixteenth begins (below); the steps keep an edit behind from moving cuts in front.

**Blocks** are paragraphs. From the start of a block a segment takes:

1. All that is left before the next explicit pause or the end, if it fits.
2. Else whole blocks, up to one of the block ends that fill half of the budget or more and leave
   nothing tiny before the pause: one that is not behind a question, if there is one (an answer
   stays with its question); of several, that with the lowest hash of the two blocks around the
   cut. So cuts fall into step again soon behind an edit.
3. If there is none: the blocks that fit, unless they are tiny. Tiny ones (a heading) go with the
   next block if that fits the budget by itself, else with the first piece of it.
4. A block over the budget is cut by :func:`serve_app.core.cut.cut`; its end is a cut too.

What is tiny (under half of the budget, and under 3 s or five words) and last before an explicit
pause or the end goes with the segment before it, if that stays within its limit.

**The bound.** No segment costs more than its limit, the budget plus 3 s (for the first one twice
the budget, 8 s), but where a sentence would else be cut: it stays whole up to 45 s, half of the
largest budget, so that neither ramp nor taper parts it. The first segment is heard while it is
spoken, so a long first sentence costs little; the others of the ramp are heard when they are
complete, so 20 s are enough there, or the listener would wait. Only in the last sixteenth of a
script the limit holds: a long sentence there would keep one card busy while the others have nothing
left. An explicit pause always cuts.

Source of the budgets: in-order dispatch with a look-ahead of four per slot, simulated for 8, 16
and 64 cards, loses 0.6, 1.5 and 7 % against an ideal share with this taper.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from serve_app.core.cut import TINY_TICKS, Measured, Room, cut, cut_hash, measure
from serve_app.core.estimate import TICKS_PER_S, TURN_TICKS, speech_ticks
from serve_app.core.script import Script
from serve_app.core.segment import Boundary
from serve_app.core.text import ends_question, words

RAMP_S: Final = (4, 8, 16, 30)
LADDER_S: Final = (10, 12, 15, 20, 25, 30, 40, 50, 60, 75, 90)
TAPER: Final = 64
MOST_TICKS: Final = LADDER_S[-1] * TICKS_PER_S // 2
RAMP_MOST_TICKS: Final = 20 * TICKS_PER_S
FINAL_SHARE: Final = 16


def budget_ticks(index: int, left: int) -> int:
    """Ticks that segment *index* may take when *left* ticks of speech are left."""
    fits = [step for step in LADDER_S if TAPER * step * TICKS_PER_S <= left]
    middle = max(fits, default=LADDER_S[0])
    ramp = RAMP_S[index] if index < len(RAMP_S) else middle
    return min(ramp, middle) * TICKS_PER_S


def limit_ticks(index: int, budget: int) -> int:
    """Ticks that segment *index* never exceeds."""
    return 2 * budget if index == 0 else budget + TINY_TICKS


def most_ticks(index: int, limit: int) -> int:
    """Ticks that segment *index* never exceeds for the sake of a long sentence, but at the end."""
    return max(limit, RAMP_MOST_TICKS) if 0 < index < len(RAMP_S) else MOST_TICKS


def is_final(left: int, whole: int) -> bool:
    """Whether so few of a script's ticks are left that no sentence may exceed a segment's limit."""
    return FINAL_SHARE * left < whole


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph as the packer sees it.

    Args:
        speaker, text, pause_s: As in the script.
        before: START, TURN or PARAGRAPH.
    """

    speaker: str
    text: str
    before: Boundary
    pause_s: float | None

    @property
    def lead(self) -> int:
        """Ticks of the change of speaker before it."""
        return 0 if self.before is Boundary.PARAGRAPH else TURN_TICKS


@dataclass(frozen=True, slots=True)
class Point:
    """A place in the script where a segment may start or end.

    Args:
        block: Index of the block behind it; the number of blocks at the end.
        offset: Characters of that block before it.
        before: What lies there; CLAUSE or SENTENCE inside a block.
    """

    block: int
    offset: int
    before: Boundary


def blocks_of(script: Script) -> Iterator[Block]:
    """The paragraphs of *script* in order."""
    before = Boundary.START
    for turn in script.turns:
        for paragraph in turn.paragraphs:
            yield Block(turn.speaker, paragraph.text, before, paragraph.pause_s)
            before = Boundary.PARAGRAPH
        before = Boundary.TURN


class Packer:
    """Finds where segments end; see the module docstring for the rules.

    Blocks are measured in order, as far as a cut needs it: the first segments are found long
    before the end of a book has been looked at.

    Args:
        blocks: All of the script; at least one.
    """

    def __init__(self, blocks: tuple[Block, ...]) -> None:
        self._blocks = blocks
        self._ticks, self._words = [0], [0]  # before each block that is measured, and behind it
        self._stops = _forced_cuts(blocks)
        self._measured: tuple[int, Measured] | None = None

    def cuts(self) -> Iterator[Point]:
        """The start of every segment, and then the end of the script."""
        point = Point(0, 0, Boundary.START)
        index = 0
        while point.block < len(self._blocks):
            yield point
            point = self._end(point, self._room(index, point))
            index += 1
        yield point

    def left(self, point: Point) -> int:
        """Ticks from *point* to the end of the script."""
        rest = self._cost(point.block, len(self._blocks))
        if point.offset:
            text = self._text(point.block)
            rest -= self._blocks[point.block].lead + text.ticks[point.offset]
        return rest

    def _room(self, index: int, start: Point) -> Room:
        if index < len(RAMP_S) and RAMP_S[index] <= LADDER_S[0]:
            budget = budget_ticks(index, 0)  # the ramp alone decides, whatever is left
            limit = limit_ticks(index, budget)
            return Room(budget, limit, most=most_ticks(index, limit))
        left = self.left(start)
        budget = budget_ticks(index, left)
        limit = limit_ticks(index, budget)
        final = is_final(left, self._ticks[-1])
        return Room(budget, limit, most=limit if final else most_ticks(index, limit))

    def _end(self, start: Point, room: Room) -> Point:
        if start.offset:
            return self._inside(start.block, start.offset, room)
        first, stop = start.block, self._stops[start.block]
        fits = self._reach(first, room.budget)
        if fits >= stop:
            return self._at(stop)
        full = (at for at in range(first + 1, fits + 1) if 2 * self._cost(first, at) >= room.budget)
        ends = [at for at in full if not self._is_tiny(at, stop, room)]
        if ends:
            return self._at(min(ends, key=self._rank))
        return self._short(first, fits, room)

    def _short(self, first: int, fits: int, room: Room) -> Point:
        """The end where no end of a block is good; block *fits* is the first that does not fit."""
        head = self._cost(first, fits)
        if fits > first:
            if not self._is_tiny(first, fits, room):
                return self._with_tail(fits, head, room)
            both = self._cost(first, fits + 1)
            if self._cost(fits, fits + 1) <= room.budget and both <= room.limit:
                return self._with_tail(fits + 1, both, room)
        head += self._blocks[fits].lead
        head_words = self._words[fits] - self._words[first]
        return self._inside(fits, 0, replace(room, head=head, head_words=head_words))

    def _inside(self, at: int, offset: int, room: Room) -> Point:
        """The end of a segment that takes block *at* from *offset* on."""
        text = self._text(at)
        place = cut(text, offset, room)
        if place is not None and place[0] == 0:
            return self._at(at)
        if place is not None:
            return Point(at, place[0], Boundary.SENTENCE if place[1] else Boundary.CLAUSE)
        taken = room.head + text.ticks[-1] - text.ticks[offset]
        return self._with_tail(at + 1, taken, room)

    def _with_tail(self, at: int, taken: int, room: Room) -> Point:
        """The start of block *at*, or the forced cut behind it if what is between is tiny."""
        stop = self._stops[at - 1]
        most = room.limit if taken <= room.limit else room.most
        fits = stop <= self._reach(at, most - taken)
        return self._at(stop if fits and self._is_tiny(at, stop, room) else at)

    def _at(self, block: int) -> Point:
        inner = block < len(self._blocks)
        return Point(block, 0, self._blocks[block].before if inner else Boundary.PARAGRAPH)

    def _cost(self, first: int, end: int) -> int:
        self._measure(end)
        return self._ticks[end] - self._ticks[first]

    def _reach(self, first: int, most: int) -> int:
        """The last end of a block up to which those from *first* on cost no more than *most*."""
        self._measure(first)
        bound = self._ticks[first] + most
        while self._ticks[-1] <= bound and len(self._ticks) <= len(self._blocks):
            self._measure(len(self._ticks))
        return bisect_right(self._ticks, bound) - 1

    def _measure(self, end: int) -> None:
        """Know the cost and the words of all blocks before *end*."""
        for block in self._blocks[len(self._ticks) - 1 : end]:
            self._ticks.append(self._ticks[-1] + speech_ticks(block.text) + block.lead)
            self._words.append(self._words[-1] + words(block.text))

    def _is_tiny(self, first: int, end: int, room: Room) -> bool:
        if end > self._reach(first, room.budget):
            return False
        return room.is_tiny(self._cost(first, end), self._words[end] - self._words[first])

    def _rank(self, at: int) -> tuple[bool, bytes, int]:
        """How good a cut before block *at* is, the best one lowest."""
        left, right = self._blocks[at - 1].text, self._blocks[at].text
        return ends_question(left), cut_hash(left, right), -at

    def _text(self, at: int) -> Measured:
        if self._measured is None or self._measured[0] != at:
            self._measured = (at, measure(self._blocks[at].text))
        return self._measured[1]


def _forced_cuts(blocks: tuple[Block, ...]) -> tuple[int, ...]:
    """For each block the next one behind it with an explicit pause, or the end."""
    stops = []
    stop = len(blocks)
    for at in range(len(blocks) - 1, -1, -1):
        stops.append(stop)
        if blocks[at].pause_s is not None:
            stop = at
    return tuple(reversed(stops))
