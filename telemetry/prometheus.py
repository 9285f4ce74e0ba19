"""Points of the declared instruments in Prometheus' text format, version 0.0.4.

Names follow OpenTelemetry's rules for Prometheus: dots become underscores, the unit is appended in
words (``ratio`` for a gauge of unit ``1``), and ``_total`` to counters. An up-down counter is a
gauge there, but keeps its name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from telemetry.instrument import Instrument, Kind
from telemetry.readings import Attributes, Point

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "s": "seconds",
        "By": "bytes",
        "Cel": "celsius",
        "W": "watts",
        "J": "joules",
        "Hz": "hertz",
        "J/min": "joules_per_min",
    }
)
_COUNTERS: Final = frozenset({Kind.COUNTER, Kind.OBSERVABLE_COUNTER})


@dataclass(frozen=True, slots=True)
class Distribution:
    """One series of a histogram.

    Args:
        attributes: Its labels.
        counts: Values up to each of the instrument's buckets.
        count: Values in all.
        total: Their sum.
    """

    attributes: Attributes
    counts: Sequence[int]
    count: int
    total: float


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with its series.

    Args:
        instrument: Which.
        points: Of an instrument that is no histogram.
        distributions: Of a histogram.
    """

    instrument: Instrument
    points: Sequence[Point] = ()
    distributions: Sequence[Distribution] = ()


def name_of(instrument: Instrument) -> str:
    """An instrument's name in Prometheus."""
    name = _clean(instrument.name)
    unit = _UNITS.get(instrument.unit, "")
    if instrument.unit == "1" and instrument.kind is Kind.OBSERVABLE_GAUGE:
        unit = "ratio"
    if unit and not name.endswith(f"_{unit}"):
        name = f"{name}_{unit}"
    return f"{name}_total" if instrument.kind in _COUNTERS else name


def exposition(families: Iterable[Family]) -> str:
    """The text of ``GET /metrics``; a family without series is left out."""
    lines = [line for family in families for line in _family(family)]
    return "\n".join(lines) + "\n"


def _family(family: Family) -> Iterator[str]:
    if not family.points and not family.distributions:
        return
    spec = family.instrument
    name = name_of(spec)
    yield f"# HELP {name} {_escaped(spec.description)}"
    yield f"# TYPE {name} {_type(spec.kind)}"
    for value, attributes in family.points:
        yield f"{name}{_labels(attributes)} {_number(value)}"
    for one in family.distributions:
        bounds = [*map(_number, spec.buckets), "+Inf"]
        for bound, count in zip(bounds, (*one.counts, one.count), strict=True):
            yield f"{name}_bucket{_labels({**one.attributes, 'le': bound})} {count}"
        yield f"{name}_sum{_labels(one.attributes)} {_number(one.total)}"
        yield f"{name}_count{_labels(one.attributes)} {one.count}"


def _type(kind: Kind) -> str:
    if kind is Kind.HISTOGRAM:
        return "histogram"
    return "counter" if kind in _COUNTERS else "gauge"


def _clean(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9]+", "_", name)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _labels(attributes: Attributes) -> str:
    if not attributes:
        return ""
    pairs = (f'{_clean(name)}="{_value(value)}"' for name, value in attributes.items())
    return "{" + ",".join(pairs) + "}"


def _value(value: str | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _escaped(value).replace('"', '\\"')


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))
