"""The cluster view: what every node's telemetry knows, put together.

It only asks the nodes' actors and never re-exports what they say. A node that is slow, failing
or gone never holds up the others: its last answer is used, with its age.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from telemetry.core.window import AgedSample
from telemetry.snapshot import NodeSnapshot

NodeState = Literal["ok", "slow", "failed", "dead"]
NodeFate = Literal["alive", "left", "died"]

ANSWERS_S = 2.0
"""Longest time for which a look at all nodes waits for their answers."""

FORGET_DEAD_S = 60.0
"""Seconds for which a node that left is still shown as dead."""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node of the cluster.

    Args:
        id, host: Ray node id and host name.
        fate: ``alive``; ``left`` if it was taken out in an orderly way; ``died`` if not.
    """

    id: str
    host: str
    fate: NodeFate = "alive"


class ClusterSource(Protocol):
    """Where the cluster view asks; in production :class:`telemetry.ray_cluster.RayCluster`."""

    async def nodes(self) -> tuple[NodeInfo, ...]:
        """The nodes that are alive, and those that were, as long as anybody remembers them."""
        ...

    async def snapshot(self, node: str, since: float | None) -> NodeSnapshot:
        """What a node knows; may raise anything and take any time."""
        ...

    def close(self) -> None:
        """Let go of threads; idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as the cluster sees it.

    Args:
        id, host: Ray node id and host name.
        state: ``ok`` if it answered now; ``slow`` if not in time; ``failed`` if its telemetry
            could not answer, as while it restarts; ``dead`` if it is in the cluster no more.
        age_s: Seconds since its last answer, or None if it never gave one.
        snapshot: Its last answer, or None.
        problem: Why it did not answer now, or None.
        left: Whether it was taken out of the cluster in an orderly way, and is not missed.
    """

    id: str
    host: str
    state: NodeState
    age_s: float | None
    snapshot: NodeSnapshot | None
    problem: str | None = None
    left: bool = False

    @property
    def cards(self) -> tuple[AgedSample, ...]:
        """Newest sample of every card, with its age now."""
        if self.snapshot is None or self.age_s is None:
            return ()
        since = self.age_s
        return tuple(AgedSample(c.sample, c.age_s + since) for c in self.snapshot.latest)


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """The cluster at one moment.

    Args:
        taken_at: Unix time.
        since: What was asked for: samples later than this Unix time, or all that are kept.
        stale_after_s: Age from which a card's sample says nothing about the present.
        nodes: By host and id.
        problem: Why the list of nodes may be old, or None.
    """

    taken_at: float
    since: float | None
    stale_after_s: float
    nodes: tuple[NodeView, ...]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    at: float
    host: str
    snapshot: NodeSnapshot


class ClusterView:
    """Asks all nodes at once; owned by one event loop.

    Args:
        source: Where to ask; owned.
        stale_after_s: See :class:`ClusterSnapshot`.
        clock: Monotonic time, s.
        wall: Unix time, s.
    """

    def __init__(
        self,
        source: ClusterSource,
        *,
        stale_after_s: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._stale_after_s = stale_after_s
        self._clock = clock
        self._wall = wall
        self._nodes: tuple[NodeInfo, ...] = ()
        self._left: frozenset[str] = frozenset()
        self._answers: dict[str, _Answer] = {}

    async def gather(
        self, since: float | None = None, timeout_s: float = ANSWERS_S
    ) -> ClusterSnapshot:
        """Ask every node, and return what has answered within *timeout_s*.

        Args:
            since: Only samples later than this Unix time; all of the last minute if None.
            timeout_s: Bound of the whole call; half of it may go to the list of nodes.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        problem = await self._follow_nodes(timeout_s / 2)
        failures = await self._ask(since, max(deadline - loop.time(), 0.0))
        now = self._clock()
        alive = [self._view(node, failures.get(node.id), now) for node in self._nodes]
        views = sorted(alive + self._dead(now), key=lambda view: (view.host, view.id))
        return ClusterSnapshot(self._wall(), since, self._stale_after_s, tuple(views), problem)

    def close(self) -> None:
        """Let go of the source."""
        self._source.close()

    async def _follow_nodes(self, timeout_s: float) -> str | None:
        """Renew the list of nodes; the reason if that failed."""
        try:
            # Not wait_for, which swallows a cancellation that comes with the answer.
            async with asyncio.timeout(timeout_s):
                nodes = await self._source.nodes()
        except TimeoutError:
            return f"the list of nodes did not come within {timeout_s:g} s"
        except Exception as error:  # noqa: BLE001 - whatever the source raises, the view answers
            return f"the list of nodes could not be read: {type(error).__name__}: {error}"
        self._nodes = tuple(node for node in nodes if node.fate == "alive")
        self._left = frozenset(node.id for node in nodes if node.fate == "left")
        return None

    async def _ask(
        self, since: float | None, timeout_s: float
    ) -> Mapping[str, tuple[NodeState, str]]:
        """Renew the nodes' answers; state and reason of those that gave none."""
        if not self._nodes:
            return {}
        tasks = {
            node: asyncio.ensure_future(self._source.snapshot(node.id, since))
            for node in self._nodes
        }
        failures: dict[str, tuple[NodeState, str]] = {}
        try:
            await asyncio.wait(tasks.values(), timeout=timeout_s)
            now = self._clock()
            for node, task in tasks.items():
                if not task.done():
                    failures[node.id] = ("slow", f"no answer within {timeout_s:.1f} s")
                elif task.cancelled():
                    failures[node.id] = ("failed", "the question was cancelled")
                elif (error := task.exception()) is not None:
                    failures[node.id] = ("failed", f"{type(error).__name__}: {error}")
                else:
                    self._answers[node.id] = _Answer(now, node.host, task.result())
        finally:
            for task in tasks.values():
                task.cancel()
        return failures

    def _view(self, node: NodeInfo, failure: tuple[NodeState, str] | None, now: float) -> NodeView:
        answer = self._answers.get(node.id)
        state, problem = failure or ("ok", None)
        if answer is None:
            return NodeView(node.id, node.host, state, None, None, problem)
        return NodeView(node.id, node.host, state, now - answer.at, answer.snapshot, problem)

    def _dead(self, now: float) -> list[NodeView]:
        """The nodes that left a short while ago; those that left earlier are forgotten."""
        alive = {node.id for node in self._nodes}
        views = []
        for node, answer in list(self._answers.items()):
            age_s = now - answer.at
            if node in alive:
                continue
            if age_s > FORGET_DEAD_S:
                del self._answers[node]
                continue
            left = node in self._left
            problem = "the node left the cluster" if left else "the node is gone from the cluster"
            views.append(
                NodeView(node, answer.host, "dead", age_s, answer.snapshot, problem, left=left)
            )
        return views
