"""Traces from the sensor to the stored alert and to a collector, with OpenTelemetry's own SDK and protocol."""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from netwarden.errors import ConfigError
from netwarden.sources.connect import open_alert_store
from netwarden.sources.memory_queue import MemoryFeed, MemoryQueue
from netwarden.streaming.batch import unpack
from netwarden.streaming.replay import ReplayPlan
from netwarden.streaming.roles import run_together
from netwarden.streaming.scored import read_scored
from netwarden.streaming.sensor import Sensor, replay_source
from netwarden.streaming.tracing import Tracing, open_tracing
from netwarden.streaming.worker import Worker
from tests.fixtures.servers import free_port
from tests.streaming.conftest import batch_of, expected_alerts, stored_alerts
from tests.streaming.test_worker import work_off


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def tracing(spans):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    made = Tracing(provider)
    yield made
    made.close()


def test_an_alert_names_the_trace_that_leads_from_its_sensor_to_the_store(deployment, choose, tracing, spans):
    settings, queue, feed = deployment.with_stream(batch_rows=500), MemoryQueue(), MemoryFeed()
    Sensor(replay_source(settings, ReplayPlan("made_up", 0)), queue, settings, tracing=tracing).run(threading.Event())
    with closing(open_alert_store(settings)) as alerts:
        work_off(Worker("w", queue, alerts, feed, choose, settings.stream, tracing=tracing), queue)
        found = alerts.find(limit=2000).alerts
        assert stored_alerts(alerts) == expected_alerts(deployment.flows, deployment.bundle)
    sent = {f"{span.context.trace_id:032x}": span for span in spans.get_finished_spans() if span.name.endswith("send")}
    stored = [span for span in spans.get_finished_spans() if span.name.endswith("store")]
    assert len(sent) == 3
    assert {alert.features["trace_id"] for alert in found} == set(sent)
    reached = {span.parent.span_id for span in stored} | {
        link.context.span_id for span in stored for link in span.links
    }
    assert reached == {span.context.span_id for span in sent.values()}
    assert {f"{span.context.trace_id:032x}" for span in stored} <= set(sent)
    assert sum(span.attributes["netwarden.alerts"] for span in stored) == len(found)
    rows = [row for _, body in feed.after("", 100, 0) for row in read_scored(body).flows.to_pylist()]
    assert {row["trace_id"] for row in rows} == set(sent)


class _Receiver(BaseHTTPRequestHandler):
    """Takes spans by OTLP over HTTP, as a collector does."""

    received: list[ExportTraceServiceRequest]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        found = self.path == "/v1/traces"
        if found:
            body = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
            self.received.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Exports are not news."""


@pytest.fixture
def collector(monkeypatch) -> Iterator[list[ExportTraceServiceRequest]]:
    """What reaches the collector that the environment names."""
    received: list[ExportTraceServiceRequest] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Receiver", (_Receiver,), {"received": received}))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    yield received
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_collector_gets_the_trace_that_an_alert_names_from_its_sensor_and_from_its_worker(
    deployment, choose, collector
):
    settings = deployment.with_stream(trace=True, batch_rows=500)
    run_together(settings, replay_source(settings, ReplayPlan("made_up", 0)), choose, threading.Event())
    with closing(open_alert_store(settings)) as alerts:
        named = {alert.features["trace_id"] for alert in alerts.find(limit=2000).alerts}
    sent, stored = spans_of(collector, "sensor"), spans_of(collector, "worker")
    assert {span.name for span in sent} == {"netwarden send"}
    assert {span.name for span in stored} == {"netwarden store"}
    assert len(named) == 3
    assert {span.trace_id.hex() for span in sent} == named
    reached = {span.parent_span_id for span in stored} | {link.span_id for span in stored for link in span.links}
    assert reached == {span.span_id for span in sent}


def spans_of(collector, role):
    of_role = [
        each
        for request in collector
        for each in request.resource_spans
        if any(fact.value.string_value == f"netwarden-{role}" for fact in each.resource.attributes)
    ]
    return [span for each in of_role for scope in each.scope_spans for span in scope.spans]


def test_a_collector_that_is_away_holds_neither_a_batch_nor_the_end_up(named_flows, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    tracing, begun_s = open_tracing("sensor"), time.monotonic()
    with tracing.sending(batch_of(named_flows.slice(0, 5))) as batch:
        assert len(batch.traces) == 1
    tracing.close(patience_s=0.2)
    assert time.monotonic() - begun_s < 5


def test_without_tracing_batches_carry_nothing_of_it(deployment):
    settings, queue = deployment.settings, MemoryQueue()
    Sensor(replay_source(settings, ReplayPlan("made_up", 0)), queue, settings).run(threading.Event())
    batch = unpack(queue.read("a", 1, 0)[0].body)
    assert batch.traces == ()
    assert "trace_id" not in batch.flows.names


def test_tracing_that_is_not_installed_is_said_in_one_sentence(deployment, choose, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    settings = deployment.with_stream(trace=True)
    source = replay_source(settings, ReplayPlan("made_up", 0))
    with pytest.raises(ConfigError, match=r"stream\.trace needs opentelemetry.*; install netwarden\[otel\]"):
        run_together(settings, source, choose, threading.Event())
