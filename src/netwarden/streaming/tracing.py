"""Traces of OpenTelemetry from a sensor to stored alerts, where `stream.trace` asks for them; its SDK loads only then.

A batch carries the context of the span that sent it, and each of its flows the trace's id, which an alert keeps among
its features. Spans go where OTEL_EXPORTER_OTLP_ENDPOINT says.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from netwarden.errors import ConfigError
from netwarden.streaming.batch import TRACE_ID, StreamBatch
from netwarden.streaming.judge import Judged

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Link


class Tracing:
    """Spans of what a role does with batches."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("netwarden")

    @contextmanager
    def sending(self, batch: StreamBatch) -> Iterator[StreamBatch]:
        """The batch with the context of a new trace, whose first span lasts until it is on its way or on disk."""
        from opentelemetry.trace import SpanKind, format_span_id, format_trace_id

        facts: dict[str, Any] = {
            "netwarden.sensor": batch.sensor,
            "netwarden.source": batch.source,
            "netwarden.flows": len(batch),
        }
        with self._tracer.start_as_current_span("netwarden send", kind=SpanKind.PRODUCER, attributes=facts) as span:
            context = span.get_span_context()
            trace_id = format_trace_id(context.trace_id)
            ids = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int8()), len(batch)), [trace_id])
            arrow = batch.flows.arrow.append_column(TRACE_ID, ids.cast(pa.string()))
            parent = f"00-{trace_id}-{format_span_id(context.span_id)}-{int(context.trace_flags):02x}"
            yield replace(batch, flows=replace(batch.flows, arrow=arrow), traces=(parent,))

    @contextmanager
    def storing(self, judged: Judged) -> Iterator[None]:
        """A span of the trace that the first of the batches came with, linked to those of the others."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        read = TraceContextTextMapPropagator().extract
        first, *others = (read({"traceparent": parent}) for parent in judged.batch.traces or ("",))
        facts: dict[str, Any] = {
            "netwarden.bundle": judged.bundle_id,
            "netwarden.flows": len(judged.batch),
            "netwarden.alerts": len(judged.alerts),
        }
        links = [_link(context) for context in others]
        with self._tracer.start_as_current_span(
            "netwarden store", first, kind=SpanKind.CONSUMER, attributes=facts, links=links
        ):
            yield

    def close(self, patience_s: float = 3.0) -> None:
        """Send what has not been sent, for so long; a collector that is away holds no end up."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(patience_s)


def _link(context: object) -> Link:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, get_current_span

    assert isinstance(context, Context)  # noqa: S101 - the propagator's answer
    return Link(get_current_span(context).get_span_context())


def open_tracing(role: str) -> Tracing:
    """Tracing to a collector by OTLP over HTTP. Raises ConfigError where the extra `otel` is not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(f"stream.trace needs {error.name}; install netwarden[otel], or leave it off") from None
    resource = Resource.create({"service.name": f"netwarden-{role}"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # `close` does, and does not wait for long
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)
