"""Faults on demand: which task fails, how, and how often."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar, Literal

from serve_app.core.plan import seed_of
from serve_app.engines.base import SpeakTask
from serve_app.engines.workers import SlotThreads, StopSignal

BOOK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class FaultRule:
    """One kind of fault and the tasks it strikes; all conditions given must hold.

    Args:
        kind: ``crash`` and ``oom`` raise, ``hang`` gives nothing more until the stream is closed,
            ``exit`` ends the process at once, ``bad_audio`` gives wrong samples without a word.
        tag: Only the segment with this number.
        text: Only segments in whose text this occurs.
        takes: Only the first so many takes of a segment, told by their seeds; a take with a later
            seed is healthy, on every replica.
        share: Only this share of the tasks, 0..1, drawn from their key and seed.
        every: Only each so manieth of the tasks for which all the above holds, counted here.
        times: At most so many strikes; counted by this engine, or by all engines together that
            share a ``faults_dir``.
        after_s: Seconds of audio that are spoken before; not for ``bad_audio``.
        audio: What ``bad_audio`` sounds like: ``silence`` of the full length, or ``cut``: loud up
            to its end at two thirds.

    Raises:
        ValueError: A number is out of its range.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    kind: Literal["crash", "hang", "oom", "bad_audio", "exit"]
    tag: int | None = None
    text: str | None = None
    takes: int | None = None
    share: float = 1.0
    every: int = 1
    times: int | None = None
    after_s: float = 0.0
    audio: Literal["silence", "cut"] = "silence"

    def __post_init__(self) -> None:
        if not (0 <= self.share <= 1 and self.every >= 1 and self.after_s >= 0):
            raise ValueError(
                f"fault {self.kind!r}: share {self.share} must be 0..1, every {self.every} at "
                f"least 1, after_s {self.after_s} at least 0"
            )

    def strikes(self, task: SpeakTask) -> bool:
        """Whether the conditions that depend on the task alone hold."""
        return (
            self.tag in {None, task.tag}
            and (self.text is None or any(self.text in line.text for line in task.lines))
            and (self.takes is None or self._is_early(task, self.takes))
            and (self.share >= 1 or draw(task, self.kind) < self.share)
        )

    @staticmethod
    def _is_early(task: SpeakTask, takes: int) -> bool:
        return any(task.seed == seed_of(task.key, take) for take in range(takes))


class FaultBook:
    """Remembers what the rules have counted.

    Args:
        rules: Tried in order; the first that strikes wins.
        directory: Where strikes of rules with ``times`` are counted for several processes, as
            empty files; None counts them in this object.
        threads: Runs what touches the disk.
    """

    def __init__(
        self, rules: Sequence[FaultRule], directory: str | None, threads: SlotThreads
    ) -> None:
        self._rules = tuple(rules)
        self._directory = None if directory is None else Path(directory)
        self._threads = threads
        self._matched = [0] * len(self._rules)
        self._struck = [0] * len(self._rules)

    async def strike(self, task: SpeakTask) -> FaultRule | None:
        """The fault that *task* suffers, or None.

        Raises:
            OSError: The directory can't be written.
            EngineTimeoutError: The directory does not answer.
        """
        for number, rule in enumerate(self._rules):
            if not rule.strikes(task):
                continue
            self._matched[number] += 1
            if self._matched[number] % rule.every == 0 and await self._is_left(number, rule):
                return rule
        return None

    async def _is_left(self, number: int, rule: FaultRule) -> bool:
        if rule.times is None:
            return True
        if self._directory is not None:
            work = partial(_claim, self._directory, f"fault-{number}", rule.times)
            return await self._threads.run(work, BOOK_TIMEOUT_S)
        self._struck[number] += 1
        return self._struck[number] <= rule.times


def draw(task: SpeakTask, purpose: str) -> float:
    """A number in 0..1 that depends on the task's key, its seed and the purpose only."""
    content = f"{purpose}\0{task.key}\0{task.seed}".encode()
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little") / 2**64


def _claim(
    directory: Path, name: str, times: int, _stop: StopSignal
) -> Generator[bool, None, None]:
    directory.mkdir(parents=True, exist_ok=True)
    for strike in range(times):
        try:
            (directory / f"{name}-{strike}").touch(exist_ok=False)
        except FileExistsError:
            continue
        yield True
        return
    yield False
