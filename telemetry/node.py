"""One node's telemetry: what its cards tell, and what its replicas report.

Plain Python without Ray, so that it is tested as it is; :mod:`telemetry.actor` puts it into an
actor. :mod:`telemetry.sampler` reads the cards; everyone else only reads the last snapshot:
neither an exporter nor a page can delay the sampler.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial

from telemetry.card_watch import ActiveAlert, CardGuard, CardWatch, WatchThread
from telemetry.core.alerts import Notice
from telemetry.core.card_use import CardUse, GuardLog, card_use
from telemetry.core.channels import ChannelCount, channel_problems
from telemetry.core.export_state import ExportBook, Exports
from telemetry.core.messages import Language, Message
from telemetry.core.model_book import ModelBook
from telemetry.core.reader import CardReader, NoCards, Reading, UnknownCardError
from telemetry.core.recent import RecentBook
from telemetry.core.replica_reports import ReplicaLoad, ReplicaReports
from telemetry.core.sample import SynthesisRecord, XidEvent
from telemetry.core.signals import RECENT_S
from telemetry.core.unmeasured import Unmeasured, energy_j_per_min
from telemetry.core.window import AgedSample, RecordBook, SampleWindow
from telemetry.core.xid import XidBook
from telemetry.nvml import NvmlCards
from telemetry.sampler import CardSampler
from telemetry.simulated import SimulatedCards
from telemetry.snapshot import NodeSnapshot
from telemetry.watch_config import TelemetryConfig

_SAMPLING = frozenset({"cards", "simulated_cards", "period_s", "slow_period_s"})
"""Settings whose change takes another reader."""


def make_reader(config: TelemetryConfig, node: str, before: CardReader | None = None) -> CardReader:
    """The reader that a config asks for.

    Args:
        config: Which cards, and how often.
        node: Node id.
        before: The reader that it follows; simulated cards go on from there.
    """
    if config.cards == "simulated":
        known = before if isinstance(before, SimulatedCards) else None
        return SimulatedCards(config.simulated_cards, node=node, before=known)
    return NvmlCards(slow_s=config.slow_period_s) if config.cards == "nvml" else NoCards()


class NodeTelemetry:
    """Samples one node's cards and keeps what its replicas report.

    Call :meth:`start` once, and :meth:`close` when done. Every method but :meth:`tick`,
    :meth:`wait_first`, :meth:`adopt` and :meth:`close` returns at once, and may be called from any
    thread.

    Args:
        node, host: Ray node id and host name.
        reader: The node's cards; owned.
        period_s: Seconds between two samples.
        stale_after_s: Age from which a sample says nothing about the present.
        watch: Guards the cards; none where nobody needs it.
        post: Takes what the watch says; must return at once.
        language: Of what it says.
        channels: What became of what it said.
        used: Takes a synthesis and what it used, J per minute of audio; must return at once.
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
        stale_after_s: float = 3.0,
        watch: CardWatch | None = None,
        post: Callable[[Message], None] = lambda _message: None,
        language: Language = "en",
        channels: Callable[[], Iterable[ChannelCount]] = tuple,
        used: Callable[[SynthesisRecord, float], None] = lambda _record, _energy: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._node, self._host = node, host
        self._reader = reader
        self._clock, self._wall = clock, wall
        self._lock = threading.Lock()
        self._window = SampleWindow()
        self._xids = XidBook(window_s=RECENT_S)
        self._book = RecordBook()
        self._models = ModelBook()
        self._recent = RecentBook()
        self._unmeasured = Unmeasured()
        self._used = used
        self._watch, self._post, self._channels = watch, post, channels
        self._guard_log = GuardLog()
        self._reports = ReplicaReports()
        self._exports = ExportBook()
        self._stale_after_s = stale_after_s
        self._looks = self._made_looks(period_s, language)
        self._sampler = self._made_sampler(reader, period_s)

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

    def adopt(self, config: TelemetryConfig, changed: Collection[str]) -> None:
        """Watch by another config; what is known, counted and on goes on.

        Cards that are no longer watched are forgotten, with their guards and alerts. Call it on one
        that was started; blocks as :meth:`close` does.

        Args:
            config: The new one.
            changed: Names of what differs from the old one.
        """
        self._looks.close()
        self._stale_after_s = config.stale_after_s
        if not _SAMPLING.isdisjoint(changed):
            self._read_by(config)
        if self._watch is not None:
            self._watch.adopt(
                thermal=config.thermal, alerts=config.alerts, stale_after_s=config.stale_after_s
            )
        self._looks = self._made_looks(config.period_s, config.language)
        self._looks.start()

    def record(self, record: SynthesisRecord) -> None:
        """Count one synthesis."""
        with self._lock:
            self._book.add(record)
            self._models.add(record)
            self._recent.add(self._clock(), record)
            self._unmeasured.add(record)

    def measure(self) -> None:
        """Count what the syntheses used whose card has been sampled since; the watch does it."""
        with self._lock:
            sampled = {
                a.sample.uuid: a.sample.timestamp for a in self._window.latest(self._clock())
            }
            due = self._unmeasured.due(self._wall(), sampled)
        for record in due:
            began = record.timestamp - record.wall_s
            use = self.card_over(record.card_uuid or "", began, record.timestamp)
            if (energy := energy_j_per_min(record, use)) is not None:
                with self._lock:
                    self._models.used(record, energy)
                self._used(record, energy)

    def card_over(self, card_uuid: str, since_unix: float, until_unix: float) -> CardUse | None:
        """What a card did over an interval of the last minute; None if no sample tells."""
        with self._lock:
            samples = self._window.card(card_uuid)
            changes = self._guard_log.of(card_uuid)
        return card_use(samples, since_unix, until_unix, changes)

    def load(
        self,
        replica: str,
        card_uuid: str | None,
        busy: int,
        slots: int,
        exports: Exports = (),
    ) -> None:
        """Take a replica's report of its slots, which is what warms a simulated card.

        Replicas report at every change and at least every ``REPORT_EXPIRY_S / 2``.
        """
        with self._lock:
            self._reports.heard(self._clock(), replica, card_uuid, busy, slots)
            self._exports.heard(self._clock(), replica, exports)
            self._warm_cards()

    def assign_simulated(self, replica: str) -> str:
        """Give a replica a simulated card; see :meth:`ReplicaReports.assign`.

        Raises:
            UnknownCardError: The node's cards are not simulated.
        """
        if not isinstance(self._reader, SimulatedCards):
            raise UnknownCardError(
                f"node {self._node} has no simulated cards (its cards are {self._reader.source})"
            )
        with self._lock:
            return self._reports.assign(self._clock(), replica, self._reader.uuids)

    @property
    def stale_after_s(self) -> float:
        """Age from which a sample says nothing about the present."""
        return self._stale_after_s

    def latest(self) -> tuple[AgedSample, ...]:
        """Newest sample of every card with its age."""
        with self._lock:
            return self._window.latest(self._clock())

    def loads(self) -> tuple[ReplicaLoad, ...]:
        """What the replicas that still report do."""
        with self._lock:
            return self._reports.loads(self._clock())

    def snapshot(self, since: float | None = None) -> NodeSnapshot:
        """All that is known now; samples only later than Unix time *since*."""
        loads, channels = self.loads(), self.channels()
        problems = (*self._sampler.problems(), *channel_problems(channels))
        with self._lock:
            now = self._clock()
            exports = self._exports.states(now)
            unsent = (f"replicas: {one.problem}" for one in exports if one.problem is not None)
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
                problems=(*problems, *unsent),
                xids=self._xids.events(now),
                models=self._models.stats,
                guards=self.guards(),
                alerts=self.alerts(),
                faults=self._xids.totals,
                channels=channels,
                recent=self._recent.stats(now),
                exports=exports,
            )

    def alerts(self) -> tuple[ActiveAlert, ...]:
        """Alerts of the node's cards that are on, critical ones first."""
        return () if self._watch is None else self._watch.alerts()

    def channels(self) -> tuple[ChannelCount, ...]:
        """What became of the node's messages, by channel."""
        return tuple(self._channels())

    def faults(self) -> tuple[XidEvent, ...]:
        """All faults so far, by card and number."""
        with self._lock:
            return self._xids.totals

    def guards(self) -> tuple[CardGuard, ...]:
        """How much new work each card may take."""
        return () if self._watch is None else self._watch.guards()

    def _read_by(self, config: TelemetryConfig) -> None:
        """Put another reader in the place of the one that there is."""
        before = self._reader
        self._sampler.close()
        reader = make_reader(config, self._node, before)
        with self._lock:
            known = {aged.sample.uuid for aged in self._window.latest(self._clock())}
            if isinstance(reader, SimulatedCards):
                known -= set(reader.uuids)
            elif reader.source == before.source:
                known = set()
            self._window.forget(known)
            self._reader = reader
        if self._watch is not None:
            self._watch.forget(known)
        self._sampler = self._made_sampler(reader, config.period_s)
        self._sampler.start()

    def _made_sampler(self, reader: CardReader, period_s: float) -> CardSampler:
        return CardSampler(
            reader, partial(self._keep, reader), period_s=period_s, clock=self._clock
        )

    def _made_looks(self, period_s: float, language: Language) -> WatchThread:
        return WatchThread(
            self._look, self._post, period_s=period_s / 2, language=language, clock=self._clock
        )

    def _look(self, now_s: float) -> tuple[Notice, ...]:
        notices = self._watched(now_s)
        self.measure()
        return notices

    def _watched(self, now_s: float) -> tuple[Notice, ...]:
        if self._watch is None:
            return ()
        with self._lock:
            latest, xids = self._window.latest(now_s), self._xids.events(now_s)
        notices = self._watch.tick(now_s, latest, xids)
        guards = [(guard.uuid, guard.state, guard.why) for guard in self._watch.guards()]
        with self._lock:
            self._guard_log.note(self._wall(), guards)
        return notices

    def _keep(self, reader: CardReader, began: float, reading: Reading) -> None:
        """Take what a lane told; ages count from before its call, so the call's length counts."""
        with self._lock:
            if reader is not self._reader:
                return  # it hung, and another one has taken its place since
            self._window.add(began, reading.samples)
            self._xids.add(began, reading.xids)
            # Reports that have expired no longer warm a card.
            self._warm_cards()

    def _warm_cards(self) -> None:
        """Tell simulated cards what their replicas do; the lock is held."""
        if not isinstance(self._reader, SimulatedCards):
            return
        live = self._reports.loads(self._clock())
        for uuid in self._reader.uuids:
            on_card = [report for report in live if report.card_uuid == uuid]
            busy, slots = sum(r.busy for r in on_card), sum(r.slots for r in on_card)
            self._reader.set_load(uuid, busy, slots)
