"""A request through the speech service: one trace of all its work, and its record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serve_app.config import SpeechSettings
from serve_app.core.fair import FairPool
from serve_app.engines.base import EngineInfo, Voice
from serve_app.errors import ServeError
from serve_app.outcomes import Outcomes
from serve_app.prepare import ScriptOrder
from serve_app.speech import SpeechOrder, SpeechService
from telemetry.core.request import RequestRecord
from tests.span_memory import span_memory
from tests.unit.fake_replicas import FakeReplicas

ENGINE = EngineInfo("fake", "fake-1", "1", (Voice("alto", "Alto", ("en",)),), 7.5)
TEXT = "\n\n".join(f"Paragraph {number} tells a little more of it." for number in range(30))


@dataclass
class Records:
    """Is a :class:`serve_app.request_watch.RequestHook`."""

    seen: list[tuple[RequestRecord, Context | None]] = field(default_factory=list)

    def answered(self, record: RequestRecord, context: Context | None) -> None:
        self.seen.append((record, context))


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    return span_memory()


@pytest.fixture
def finished(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    exporter.clear()


async def spoken(replicas: FakeReplicas, records: Records) -> bytes:
    service = SpeechService(
        SpeechSettings(),
        speak=replicas.speak,
        pool=FairPool(2),
        outcomes=Outcomes(),
        requests=records,
    )
    order = SpeechOrder(ScriptOrder(TEXT, "alto"), "wav")
    with trace.get_tracer("test").start_as_current_span("HTTP"):
        stream = await service.open(order, ENGINE)
        return b"".join([data async for data in stream.body])


async def test_all_the_work_of_a_request_is_one_trace(finished: InMemorySpanExporter) -> None:
    records = Records()
    data = await spoken(FakeReplicas(), records)
    spans: dict[str, ReadableSpan] = {span.name: span for span in finished.get_finished_spans()}
    assert set(spans) == {"HTTP", "speech", "plan", "stitch", "encode"}
    request = spans["speech"]
    assert request.parent == spans["HTTP"].get_span_context()
    for name in ("plan", "stitch", "encode"):
        work = spans[name]
        assert work.parent == request.get_span_context()
        assert work.start_time is not None
        assert work.end_time is not None
        assert request.start_time is not None
        assert work.attributes is not None
        assert work.start_time >= request.start_time
        busy_s = work.attributes["vibevoice.busy"]
        assert isinstance(busy_s, float)
        assert 0 < busy_s <= (work.end_time - work.start_time) / 1e9 + 1e-3
    ((record, context),) = records.seen
    known = trace.get_current_span(context).get_span_context()
    assert known == request.get_span_context()
    assert record.trace_id == f"{known.trace_id:032x}"
    assert (record.engine, record.model, record.simulated) == ("fake", "fake-1", True)
    assert (record.error, record.retries) == (None, ())
    assert record.audio_s == pytest.approx(len(data) / 48_000, abs=0.01)
    assert record.first_audio_s is not None
    assert 0 < record.first_audio_s <= record.wall_s
    assert record.underruns == 0


async def test_what_was_spoken_again_and_what_failed_is_counted_by_cause() -> None:
    records = Records()
    await spoken(FakeReplicas(lambda task, take: "crash" if take == 0 else None), records)
    ((record, _),) = records.seen
    ((kind, cause, count),) = record.retries
    assert (kind, cause) == ("fault", "engine_crashed")
    assert count > 1
    with pytest.raises(ServeError):
        await spoken(FakeReplicas(lambda _task, _take: "crash"), records)
    (_, (failed, _)) = records.seen
    assert (failed.error, failed.first_audio_s) == ("segment_failed", None)
