"""One node's telemetry: a thread that samples its cards, and what its replicas report.

Plain Python without Ray, so that it is tested as it is; :mod:`telemetry.actor` puts it into an
actor. Everyone else only reads the last snapshot: neither an exporter nor a page can delay the
sampler. When a driver call hangs, the one thread hangs with it, the samples' ages grow, and
whoever reads them sees stale cards; no second thread is started.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from telemetry.core.reader import CardReader, CardSource, NoCards, UnknownCardError
from telemetry.core.sample import CardSample, SynthesisRecord
from telemetry.core.window import AgedSample, RecordBook, SampleWindow, Totals
from telemetry.nvml import NvmlCards
from telemetry.simulated import SimulatedCards

logger = logging.getLogger(__name__)

REPORT_EXPIRY_S = 15.0
"""A replica that has reported nothing for this long counts as idle, or gone."""

MAX_REPLICAS = 512
"""Replicas whose reports one node keeps; the longest silent one leaves first."""


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    """What a node watches and how often.

    Args:
        cards: ``nvml``, ``simulated`` or ``none``.
        simulated_cards: Cards per node where they are simulated.
        period_s: Seconds between two samples.
        stale_after_s: Age from which a sample says nothing about the present.
    """

    cards: CardSource = "nvml"
    simulated_cards: int = 1
    period_s: float = 1.0
    stale_after_s: float = 3.0


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """What a replica said about itself last.

    Args:
        replica: Replica id.
        card_uuid: Card it runs on, or None without one.
        busy, slots: Slots that are speaking, and slots in all.
        age_s: Seconds since it said so.
    """

    replica: str
    card_uuid: str | None
    busy: int
    slots: int
    age_s: float


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """All that a node knows, at one moment; small enough to cross a process border.

    Args:
        node, host: Ray node id and host name.
        taken_at: Unix time.
        source: Where its cards come from.
        samples: Cards' samples of the last 60 s, oldest first.
        latest: Newest sample of every card with its age.
        records: Last syntheses, oldest first.
        totals: Sums over all syntheses since the node's telemetry started.
        loads: What its replicas do.
        problems: What is wrong, for people.
    """

    node: str
    host: str
    taken_at: float
    source: CardSource
    samples: tuple[CardSample, ...]
    latest: tuple[AgedSample, ...]
    records: tuple[SynthesisRecord, ...]
    totals: Totals
    loads: tuple[ReplicaLoad, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Report:
    uuid: str | None
    busy: int
    slots: int
    at: float


def make_reader(config: TelemetryConfig, node: str) -> CardReader:
    """The reader that a config asks for; *node* is the node id."""
    if config.cards == "simulated":
        return SimulatedCards(config.simulated_cards, node=node)
    return NvmlCards() if config.cards == "nvml" else NoCards()


def next_deadline(deadline: float, now: float, period_s: float) -> float:
    """The first time after *now* on the grid of *deadline*; ticks that were missed are skipped."""
    missed = max(math.floor((now - deadline) / period_s), 0)
    return deadline + (missed + 1) * period_s


class NodeTelemetry:
    """Samples one node's cards and keeps what its replicas report.

    Call :meth:`start` once, and :meth:`close` when done. Every method but :meth:`tick` may be
    called from any thread and returns at once.

    Args:
        node, host: Ray node id and host name.
        reader: The node's cards; owned, and closed by the sampler thread.
        period_s: Seconds between two samples.
        clock: Monotonic time, s.
        wall: Unix time, s.
    """

    def __init__(
        self,
        node: str,
        host: str,
        reader: CardReader,
        *,
        period_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._node = node
        self._host = host
        self._reader = reader
        self._period_s = period_s
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._window = SampleWindow()
        self._book = RecordBook()
        self._reports: dict[str, _Report] = {}
        self._trouble: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="card-sampler", daemon=True)

    def start(self) -> None:
        """Start the sampler thread; once."""
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> bool:
        """Stop sampling; idempotent.

        Returns:
            False if the driver still hangs after *timeout_s*; the thread then ends by itself as
            soon as the driver answers, or with the process.
        """
        self._stop.set()
        if self._thread.ident is None:
            self._reader.close()
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def tick(self) -> None:
        """Take one sample of every card now; blocks as long as the driver does."""
        # Ages count from before the call: a value may be as old as the call was long.
        began = self._clock()
        try:
            samples = self._reader.read()
        except Exception as error:
            trouble = f"sampler: {type(error).__name__}: {error}"
            if trouble != self._trouble:
                logger.exception("a card reading failed; the sampler goes on")
            with self._lock:
                self._trouble = trouble
            return
        with self._lock:
            self._trouble = None
            self._window.add(began, samples)

    def record(self, record: SynthesisRecord) -> None:
        """Count one synthesis."""
        with self._lock:
            self._book.add(record)

    def load(self, replica: str, card_uuid: str | None, busy: int, slots: int) -> None:
        """Take a replica's report of its slots, which is what warms a simulated card.

        Replicas report at every change and at least every ``REPORT_EXPIRY_S / 2``; one with
        ``slots=0`` says goodbye.
        """
        with self._lock:
            self._reports.pop(replica, None)
            if slots > 0:
                self._reports[replica] = _Report(card_uuid, busy, slots, self._clock())
            while len(self._reports) > MAX_REPLICAS:
                self._reports.pop(next(iter(self._reports)))
            self._warm_cards()

    def assign_simulated(self, replica: str) -> str:
        """Give a replica the simulated card with the fewest live replicas.

        Between equally used cards it is the one whose replicas have been silent longest, so that
        the successor of a dead replica gets its card. The same replica gets the same card again.

        Raises:
            UnknownCardError: The node's cards are not simulated.
        """
        if not isinstance(self._reader, SimulatedCards):
            raise UnknownCardError(
                f"node {self._node} has no simulated cards (its cards are {self._reader.source})"
            )
        with self._lock:
            now = self._clock()
            known = self._reports.get(replica)
            if known is not None and known.uuid in self._reader.uuids:
                return known.uuid
            uuid = min(self._reader.uuids, key=lambda uuid: self._usage(uuid, now))
            self._reports[replica] = _Report(uuid, 0, 1, now)
            return uuid

    def latest(self) -> tuple[AgedSample, ...]:
        """Newest sample of every card with its age."""
        with self._lock:
            return self._window.latest(self._clock())

    def loads(self) -> tuple[ReplicaLoad, ...]:
        """What the replicas that still report do."""
        with self._lock:
            now = self._clock()
            return tuple(
                ReplicaLoad(name, report.uuid, report.busy, report.slots, now - report.at)
                for name, report in self._reports.items()
                if now - report.at <= REPORT_EXPIRY_S
            )

    def snapshot(self, since: float | None = None) -> NodeSnapshot:
        """All that is known now; samples only later than Unix time *since*."""
        loads = self.loads()
        problems = self._reader.problems()
        with self._lock:
            now = self._clock()
            if self._trouble is not None:
                problems = (*problems, self._trouble)
            return NodeSnapshot(
                node=self._node,
                host=self._host,
                taken_at=self._wall(),
                source=self._reader.source,
                samples=self._window.samples(now, since),
                latest=self._window.latest(now),
                records=self._book.last,
                totals=self._book.totals,
                loads=loads,
                problems=problems,
            )

    def _run(self) -> None:
        try:
            deadline = self._clock()
            while not self._stop.is_set():
                self._expire_reports()
                self.tick()
                deadline = next_deadline(deadline, self._clock(), self._period_s)
                self._stop.wait(max(deadline - self._clock(), 0.0))
        finally:
            self._reader.close()

    def _expire_reports(self) -> None:
        with self._lock:
            self._warm_cards()

    def _warm_cards(self) -> None:
        """Tell simulated cards what their replicas do; the lock is held."""
        if not isinstance(self._reader, SimulatedCards):
            return
        now = self._clock()
        live = [r for r in self._reports.values() if now - r.at <= REPORT_EXPIRY_S]
        for uuid in self._reader.uuids:
            on_card = [report for report in live if report.uuid == uuid]
            busy, slots = sum(r.busy for r in on_card), sum(r.slots for r in on_card)
            self._reader.set_load(uuid, busy, slots)

    def _usage(self, uuid: str, now: float) -> tuple[int, float]:
        """Live replicas on a card, and when one of them was heard last; the lock is held."""
        heard = [report.at for report in self._reports.values() if report.uuid == uuid]
        live = sum(now - at <= REPORT_EXPIRY_S for at in heard)
        return live, max(heard, default=-math.inf)
