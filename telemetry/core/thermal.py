"""The thermal guard: how much new work a card may take, from its samples alone.

A card is ``open`` (all its slots), ``eased`` (half of them) or ``paused`` (none; what it speaks it
finishes). With the default rules, in deg C:

=========  =====================================================  =========
state      what is seen                                           next
=========  =====================================================  =========
any        hardware slowdown, or the card can't be read (lost)    paused
new        >= 75 (72) on its first sample                         paused (eased)
open       >= 75 on 3 samples in a row                            paused
open       >= 72 on 3 samples in a row, or software slowdown      eased
eased      >= 75 on 3 samples in a row                            paused
paused     <= 70 for 20 s                                         eased
eased      <= 68 for 20 s                                         open
open       no reading for 10 s                                    eased
=========  =====================================================  =========

**Two ways to measure heat.** By temperature, or by the margin to the card's own slowdown point,
since many cards run near 80 C by design. Both become one rising number, *heat*: deg C, or the
margin with its sign turned. A card that does not tell its margin is judged by temperature.

**What no reading means.** A stale card may be cool or may burn: it keeps half of its slots and is
never opened by silence, so a hanging driver slows a fleet and does not stop it. A sample without
heat from a card that told it before is such a silence. A card that says that it is lost gets
nothing. A card that never told temperature or margin is guarded by its slowdown alone;
:attr:`Guard.why` says so.

**A card that was never read** is judged by its first sample alone: the guard may have been
restarted, and what it knew of a hot card is gone with it.

Everything here is a function of what is passed in; who owns a clock calls :func:`advance`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from telemetry.core.sample import CardSample

GuardState = Literal["open", "eased", "paused"]
HeatScale = Literal["celsius", "margin"]

HARDWARE_SLOWDOWN: Final = frozenset({"hw_slowdown", "hw_thermal"})
SOFTWARE_SLOWDOWN: Final = "sw_thermal"


@dataclass(frozen=True, slots=True)
class HeatLimits:
    """Limits on one rising scale of heat.

    Args:
        ease, pause: Heat from which a card is eased or paused.
        resume: Heat up to which a paused card is eased again.
        reopen: Heat up to which an eased card is opened again.
        alert: Heat above which people are told.
    Raises:
        ValueError: Not reopen < ease < pause < alert, or not reopen <= resume < pause.
    """

    ease: float = 72.0
    pause: float = 75.0
    resume: float = 70.0
    reopen: float = 68.0
    alert: float = 80.0

    def __post_init__(self) -> None:
        if not (self.reopen < self.ease < self.pause < self.alert):
            raise ValueError(
                f"heat limits must rise: reopen {self.reopen:g} < ease {self.ease:g} "
                f"< pause {self.pause:g} < alert {self.alert:g}"
            )
        if not self.reopen <= self.resume < self.pause:
            raise ValueError(
                f"resume {self.resume:g} must lie from reopen {self.reopen:g} to below "
                f"pause {self.pause:g}"
            )

    @classmethod
    def of_margins(
        cls, *, ease: float, pause: float, resume: float, reopen: float, alert: float
    ) -> HeatLimits:
        """Limits told as deg C that are left to the slowdown point.

        Raises:
            ValueError: As the constructor.
        """
        return cls(ease=-ease, pause=-pause, resume=-resume, reopen=-reopen, alert=-alert)


MARGIN_LIMITS: Final = HeatLimits.of_margins(
    ease=8.0, pause=5.0, resume=10.0, reopen=12.0, alert=2.0
)
"""Limits by margin, for cards that run near 80 C by design."""


@dataclass(frozen=True, slots=True)
class ThermalRules:
    """How a card is judged.

    Args:
        scale: What heat is, where the card tells both.
        celsius, margin: Limits on either scale.
        samples: Samples in a row that must be hot.
        hold_s: Seconds for which a card must be cool.
        blind_after_s: Age of the last reading from which a card counts as unknown.
    Raises:
        ValueError: A number is out of range.
    """

    scale: HeatScale = "celsius"
    celsius: HeatLimits = HeatLimits()
    margin: HeatLimits = MARGIN_LIMITS
    samples: int = 3
    hold_s: float = 20.0
    blind_after_s: float = 10.0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.hold_s < 0 or self.blind_after_s <= 0:
            raise ValueError(
                "thermal rules need samples >= 1, hold_s >= 0 and blind_after_s > 0, not "
                f"{self.samples}, {self.hold_s:g}, {self.blind_after_s:g}"
            )


DEFAULT_RULES: Final = ThermalRules()
"""By temperature, with the limits of the table above."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What is remembered about one card.

    Args:
        state: How much new work it may take.
        why: Why it is in this state, for people.
        since_s: Monotonic time of the last change of state.
        seen_s: Monotonic time of the last sample.
        hot: Samples in a row at or above the limit to ease.
        very_hot: Samples in a row at or above the limit to pause.
        cool_since_s: Since when its heat allows the next better state, or None.
        over_alert_c: Its heat beyond the limit at which people are told (negative: left to it),
            or None before it has told its heat.
        measured: It has told its heat before.
    """

    state: GuardState
    why: str
    since_s: float
    seen_s: float
    hot: int = 0
    very_hot: int = 0
    cool_since_s: float | None = None
    over_alert_c: float | None = None
    measured: bool = False


def first_guard(now_s: float) -> Guard:
    """The guard of a card that was never read."""
    return Guard("open", "no reading yet", now_s, now_s)


def slots_of(state: GuardState, slots: int) -> int:
    """Slots that a replica with *slots* of them may use; eased keeps at least one."""
    return {"open": slots, "eased": max(1, slots // 2), "paused": 0}[state]


def heat_of(sample: CardSample, rules: ThermalRules) -> tuple[float, HeatLimits] | None:
    """A card's heat with the limits for it, or None if the card tells neither scale."""
    margin_c = margin_of(sample)
    if rules.scale == "margin" and margin_c is not None:
        return -margin_c, rules.margin
    if sample.temp_c is not None:
        return sample.temp_c, rules.celsius
    return None if margin_c is None else (-margin_c, rules.margin)


def margin_of(sample: CardSample) -> float | None:
    """Deg C left to the slowdown point, told by the card or by its threshold."""
    if sample.margin_c is not None:
        return sample.margin_c
    if sample.temp_c is None or sample.temp_slowdown_c is None:
        return None
    return sample.temp_slowdown_c - sample.temp_c


def advance(guard: Guard, sample: CardSample, now_s: float, rules: ThermalRules) -> Guard:
    """The guard after a new sample, which was taken at monotonic time *now_s*."""
    seen = replace(guard, seen_s=now_s)
    if sample.error is not None:
        return _moved(_cleared(seen), "paused", "the card can't be read", now_s)
    found = heat_of(sample, rules)
    if found is not None:
        # Before the slowdown is judged: a card that its hardware slows is the hottest of all.
        heat, limits = found
        seen = replace(seen, over_alert_c=heat - limits.alert, measured=True)
    slowed = HARDWARE_SLOWDOWN.intersection(sample.throttle or ())
    if slowed:
        return _moved(_cleared(seen), "paused", f"hardware slowdown ({min(slowed)})", now_s)
    if found is not None:
        # A card that was never read is judged by its first sample alone.
        counts = 1 if guard.measured else rules.samples
        return _judged(seen, sample, found, counts, now_s=now_s, rules=rules)
    if guard.measured:
        return pass_time(guard, now_s, rules)
    return _without_heat(seen, sample, now_s, rules)


def pass_time(guard: Guard, now_s: float, rules: ThermalRules) -> Guard:
    """The guard at *now_s* if no sample has come since; see the module docstring on silence."""
    if now_s - guard.seen_s < rules.blind_after_s or guard.state != "open":
        return guard
    return _moved(_cleared(guard), "eased", f"no reading for {rules.blind_after_s:g} s", now_s)


def _judged(
    seen: Guard,
    sample: CardSample,
    found: tuple[float, HeatLimits],
    counts: int,
    *,
    now_s: float,
    rules: ThermalRules,
) -> Guard:
    """The guard of a card that tells its heat; the sample counts as *counts* in a row."""
    heat, limits = found
    guard = replace(
        seen,
        hot=seen.hot + counts if heat >= limits.ease else 0,
        very_hot=seen.very_hot + counts if heat >= limits.pause else 0,
    )
    told = _told(sample, heat, limits is rules.margin)
    software = SOFTWARE_SLOWDOWN in (sample.throttle or ())
    if guard.very_hot >= rules.samples and guard.state != "paused":
        return _moved(guard, "paused", told, now_s)
    if guard.state == "open" and (software or guard.hot >= rules.samples):
        return _moved(guard, "eased", "software slowdown" if software else told, now_s)
    cool = not software and heat <= (limits.resume if guard.state == "paused" else limits.reopen)
    return _cooled(guard, told, cool=cool, now_s=now_s, rules=rules)


def _without_heat(seen: Guard, sample: CardSample, now_s: float, rules: ThermalRules) -> Guard:
    """A card that tells only its slowdown, or nothing: it is cool when it is not slowed."""
    software = SOFTWARE_SLOWDOWN in (sample.throttle or ())
    if software and seen.state == "open":
        return _moved(seen, "eased", "software slowdown", now_s)
    told = "the card tells no temperature: only its slowdown guards it"
    return _cooled(seen, told, cool=not software, now_s=now_s, rules=rules)


def _cooled(guard: Guard, told: str, *, cool: bool, now_s: float, rules: ThermalRules) -> Guard:
    """One state better if the card has been cool for long enough."""
    if guard.state == "open":
        return replace(guard, why=told, cool_since_s=None)
    if not cool:
        return replace(guard, cool_since_s=None)
    since_s = now_s if guard.cool_since_s is None else guard.cool_since_s
    if now_s - since_s < rules.hold_s:
        return replace(guard, cool_since_s=since_s)
    better: GuardState = "eased" if guard.state == "paused" else "open"
    return _moved(guard, better, told, now_s)


def _cleared(guard: Guard) -> Guard:
    return replace(guard, hot=0, very_hot=0, cool_since_s=None)


def _moved(guard: Guard, state: GuardState, why: str, now_s: float) -> Guard:
    """*guard* in *state*; the time of change stands if it was there already."""
    if guard.state == state:
        return replace(guard, why=why)
    return replace(guard, state=state, why=why, since_s=now_s, cool_since_s=None)


def _told(sample: CardSample, heat: float, by_margin: bool) -> str:
    if by_margin:
        return f"{-heat:g} C left to the slowdown point"
    return f"{sample.temp_c:g} C"
