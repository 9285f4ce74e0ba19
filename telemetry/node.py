"""One node's telemetry: what its cards tell, and what its replicas report.

Plain Python without Ray, so that it is tested as it is; :mod:`telemetry.actor` puts it into an
actor. :mod:`telemetry.sampler` reads the cards; everyone else only reads the last snapshot:
neither an exporter nor a page can delay the sampler.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields

from telemetry.card_watch import ActiveAlert, CardGuard, CardWatch, WatchThread
from telemetry.core.alert_rules import RULES
from telemetry.core.alerts import AlertRule, Notice
from telemetry.core.card_use import CardUse, GuardLog, card_use
from telemetry.core.messages import Language, Message
from telemetry.core.model_book import ModelBook, ModelStats
from telemetry.core.reader import CardReader, CardSource, NoCards, Reading, UnknownCardError
from telemetry.core.sample import CardSample, SynthesisRecord, XidEvent
from telemetry.core.thermal import DEFAULT_RULES, ThermalRules
from telemetry.core.window import AgedSample, RecordBook, SampleWindow, Totals
from telemetry.core.xid import XidBook
from telemetry.notify import Channel
from telemetry.nvml import NvmlCards
from telemetry.sampler import CardSampler
from telemetry.simulated import SimulatedCards

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
        slow_period_s: Seconds between two readings of what changes slowly: thresholds, limits,
            errors, processes.
        thermal: How cards are guarded against heat.
        alerts: What people want to be told.
        channels: Where they are told.
        language: In which language.
    """

    cards: CardSource = "nvml"
    simulated_cards: int = 1
    period_s: float = 1.0
    stale_after_s: float = 3.0
    slow_period_s: float = 15.0
    thermal: ThermalRules = DEFAULT_RULES
    alerts: tuple[AlertRule, ...] = RULES
    channels: tuple[Channel, ...] = ()
    language: Language = "en"


def changes(old: TelemetryConfig, new: TelemetryConfig) -> tuple[str, ...]:
    """Names of what differs; values may hold secrets."""
    names = [field.name for field in fields(TelemetryConfig)]
    return tuple(name for name in names if getattr(old, name) != getattr(new, name))


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
        xids: Faults that the driver reported lately, repeats counted, oldest first.
        models: What each model did since the node's telemetry started.
        guards: How much new work each card may take.
        alerts: What is on, critical ones first.
        faults: All faults so far, by card and number.
        export_failing_s: For how long the node's actor has not been able to export; 0 while it
            is, None where it exports nothing.
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
    xids: tuple[XidEvent, ...] = ()
    models: tuple[ModelStats, ...] = ()
    guards: tuple[CardGuard, ...] = ()
    alerts: tuple[ActiveAlert, ...] = ()
    faults: tuple[XidEvent, ...] = ()
    export_failing_s: float | None = None


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
    return NvmlCards(slow_s=config.slow_period_s) if config.cards == "nvml" else NoCards()


class NodeTelemetry:
    """Samples one node's cards and keeps what its replicas report.

    Call :meth:`start` once, and :meth:`close` when done. Every method but :meth:`tick`,
    :meth:`wait_first` and :meth:`close` returns at once; all may be called from any thread.

    Args:
        node, host: Ray node id and host name.
        reader: The node's cards; owned.
        period_s: Seconds between two samples.
        watch: Guards the cards; none where nobody needs it.
        post: Takes what the watch says; must return at once.
        language: Of what it says.
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
        watch: CardWatch | None = None,
        post: Callable[[Message], None] = lambda _message: None,
        language: Language = "en",
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._node = node
        self._host = host
        self._reader = reader
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._window = SampleWindow()
        self._xids = XidBook()
        self._book = RecordBook()
        self._models = ModelBook()
        self._watch = watch
        self._guard_log = GuardLog()
        self._looks = WatchThread(
            self._look, post, period_s=period_s / 2, language=language, clock=clock
        )
        self._reports: dict[str, _Report] = {}
        self._sampler = CardSampler(reader, self._keep, period_s=period_s, clock=clock)

    def start(self) -> None:
        """Start to sample; once."""
        self._sampler.start()
        self._looks.start()

    def wait_first(self, timeout_s: float) -> bool:
        """See :meth:`CardSampler.wait_first`."""
        return self._sampler.wait_first(timeout_s)

    def close(self, timeout_s: float = 2.0) -> bool:
        """Stop sampling; see :meth:`CardSampler.close`."""
        self._looks.close(timeout_s)
        return self._sampler.close(timeout_s)

    def tick(self) -> None:
        """Take one sample of every card now; see :meth:`CardSampler.tick`."""
        self._sampler.tick()

    def record(self, record: SynthesisRecord) -> float | None:
        """Count one synthesis.

        Returns:
            Its share of its card's energy per minute of audio, J; None where that is not known.
        """
        energy = None
        if record.card_uuid is not None and record.error is None and record.audio_s > 0:
            began = record.timestamp - record.wall_s
            use = self.card_over(record.card_uuid, began, record.timestamp)
            if use is not None and use.energy_j is not None:
                energy = use.energy_j * record.card_share / (record.audio_s / 60.0)
        with self._lock:
            self._book.add(record)
            self._models.add(record, energy)
        return energy

    def card_over(self, card_uuid: str, since_unix: float, until_unix: float) -> CardUse | None:
        """What a card did over an interval of the last minute; None if no sample tells."""
        with self._lock:
            samples = self._window.card(card_uuid)
            changes = self._guard_log.of(card_uuid)
        return card_use(samples, since_unix, until_unix, changes)

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
        problems = self._sampler.problems()
        with self._lock:
            now = self._clock()
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
                xids=self._xids.events(now),
                models=self._models.stats,
                guards=self.guards(),
                alerts=self.alerts(),
                faults=self._xids.totals,
            )

    def alerts(self) -> tuple[ActiveAlert, ...]:
        """Alerts of the node's cards that are on, critical ones first."""
        return () if self._watch is None else self._watch.alerts()

    def faults(self) -> tuple[XidEvent, ...]:
        """All faults so far, by card and number."""
        with self._lock:
            return self._xids.totals

    def guards(self) -> tuple[CardGuard, ...]:
        """How much new work each card may take."""
        return () if self._watch is None else self._watch.guards()

    def _look(self, now_s: float) -> tuple[Notice, ...]:
        if self._watch is None:
            return ()
        with self._lock:
            latest, xids = self._window.latest(now_s), self._xids.events(now_s)
        notices = self._watch.tick(now_s, latest, xids)
        guards = [(guard.uuid, guard.state, guard.why) for guard in self._watch.guards()]
        with self._lock:
            self._guard_log.note(self._wall(), guards)
        return notices

    def _keep(self, began: float, reading: Reading) -> None:
        """Take what a lane told; ages count from before its call, so the call's length counts."""
        with self._lock:
            self._window.add(began, reading.samples)
            self._xids.add(began, reading.xids)
            # Reports that have expired no longer warm a card.
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
