"""Alerts: rules as data, and what has fired.

A **rule** watches one signal of every subject (a card, a node, a model) and says above which value,
for how long, it fires, and down to which value, for how long, it is cleared. The two limits differ
so that a value that trembles around one of them does not send mail every minute. Whatever happens
meanwhile, there is **one notice when it fires and one when it clears** for each rule and subject.
An event, such as an Xid, is a signal too: the number of times it was seen lately.

A subject whose signal is not told (the card was lost, the node left) keeps its alerts until
``forget_s``: silence is no recovery. Some rules fire on silence itself.

:class:`AlertBook` is plain state: its owner passes the time in and updates it from one thread;
what is on may be asked from any other.
Sources of the limits: what DCGM, gpud and the exporters alert on, and NVIDIA's list of Xids.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

Severity = Literal["warning", "critical"]
NoticeKind = Literal["fired", "cleared", "forgotten"]


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One thing that people want to be told.

    Args:
        name: Stable name, ``snake_case``.
        severity: ``critical`` asks for a hand now, ``warning`` within the day.
        signal: What it watches; see :mod:`telemetry.core.signals`.
        fire_above: Values above this are bad.
        fire_for_s: For how long they must be bad.
        clear_at: Values up to this are good; at most *fire_above*.
        clear_for_s: For how long they must be good.
        unit: Unit of the values, for people.
        title, title_zh: What is wrong, a few words.
        action, action_zh: What to do, one sentence.
    Raises:
        ValueError: *clear_at* is above *fire_above*, or a time is negative.
    """

    name: str
    severity: Severity
    signal: str
    fire_above: float
    fire_for_s: float
    clear_at: float
    clear_for_s: float
    unit: str
    title: str
    title_zh: str
    action: str
    action_zh: str

    def __post_init__(self) -> None:
        if self.clear_at > self.fire_above:
            raise ValueError(
                f"rule {self.name}: clear_at {self.clear_at:g} is above fire_above "
                f"{self.fire_above:g}, so it would fire and clear at once"
            )
        if self.fire_for_s < 0 or self.clear_for_s < 0:
            raise ValueError(f"rule {self.name}: times must not be negative")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a signal is told of.

    Args:
        id: Card UUID, Ray node id or model name; the identity.
        label: For people, such as ``host-3 card 1 (GPU-12ab)``.
        simulated: True if it exists only in software.
    """

    id: str
    label: str
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell people, once.

    Args:
        kind: ``fired``, ``cleared``, or ``forgotten`` when the subject has been silent for so long
            that nobody knows.
        rule: Why.
        subject: Of what.
        value: The value at that moment, or the last one known.
        lasted_s: Seconds since the alert fired; 0 when it fires.
    """

    kind: NoticeKind
    rule: AlertRule
    subject: Subject
    value: float
    lasted_s: float


@dataclass(frozen=True, slots=True)
class _Watch:
    """One rule's memory of one subject; times are monotonic seconds.

    Args:
        subject: Of what.
        value: Last value.
        heard_s: When it was told.
        bad_since_s: Since when it is bad without a break, or None.
        good_since_s: Since when it is good without a break, or None.
        fired_s: When the alert fired, or None if none is on.
    """

    subject: Subject
    value: float
    heard_s: float
    bad_since_s: float | None = None
    good_since_s: float | None = None
    fired_s: float | None = None


class AlertBook:
    """What has fired, by rule and subject; memory is bounded by *forget_s*.

    Args:
        rules: Names must differ.
        forget_s: Seconds of silence after which a subject is no longer known.
    Raises:
        ValueError: Two rules share a name.
    """

    def __init__(self, rules: Iterable[AlertRule], *, forget_s: float = 3600.0) -> None:
        self._rules = _by_name(rules)
        self._forget_s = forget_s
        self._watches: dict[tuple[str, str], _Watch] = {}

    def adopt(self, rules: Iterable[AlertRule]) -> None:
        """Watch by other rules from now on.

        What is on stays on, and nobody is told again, while its rule is there; it clears by the
        new limits. Times that were counted against limits of before begin anew. What only a rule
        that is gone has told of is gone without a notice: whoever took it out knows.

        Raises:
            ValueError: Two rules share a name; nothing has changed then.
        """
        before, self._rules = self._rules, _by_name(rules)
        for key, watch in list(self._watches.items()):
            rule = self._rules.get(key[0])
            if rule is None:
                del self._watches[key]
            elif rule != before[key[0]]:
                self._watches[key] = replace(watch, bad_since_s=None, good_since_s=None)

    def forget(self, subjects: Collection[str]) -> None:
        """Forget subjects that nobody watches any more, without a notice."""
        for key in [key for key in self._watches if key[1] in subjects]:
            del self._watches[key]

    @property
    def active(self) -> tuple[tuple[AlertRule, Subject, float], ...]:
        """Rule, subject and last value of every alert that is on, critical ones first."""
        rules = self._rules
        found = [
            (rules[name], watch.subject, watch.value)
            for (name, _), watch in list(self._watches.items())
            if watch.fired_s is not None and name in rules
        ]
        return tuple(sorted(found, key=lambda on: (on[0].severity, on[0].name, on[1].id)))

    def update(
        self, now_s: float, signals: Mapping[Subject, Mapping[str, float]]
    ) -> tuple[Notice, ...]:
        """Take what is known now, and return what people must be told.

        Args:
            now_s: Monotonic time.
            signals: Values by signal, of every subject; those that are not known are left out.
        """
        notices: list[Notice] = []
        for rule in self._rules.values():
            for subject, values in signals.items():
                if (value := values.get(rule.signal)) is not None:
                    notices += self._told(rule, subject, value, now_s)
        return (*notices, *self._forgotten(now_s))

    def _told(
        self, rule: AlertRule, subject: Subject, value: float, now_s: float
    ) -> Iterable[Notice]:
        key = (rule.name, subject.id)
        old = self._watches.get(key) or _Watch(subject, value, now_s)
        bad, good = value > rule.fire_above, value <= rule.clear_at
        new = replace(
            old,
            subject=subject,
            value=value,
            heard_s=now_s,
            bad_since_s=_since(old.bad_since_s, bad, now_s),
            good_since_s=_since(old.good_since_s, good, now_s),
        )
        notice = None
        if new.fired_s is None and _lasted(new.bad_since_s, now_s) >= rule.fire_for_s:
            notice = Notice("fired", rule, subject, value, 0.0)
            new = replace(new, fired_s=now_s)
        elif new.fired_s is not None and _lasted(new.good_since_s, now_s) >= rule.clear_for_s:
            notice = Notice("cleared", rule, subject, value, now_s - new.fired_s)
            new = replace(new, fired_s=None)
        self._watches[key] = new
        return () if notice is None else (notice,)

    def _forgotten(self, now_s: float) -> list[Notice]:
        notices = []
        for key, watch in list(self._watches.items()):
            if now_s - watch.heard_s <= self._forget_s:
                continue
            del self._watches[key]
            if watch.fired_s is not None:
                lasted_s = now_s - watch.fired_s
                rule = self._rules[key[0]]
                notices.append(Notice("forgotten", rule, watch.subject, watch.value, lasted_s))
        return notices


def _by_name(rules: Iterable[AlertRule]) -> dict[str, AlertRule]:
    told = tuple(rules)
    named = {rule.name: rule for rule in told}
    if len(named) != len(told):
        raise ValueError("two alert rules share a name")
    return named


def _since(since_s: float | None, holds: bool, now_s: float) -> float | None:
    if not holds:
        return None
    return now_s if since_s is None else since_s


def _lasted(since_s: float | None, now_s: float) -> float:
    """Seconds for which a condition has held; below every limit where it does not hold."""
    return -1.0 if since_s is None else now_s - since_s
