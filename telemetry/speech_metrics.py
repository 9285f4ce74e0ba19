"""Records of syntheses and requests as OpenTelemetry metrics; histograms carry the trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from opentelemetry.context import Context
from opentelemetry.metrics import Counter, Histogram, Meter

from telemetry import instruments
from telemetry.core.request import RequestRecord
from telemetry.core.sample import CANCELLED, SynthesisRecord
from telemetry.instrument import Instrument, Kind
from telemetry.spans import OPERATION, Attribute, present


class SynthesisHook(Protocol):
    """Whoever wants to know of every synthesis."""

    def spoken(self, record: SynthesisRecord, context: Context | None) -> None:
        """Take a record; returns at once, whatever stands behind it.

        Args:
            record: What was spoken, or failed.
            context: The synthesis span's context, which ties metrics to the trace.
        """
        ...


class NoSynthesisHook:
    """The hook where nobody wants to know."""

    def spoken(self, record: SynthesisRecord, context: Context | None) -> None:
        """Forget the record."""


class SynthesisMetrics:
    """A replica's metrics.

    Args:
        meter: Where to record.
    """

    def __init__(self, meter: Meter) -> None:
        self._duration = histogram(meter, instruments.SEGMENT_DURATION)
        self._failures = counter(meter, instruments.FAILURES)
        self._histograms = {
            "first_audio_s": histogram(meter, instruments.SEGMENT_FIRST_AUDIO),
            "real_time_factor": histogram(meter, instruments.REAL_TIME_FACTOR),
            "audio_s": histogram(meter, instruments.AUDIO_DURATION),
            "queue_s": histogram(meter, instruments.QUEUE_TIME),
        }
        self._counters = {
            "input_characters": counter(meter, instruments.INPUT_CHARACTERS),
            "input_tokens": counter(meter, instruments.INPUT_TOKENS),
            "output_tokens": counter(meter, instruments.OUTPUT_TOKENS),
        }

    def spoken(self, record: SynthesisRecord, context: Context | None) -> None:
        """Count a synthesis; of a failed one only the duration and the error."""
        around = _exemplar(record.trace_id, context)
        attributes = speech_attributes(record)
        if record.error is not None:
            failed = {**attributes, "error.type": record.error}
            self._duration.record(record.wall_s, failed, around)
            if record.error != CANCELLED:
                self._failures.add(1, failed, around)
            return
        self._duration.record(record.wall_s, attributes, around)
        for name, into in self._histograms.items():
            if (value := getattr(record, name)) is not None:
                into.record(value, attributes, around)
        for name, total in self._counters.items():
            total.add(getattr(record, name), attributes, around)


class EnergyMetrics:
    """What the segments on a node's cards used; recorded by the node's actor, which knows it.

    Args:
        meter: Where to record.
    """

    def __init__(self, meter: Meter) -> None:
        self._energy = histogram(meter, instruments.AUDIO_ENERGY)

    def used(self, record: SynthesisRecord, energy_j_per_min: float) -> None:
        """Count a synthesis."""
        self._energy.record(energy_j_per_min, speech_attributes(record))


class RequestMetrics:
    """An ingress' metrics.

    Args:
        meter: Where to record.
    """

    def __init__(self, meter: Meter) -> None:
        self._duration = histogram(meter, instruments.REQUEST_DURATION)
        self._first_audio = histogram(meter, instruments.FIRST_AUDIO)
        self._audio = histogram(meter, instruments.STREAM_AUDIO)
        self._retries = counter(meter, instruments.RETRIES)
        self._underruns = counter(meter, instruments.UNDERRUNS)
        self._underrun_time = counter(meter, instruments.UNDERRUN_TIME)

    def answered(self, record: RequestRecord, context: Context | None) -> None:
        """Count a request; *context* is that of its span."""
        around = _exemplar(record.trace_id, context)
        attributes = request_attributes(record)
        failed = {} if record.error is None else {"error.type": record.error}
        self._duration.record(record.wall_s, {**attributes, **failed}, around)
        if record.first_audio_s is not None:
            self._first_audio.record(record.first_audio_s, attributes, around)
            self._audio.record(record.audio_s, attributes, around)
            self._underruns.add(record.underruns, attributes, around)
            self._underrun_time.add(record.underrun_s, attributes, around)
        for kind, cause, count in record.retries:
            what = {"vibevoice.retry.kind": kind, "error.type": cause}
            self._retries.add(count, {**attributes, **what}, around)


class CacheMetrics:
    """How often a job's segment was in the cache.

    Args:
        meter: Where to record.
    """

    def __init__(self, meter: Meter) -> None:
        self._lookups = counter(meter, instruments.CACHE_LOOKUPS)

    def looked_up(self, hit: bool) -> None:
        """Count a look-up."""
        self._lookups.add(1, {"vibevoice.cache.hit": hit})


def speech_attributes(record: SynthesisRecord) -> dict[str, Attribute]:
    """The attributes of a synthesis' metrics."""
    return present(
        {**_named(record.engine, record.model, record.simulated), "hw.id": record.card_uuid}
    )


def request_attributes(record: RequestRecord) -> dict[str, Attribute]:
    """The attributes of a request's metrics."""
    return present(_named(record.engine, record.model, record.simulated))


def _named(engine: str, model: str, simulated: bool) -> Mapping[str, Attribute | None]:
    return {
        "gen_ai.operation.name": OPERATION,
        "gen_ai.provider.name": engine,
        "gen_ai.request.model": model,
        "vibevoice.simulated": simulated,
    }


def _exemplar(trace_id: str, context: Context | None) -> Context | None:
    """The context that an exemplar points to; an empty one for a trace that nobody will see."""
    return context if trace_id or context is None else Context()


def histogram(meter: Meter, spec: Instrument) -> Histogram:
    """The OpenTelemetry histogram of a declared instrument."""
    assert spec.kind is Kind.HISTOGRAM
    return meter.create_histogram(
        spec.name,
        unit=spec.unit,
        description=spec.description,
        explicit_bucket_boundaries_advisory=spec.buckets,
    )


def counter(meter: Meter, spec: Instrument) -> Counter:
    """The OpenTelemetry counter of a declared instrument."""
    assert spec.kind is Kind.COUNTER
    return meter.create_counter(spec.name, unit=spec.unit, description=spec.description)
