"""Metrics as OpenTelemetry's SDK has read them, with points of the kind that a test expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from opentelemetry.sdk.metrics.export import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    NumberDataPoint,
)
from opentelemetry.util.types import AnyValue

DataPoint = NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint
Point = TypeVar("Point", bound=DataPoint)


def metrics_of(reader: InMemoryMetricReader) -> dict[str, Metric]:
    """What is exported now, by name."""
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def points_of(metric: Metric, kind: type[Point]) -> list[Point]:
    """A metric's points, which are all of this kind."""
    found: list[Point] = [point for point in metric.data.data_points if isinstance(point, kind)]
    assert len(found) == len(metric.data.data_points)
    return found


def numbers(metric: Metric) -> list[NumberDataPoint]:
    """The points of a counter or a gauge."""
    return points_of(metric, NumberDataPoint)


def histograms(metric: Metric) -> list[HistogramDataPoint]:
    """The points of a histogram."""
    return points_of(metric, HistogramDataPoint)


def attributes_of(point: DataPoint) -> Mapping[str, AnyValue]:
    """What a point is told of."""
    assert point.attributes is not None
    return point.attributes
