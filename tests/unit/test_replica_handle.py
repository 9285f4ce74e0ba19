"""The ingress' side of the replicas: who has refused a segment is not asked again at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from serve_app.engines.base import Line, SpeakTask
from serve_app.permit import Refused
from serve_app.pieces import Started
from serve_app.replicas import ReplicaHandle

TASK = SpeakTask(key="0" * 16, lines=(Line("Ann", "v", "Words."),), seed=0, est_s=1.0)


class Answer:
    """One call's answer, and whether it was cancelled."""

    def __init__(self, items: list[Any]) -> None:
        self.items, self.cancelled = items, False

    async def __aiter__(self) -> AsyncIterator[Any]:
        if self.items:
            yield tuple(self.items)

    def cancel(self) -> None:
        self.cancelled = True


class Deployment:
    """A deployment's handle that answers as it is told and notes what it was asked."""

    def __init__(self, *answers: list[Any]) -> None:
        self.answers = [Answer(items) for items in answers]
        self.refused: list[tuple[str, ...]] = []
        self.speak = self

    def options(self, **_options: object) -> Deployment:
        return self

    def remote(self, _task: SpeakTask, refused: tuple[str, ...]) -> Answer:
        self.refused.append(refused)
        return self.answers[len(self.refused) - 1]


async def spoken(handle: ReplicaHandle) -> list[Any]:
    return [item async for item in handle.speak(TASK)]


async def test_a_refused_segment_goes_on_to_others_and_so_does_the_next() -> None:
    now_s = [0.0]
    taken = [Started("r-3", "rev")]
    synth = Deployment([Refused("r-1", "hot")], [Refused("r-2", "hot")], taken, taken, taken)
    handle = ReplicaHandle(synth, clock=lambda: now_s[0])  # type: ignore[arg-type]
    assert await spoken(handle) == taken
    assert await spoken(handle) == taken
    now_s[0] = 1.5
    assert await spoken(handle) == taken
    assert synth.refused == [(), ("r-1",), ("r-1", "r-2"), ("r-1", "r-2"), ()]
    assert all(answer.cancelled for answer in synth.answers)
