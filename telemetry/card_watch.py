"""Watches one node's cards: guards them against heat, and tells people what is wrong.

It needs the sampler's last snapshot and nothing else: no exporter, no ingress, no view of the
cluster. :class:`CardWatch` is plain state behind a lock; :class:`WatchThread` gives it the time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from telemetry.core.alerts import AlertBook, AlertRule, Notice, Subject
from telemetry.core.messages import Language, Message, message_of
from telemetry.core.sample import XidEvent
from telemetry.core.signals import OnsetCounter, card_signals, is_slowed
from telemetry.core.thermal import (
    Guard,
    GuardState,
    ThermalRules,
    advance,
    first_guard,
    pass_time,
)
from telemetry.core.window import AgedSample

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CardGuard:
    """How much new work a card may take.

    Args:
        uuid: The card.
        state: See :mod:`telemetry.core.thermal`.
        why: For people.
        for_s: Seconds in this state.
    """

    uuid: str
    state: GuardState
    why: str
    for_s: float


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """An alert that is on.

    Args:
        rule, severity, title: What is wrong.
        subject, label: Of what, as an identity and for people.
        value, unit: Last value.
        simulated: True if the subject exists only in software.
    """

    rule: str
    severity: str
    title: str
    subject: str
    label: str
    value: float
    unit: str
    simulated: bool


@dataclass(slots=True)
class _Card:
    """What is remembered about one card.

    Args:
        guard: Its guard.
        onsets: Counts its slowdowns.
        timestamp: Unix time of the last sample that was looked at.
        heard_s: Monotonic time at which the card was known last.
    """

    guard: Guard
    onsets: OnsetCounter
    timestamp: float
    heard_s: float


class CardWatch:
    """Guards and alerts of one node's cards; may be called from any thread.

    Args:
        host: Name of the node, for people.
        thermal: How cards are judged.
        alerts: What people want to be told.
        stale_after_s: Age from which a sample says nothing about the present.
    """

    def __init__(
        self,
        host: str,
        *,
        thermal: ThermalRules,
        alerts: Iterable[AlertRule],
        stale_after_s: float = 3.0,
    ) -> None:
        self._host, self._thermal, self._stale_after_s = host, thermal, stale_after_s
        self._book = AlertBook(alerts)
        self._cards: dict[str, _Card] = {}
        self._now_s = 0.0
        self._lock = threading.Lock()

    def adopt(
        self, *, thermal: ThermalRules, alerts: Iterable[AlertRule], stale_after_s: float
    ) -> None:
        """Judge by other rules from now on; guards and alerts go on from where they are."""
        with self._lock:
            self._thermal, self._stale_after_s = thermal, stale_after_s
            self._book.adopt(alerts)

    def forget(self, uuids: Collection[str]) -> None:
        """Forget cards that are no longer watched, with their alerts."""
        with self._lock:
            for uuid in uuids:
                self._cards.pop(uuid, None)
            self._book.forget(uuids)

    def tick(
        self, now_s: float, latest: Iterable[AgedSample], xids: Iterable[XidEvent] = ()
    ) -> tuple[Notice, ...]:
        """Look at the newest samples at monotonic time *now_s*; returns what to tell people.

        A sample that was seen before counts for nothing; a card that is no longer known (its
        sampler has forgotten it) is forgotten here too.
        """
        faults = list(xids)
        with self._lock:
            self._now_s = now_s
            signals = {}
            for aged in latest:
                card = self._judge(now_s, aged)
                own = [event for event in faults if event.uuid == aged.sample.uuid]
                signals[self._subject(aged)] = self._signals(card, aged, own, now_s)
            for uuid in [u for u, card in self._cards.items() if card.heard_s < now_s]:
                del self._cards[uuid]
            return self._book.update(now_s, signals)

    def guards(self) -> tuple[CardGuard, ...]:
        """The state of every known card."""
        with self._lock:
            return tuple(
                CardGuard(uuid, c.guard.state, c.guard.why, self._now_s - c.guard.since_s)
                for uuid, c in self._cards.items()
            )

    def alerts(self) -> tuple[ActiveAlert, ...]:
        """Alerts that are on, critical ones first."""
        with self._lock:
            return active_alerts(self._book)

    def _judge(self, now_s: float, aged: AgedSample) -> _Card:
        sample = aged.sample
        card = self._cards.get(sample.uuid)
        if card is None:
            card = _Card(first_guard(now_s), OnsetCounter(), float("-inf"), now_s)
            self._cards[sample.uuid] = card
        card.heard_s = now_s
        # Not later but other: the node's clock may be set back.
        if sample.timestamp != card.timestamp:
            card.timestamp = sample.timestamp
            guard = advance(card.guard, sample, now_s - aged.age_s, self._thermal)
        else:
            guard = pass_time(card.guard, now_s, self._thermal)
        if guard.state != card.guard.state:
            logger.warning(
                "card %s: %s -> %s: %s", sample.uuid, card.guard.state, guard.state, guard.why
            )
        card.guard = guard
        return card

    def _signals(
        self, card: _Card, aged: AgedSample, xids: list[XidEvent], now_s: float
    ) -> dict[str, float]:
        onsets = card.onsets.seen(now_s, on=is_slowed(aged.sample))
        return card_signals(
            aged,
            guard=card.guard,
            slowdown_onsets=onsets,
            xids=xids,
            stale_after_s=self._stale_after_s,
        )

    def _subject(self, aged: AgedSample) -> Subject:
        sample = aged.sample
        return Subject(
            sample.uuid, f"{self._host} card {sample.index} ({sample.uuid})", sample.simulated
        )


def active_alerts(book: AlertBook) -> tuple[ActiveAlert, ...]:
    """What is on in a book, as plain data."""
    return tuple(
        ActiveAlert(
            rule.name,
            rule.severity,
            rule.title,
            subject.id,
            subject.label,
            value,
            rule.unit,
            subject.simulated,
        )
        for rule, subject, value in book.active
    )


class WatchThread:
    """Ticks a watch, and posts what it says; call :meth:`start` once and :meth:`close` when done.

    Args:
        tick: Looks once, at a monotonic time, and returns what to tell.
        post: Takes a message and returns at once.
        period_s: Seconds between two looks; half the sampler's period misses no sample.
        language: Of the messages.
        clock: Monotonic time, s.
    """

    def __init__(
        self,
        tick: Callable[[float], tuple[Notice, ...]],
        post: Callable[[Message], None],
        *,
        period_s: float = 0.5,
        language: Language = "en",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tick, self._post, self._language = tick, post, language
        self._period_s, self._clock = period_s, clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="card-watch", daemon=True)

    def start(self) -> None:
        """Start to watch; once."""
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Stop; idempotent."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            try:
                notices = self._tick(self._clock())
            except Exception:
                logger.exception("a look at the cards failed; the watch goes on")
                continue
            if notices:
                self._post(message_of(notices, self._language))
